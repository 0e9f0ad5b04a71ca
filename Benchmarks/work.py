"""What is measured: one request, one number of tokens or steps, one time."""

import json
import lzma
import random
import time
from pathlib import Path
from typing import Any, Dict, List

from measuring import kib

ROOT = Path(__file__).resolve().parents[1]


def ids(rows: int, length: int) -> List[List[int]]:
    """Inputs of one length, an end last."""
    draw = random.Random(7)
    return [[draw.randrange(100, 30000) for _ in range(length - 1)] + [1] for _ in range(rows)]


def debsum(rows: int) -> List[List[int]]:
    """Real inputs of debsum, as ids: of all lengths."""
    path = ROOT / "Benchmarks/debsum_ids.json.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)[:rows]


def pairs(rows: int, source: int, target: int) -> list:
    """(input, output, marks): one token in eight is to be avoided."""
    inputs, outputs = ids(rows, source), ids(rows, target)
    marks = [-1 if position % 8 == 3 else 1 for position in range(target)]
    return [(a, b, marks) for a, b in zip(inputs, outputs)]


def mixed_pairs(rows: int) -> list:
    """Inputs of debsum with outputs of 4 to 24 tokens."""
    draw = random.Random(8)
    found = []
    for source in debsum(rows):
        target = ids(1, draw.randrange(4, 25))[0]
        target = [1 + index % 8000 for index in target]
        found.append(([1 + i % 8000 for i in source], target, [-1] + [1] * (len(target) - 1)))
    return found


def run(contender: Any, request: Dict[str, Any], steps: Dict[str, Any]) -> Dict[str, float]:
    """Does what `request` asks once, and tells how long it took and how much it was."""
    request = dict(request)
    what = request.pop("what")
    if what == "train":
        key = json.dumps(request)
        if key not in steps:
            steps.clear()
            rows, precision = request["rows"], request["precision"]
            batch = (
                mixed_pairs(rows)
                if request.get("mixed")
                else pairs(rows, request["source"], request["target"])
            )
            steps[key] = contender.train(batch, precision)
            steps[key]()
        started = time.perf_counter()
        steps[key]()
        return {"seconds": time.perf_counter() - started, "amount": 1, "peak": kib("VmHWM") * 1024}
    inputs = debsum(request["rows"]) if request.get("mixed") else ids(
        request["rows"], request["source"])  # fmt: skip
    started = time.perf_counter()
    if what == "encode":
        contender.encode(inputs)
        amount = sum(map(len, inputs))
    else:
        least = 0 if request.get("mixed") else request["new"]
        lengths = contender.generate(inputs, least, request["new"], request.get("beams", 1))
        amount = sum(lengths)
    return {"seconds": time.perf_counter() - started, "amount": amount}
