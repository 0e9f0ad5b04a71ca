"""Writes the expected ids and texts of vocabularies in many configurations.

    python make_vocabularies.py Tests/Goldens models/debsum/held_out.jsonl

adds its cases to `vocabularies.json.xz`: run it with transformers 4.57.6, which begins the file,
and again with transformers 5. Needs transformers and sentencepiece; the tests need only the
result.
"""

import base64
import json
import lzma
import random
import sys
import tempfile
from pathlib import Path

from vocabularies import VERSION, case, has_empty_tokens, models, read, rows

CASES = {4: 260, 5: 60}
TEXTS = 12


def main(goldens, held_out):
    path = Path(goldens) / "vocabularies.json.xz"
    with open(held_out, encoding="utf-8") as lines:
        texts = [each for line in lines for each in json.loads(line).values()]
    if VERSION == 4:
        spieces = models([each for each in texts if isinstance(each, str)])
        encoded = {name: base64.b64encode(each).decode() for name, each in spieces.items()}
        result = {"spiece": encoded, "cases": []}
    else:
        result = json.loads(lzma.decompress(path.read_bytes()))
        result["cases"] = [each for each in result["cases"] if each["version"] < VERSION]
        spieces = {name: base64.b64decode(each) for name, each in result["spiece"].items()}
    draw = random.Random(VERSION)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "vocabulary"
        for _ in range(CASES[VERSION]):
            way, kind, tokenizer = case(draw, spieces, folder)
            if isinstance(tokenizer, Exception):
                continue
            expected = list(rows(draw, tokenizer, TEXTS))
            # Only now, so that the cases after it are drawn as they would be with it.
            if has_empty_tokens(tokenizer):
                continue
            result["cases"].append(
                {
                    "version": VERSION,
                    "way": way,
                    "spiece": kind if (folder / "spiece.model").exists() else None,
                    "map": kind,
                    "files": read(folder),
                    "rows": expected,
                }
            )
    text = json.dumps(result, ensure_ascii=True, separators=(",", ":"))
    path.write_bytes(lzma.compress(text.encode(), preset=9))
    print(
        len(result["cases"]), "cases,", sum(len(each["rows"]) for each in result["cases"]), "rows"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
