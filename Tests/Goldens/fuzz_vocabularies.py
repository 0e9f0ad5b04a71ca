"""Compares the library with transformers on vocabularies and texts drawn at random.

    PYTHONPATH=bindings/python/src:Tests/python python Tests/Goldens/fuzz_vocabularies.py \\
        models/debsum/held_out.jsonl 200 1

draws 200 vocabularies with the seed 1, prints what differs and ends with 1 if anything did.
Needs transformers (4.57 or 5), sentencepiece, onnx and the built library.
"""

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import unsay
from smallest import smallest_model
from vocabularies import MODEL_SIZE, case, has_empty_tokens, models, rows


def main(held_out, cases, seed):
    with open(held_out, encoding="utf-8") as lines:
        texts = [each for line in lines for each in json.loads(line).values()]
    spieces = models([each for each in texts if isinstance(each, str)])
    draw = random.Random(int(seed))
    place = Path(tempfile.mkdtemp())
    smallest_model(place, MODEL_SIZE)
    counts = {"refused": 0, "cases": 0, "rows": 0, "wrong": 0}
    for number in range(int(cases)):
        folder = place / "vocabulary"
        way, kind, tokenizer = case(draw, spieces, folder)
        if isinstance(tokenizer, Exception) or has_empty_tokens(tokenizer):
            counts["refused"] += 1
            continue
        counts["cases"] += 1
        for name in ("model.onnx", "config.json"):
            shutil.copy(place / name, folder)
        wrong = 0
        try:
            model = unsay.open(folder)
        except unsay.Error as error:
            print(f"case {number}, {way}, {kind}: refused: {error}")
            counts["wrong"] += 1
            continue
        with model:
            for text, ids, decoded in rows(draw, tokenizer, 60):
                counts["rows"] += 1
                try:
                    found = ids if text is None else list(model.encode(text).ids)
                    joined = model.decode(ids)
                except unsay.Error as error:
                    found, joined = str(error), None
                if found == ids and joined == decoded:
                    continue
                wrong += 1
                if wrong < 4:
                    print(f"case {number}, {way}, {kind}: {text!r}")
                    if found != ids:
                        print("   ids expected", ids, "\n   ids found   ", found)
                    if joined != decoded:
                        print("  ", ids, "text expected", repr(decoded), "found", repr(joined))
        if wrong:
            counts["wrong"] += wrong
            keep = Path(f"/tmp/vocabulary-{number}")
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(folder, keep)
            config = (folder / "tokenizer_config.json").read_text()
            print("  ", wrong, "wrong of case", number, "in", keep, config[:600])
    shutil.rmtree(place)
    print(counts)
    return counts["wrong"] > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
