#!/usr/bin/env python3
"""Encodes text beside the libraries that define what is right: sentencepiece for spiece.model,
tokenizers for tokenizer.json. Best of some runs, one thread, in turns; and how long a
tokenizer.json of 250,000 pieces takes to open, as mT5's has, and what memory it keeps."""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import best, kib

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models/debsum"


def texts() -> list:
    with open(MODEL / "held_out.jsonl", encoding="utf-8") as lines:
        return [json.loads(line)["input"] for line in lines]


def json_of(pieces: list, path: Path) -> None:
    """A tokenizer.json of the usual form for T5."""
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}
    content = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": space, "post_processor": None, "decoder": space,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")


def speed(runs: int, scratch: Path) -> None:
    import sentencepiece
    import tokenizers
    import unsay

    lines = texts()
    size = sum(len(line.encode()) for line in lines)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(MODEL / "spiece.model"))
    vocabulary = [[pieces.IdToPiece(index), pieces.GetScore(index)] for index in range(len(pieces))]
    json_of(vocabulary, scratch / "tokenizer.json")
    fast = tokenizers.Tokenizer.from_file(str(scratch / "tokenizer.json"))
    model = unsay.open(MODEL, threads=1)
    ours_fast = unsay.open(MODEL, threads=1, tokenizer=scratch / "tokenizer.json")
    kinds = {
        "unsay, spiece.model": lambda: [model.encode(line) for line in lines],
        "sentencepiece": lambda: [pieces.encode(line) for line in lines],
        "unsay, tokenizer.json": lambda: [ours_fast.encode(line) for line in lines],
        "tokenizers": lambda: [fast.encode(line) for line in lines],
    }
    for name, body in kinds.items():
        print(f"{name:24} {size / best(body, runs) / 1e6:8.1f} MB/s of text")


def load(kind: str, path: Path) -> None:
    before = kib("VmRSS")
    started = time.perf_counter()
    if kind == "tokenizers":
        import tokenizers

        before, started = kib("VmRSS"), time.perf_counter()
        held = tokenizers.Tokenizer.from_file(str(path))
    else:
        import unsay

        before, started = kib("VmRSS"), time.perf_counter()
        held = unsay.open(ROOT / "Tests/Models/tiny-v10", tokenizer=path)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, kib("VmRSS") - before, kib("VmHWM") - before]))
    del held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        return load(options.load[0], Path(options.load[1]))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        speed(options.runs, scratch)
        random.seed(1)
        letters = [
            chr(code) for code in [*range(97, 123), *range(0x430, 0x450), *range(0x4E00, 0x4E80)]
        ]
        made = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
        while len(made) < 250_100:
            piece = "".join(random.choices(letters, k=random.randint(1, 9)))
            made.setdefault(
                ("\u2581" if random.random() < 0.5 else "") + piece, -8 - 8 * random.random()
            )
        path = scratch / "large.json"
        json_of([[piece, score] for piece, score in made.items()], path)
        print(f"a tokenizer.json of {len(made)} pieces, {path.stat().st_size / 1e6:.0f} MB:")
        for kind in ("unsay", "tokenizers"):
            runs = []
            for _ in range(options.runs):
                command = [sys.executable, __file__, "--load", kind, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append(json.loads(done.stdout))
            seconds, kept, peak = min(runs)
            print(f"{kind:24} {seconds:8.2f} s, keeps {kept >> 10} MB, peak {peak >> 10} MB")


if __name__ == "__main__":
    main()
