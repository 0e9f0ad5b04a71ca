#!/usr/bin/env python3
"""Writes models/debsum/held_out.jsonl: inputs the model never saw, with their targets.

First every input whose greedy output has the word "simple", then 250 others, each in the
order of the corpus. An input longer than the 128 ids the model was trained on is cut back
to whole words that fit. Nothing equals a training input.

    python3 make_held_out.py CORPUS

CORPUS is the folder that examples/paper/debsum.py fills (train, validation and test.jsonl).
Needs torch, transformers, onnx and sentencepiece; takes two minutes.
"""

import json
import re
import sys
from pathlib import Path

import checkpoint
import sentencepiece
import torch
from decoding import generated

MODEL = Path(__file__).resolve().parents[2] / "models/debsum"
LONGEST = 128  # ids of an input, the end included: what the model was trained on
OTHERS = 250
SIMPLE = re.compile(r"\bsimple\b", re.IGNORECASE)


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def fitting(pieces, text):
    """`text`, or as many of its first words as fit."""
    while len(pieces.encode(text)) >= LONGEST:
        text = text[: text.rindex(" ")]
    return text


def main():
    corpus = Path(sys.argv[1])
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(MODEL / "spiece.model"))
    model = checkpoint.load(MODEL)
    seen = {row["input"] for row in rows(corpus / "train.jsonl")}
    candidates = []
    for split in ("test", "validation"):
        for row in rows(corpus / f"{split}.jsonl"):
            text = fitting(pieces, row["input"])
            if row["input"] not in seen and text not in seen:
                seen.add(text)
                candidates.append({"input": text, "target": row["target"]})

    simple, others = [], []
    for row in candidates:
        output = generated(model, [*pieces.encode(row["input"]), 1], max_new_tokens=32)
        text = pieces.decode([i for i in output if i != 1])
        (simple if SIMPLE.search(text) else others).append(row)
    step = len(others) // OTHERS
    chosen = simple + others[::step][:OTHERS]
    with open(MODEL / "held_out.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)

    share = sum(bool(SIMPLE.search(row["input"])) for row in simple)
    print(
        f"{len(candidates)} candidates, {len(simple)} simple ({share} with it in the input), "
        f"{len(chosen) - len(simple)} others"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
