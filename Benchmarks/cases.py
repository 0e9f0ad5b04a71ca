"""What is measured against whom, and what is promised: the ratios of docs/performance.md."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

ALL = ["ctranslate2", "onnxruntime", "torch"]
# The least ratio against each peer.
WRITING = {"ctranslate2": 2.2, "onnxruntime": 3.0, "torch": 3.0}


@dataclass
class Case:
    """One request to this library and to its peers on one checkpoint."""

    name: str
    checkpoint: str
    precision: str
    request: Dict[str, Any]
    # Peer: the least ratio that is promised; None where there is no promise.
    peers: Dict[str, Optional[float]] = field(default_factory=dict)
    group: str = "writing"
    # As many as the whole run has; of the curve over threads, its own number.
    threads: Optional[int] = None
    # Promised against the limit of memory (greedy, one row), and against our own float32.
    limit_share: Optional[float] = None
    against_float32: Optional[float] = None


def generate(rows: int, beams: int = 1, source: int = 128) -> Dict[str, Any]:
    return {"what": "generate", "rows": rows, "source": source, "new": 64, "beams": beams}


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count > 1)}"


def writing(checkpoint: str, full: bool) -> List[Case]:
    """Greedy search and beams."""
    one_row = {"t5-base": (2.2, 3.0, 0.85), "t5-small": (3.0, 3.0, 0.70)}
    cases = []
    for source in (128, 512) if full and checkpoint == "t5-base" else (128,):
        label = "" if source == 128 else f", source {source}"
        for rows in (1, 8, 32) if full or checkpoint == "t5-small" else (1, 8):
            float32, int8, share = one_row.get(checkpoint, (2.2, 2.5, None))
            if rows > 1:
                float32, int8, share = 2.2, 2.5, None
            name = f"greedy, {_rows(rows)}{label}"
            request = generate(rows, source=source)
            peers = dict(WRITING, ctranslate2=float32)
            cases.append(Case(name, checkpoint, "float32", request, peers, limit_share=share))
            own = {"bf16": 1.8, "int8": 3.0} if rows == 1 and checkpoint == "t5-base" else {}
            cases.append(Case(name, checkpoint, "int8", request, {"ctranslate2": int8},
                              against_float32=own.get("int8")))  # fmt: skip
            cases.append(
                Case(name, checkpoint, "bf16", request, {}, against_float32=own.get("bf16"))
            )
        for rows in (1, 8, 32) if full and source == 128 else (1, 8):
            if rows > 1 and not full and checkpoint != "t5-small":
                continue
            name = f"beams 4, {_rows(rows)}{label}"
            request = generate(rows, 4, source)
            peers = {"ctranslate2": 2.0, "onnxruntime": 3.0, "torch": 3.0}
            cases.append(Case(name, checkpoint, "float32", request, peers))
            cases.append(Case(name, checkpoint, "int8", request, {"ctranslate2": 2.0}))
    return cases


def reading(checkpoint: str) -> List[Case]:
    peers: Dict[str, Optional[float]] = {"onnxruntime": 1.1, "torch": 1.1}
    request = {"what": "encode", "rows": 8, "source": 512}
    return [Case("encode 8 x 512", checkpoint, "float32", request, peers, "reading")]


def mixed() -> List[Case]:
    request = {"what": "generate", "rows": 64, "mixed": True, "new": 32, "beams": 1}
    name = "64 inputs of mixed length"
    return [
        Case(name, "debsum", "float32", request, dict(WRITING, ctranslate2=2.5)),
        Case(name, "debsum", "int8", request, {"ctranslate2": 2.5}),
    ]


def training(checkpoint: str, full: bool) -> List[Case]:
    cases = []
    for rows in (8, 32) if full else (8,):
        # torch's bf16 takes minutes a step where the processor does not multiply it.
        bf16 = "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii")
        for precision, bar in (("float32", 1.8), ("bf16", 2.0)):
            peers: Dict[str, Optional[float]] = {"torch": bar}
            if precision == "bf16" and not bf16:
                peers = {}
            request = {"what": "train", "rows": rows, "source": 128, "target": 64,
                       "precision": precision}  # fmt: skip
            name = f"FF step, batch {rows}, {precision}"
            cases.append(Case(name, checkpoint, "float32", request, peers, "training"))
    request = {"what": "train", "rows": 32, "mixed": True, "precision": "float32"}
    cases.append(Case("FF step, 32 of mixed length", checkpoint, "float32", request,
                      {"torch": 3.0}, "training"))  # fmt: skip
    return cases


def curves(checkpoint: str) -> List[Case]:
    """How this library grows: over rows, the length of the source, and threads."""
    cases = []
    for precision in ("float32", "int8"):
        for rows in (1, 2, 4, 8, 16, 32, 64):
            cases.append(Case(_rows(rows), checkpoint, precision, generate(rows), {}, "curve"))
        for source in (16, 64, 256, 1024):
            name, request = f"source {source}", generate(1, source=source)
            cases.append(Case(name, checkpoint, precision, request, {}, "curve"))
        for threads in range(1, (os.cpu_count() or 1) + 1):
            for rows in (1, 8):
                name = f"{_rows(rows)}, {threads} thread{'s' * (threads > 1)}"
                request = generate(rows)
                cases.append(
                    Case(name, checkpoint, precision, request, {}, "curve", threads=threads)
                )
    return cases


def all_cases(full: bool) -> List[Case]:
    found: List[Case] = []
    for checkpoint in ("t5-small", "t5-base", "flan-t5-base") if full else ("t5-small", "t5-base"):
        found += writing(checkpoint, full)
    found += mixed() + reading("t5-base")
    found += training("t5-base", full)
    found += curves("t5-small")
    return found
