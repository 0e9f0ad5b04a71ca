#!/usr/bin/env python3
"""Measures this library beside its peers, and writes docs/performance.md.

    make bench                 every case, an hour and a half on two cores
    make bench BENCH=--quick   fewer shapes

Each library runs in a process of its own on the same weights, with equal threads. A case is
run in turns - ours, peer, ours, peer ... - and a ratio is the median of the ratios of
neighbours: what disturbs a machine for a while disturbs both. What the machine can do at best
is measured in the same run, and how fast memory is before and after every case of one row.
"""

import argparse
import functools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import report
from cases import Case, all_cases
from checkpoints import checkpoint

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


class Process:
    """A contender that waits for requests."""

    def __init__(self, kind: str, folder: Path, precision: str, threads: int) -> None:
        command = [sys.executable, HERE / "contenders.py", kind, folder, precision, str(threads)]
        environment = dict(
            os.environ, OMP_NUM_THREADS=str(threads), TRANSFORMERS_VERBOSITY="error",
            PYTHONPATH=str(ROOT / "bindings/python/src"),
        )  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env=environment, cwd=HERE,
        )  # fmt: skip
        self.opened = self._answer()

    def _answer(self) -> Dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        return json.loads(line)

    def ask(self, request: Dict[str, Any]) -> Dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@functools.cache
def limits_program() -> Path:
    program = ROOT / "build/benchmarks/limits"
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["clang", "-std=gnu11", "-O3", HERE / "limits/limits.c", "-lpthread", "-o", program],
        check=True,
    )
    return program


def limits(threads: int) -> Dict[str, float]:
    """What the machine can do, by Benchmarks/limits."""
    program = limits_program()
    done = subprocess.run([program, str(threads)], capture_output=True, check=True)
    return json.loads(done.stdout)


class Bench:
    def __init__(self, threads: int, rounds: int, folder: Path) -> None:
        self.threads, self.rounds, self.folder = threads, rounds, folder
        self.running: Dict[Tuple[str, str, str, int], Process] = {}

    def process(self, kind: str, name: str, precision: str, threads: int = 0) -> Process:
        """Processes stay until another checkpoint's turn."""
        threads = threads or self.threads
        key = (kind, name, precision, threads)
        if key not in self.running:
            for other in [k for k in self.running if k[1] != name]:
                self.running.pop(other).close()
            self.running[key] = Process(kind, checkpoint(name, self.folder), precision, threads)
        return self.running[key]

    def close(self) -> None:
        for process in self.running.values():
            process.close()
        self.running = {}

    def measure(self, case: Case) -> Dict[str, Any]:
        """Rates of all in turns, amounts a second, and our ratio to each peer."""
        heavy = case.request["what"] == "train"
        if heavy:
            self.close()
        precision = case.request.get("precision", case.precision)
        own_threads = case.threads or self.threads
        who = {"unsay": self.process("unsay", case.checkpoint, case.precision, own_threads)}
        for peer in case.peers:
            own = "float32" if peer == "torch" else case.precision
            who[peer] = self.process(peer, case.checkpoint, own)
        if case.against_float32:
            who["float32"] = self.process("unsay", case.checkpoint, "float32")
        rates: Dict[str, List[float]] = {kind: [] for kind in who}
        peaks: Dict[str, float] = {}
        for process in who.values():
            process.ask(case.request)  # caches fill, memory grows
        is_one_row = case.group == "writing" and case.request["rows"] == 1
        memory = [limits(self.threads)["memory_gbs"]] if is_one_row else []
        rounds = min(self.rounds, 3) if heavy else self.rounds
        for _ in range(rounds):
            for kind, process in who.items():
                time.sleep(0.25)  # threads that still spin for their next region
                answer = process.ask(case.request)
                rates[kind].append(answer["amount"] / answer["seconds"])
                peaks[kind] = answer.get("peak", 0)
        if is_one_row:
            memory.append(limits(self.threads)["memory_gbs"])
        if heavy:
            self.close()
        result: Dict[str, Any] = {
            "case": case.name, "checkpoint": case.checkpoint, "precision": precision,
            "group": case.group, "request": case.request,
            "rates": {kind: statistics.median(found) for kind, found in rates.items()},
            "ratios": {}, "bars": {k: v for k, v in case.peers.items() if v},
        }  # fmt: skip
        if memory:
            result["memory_gbs"] = statistics.mean(memory)
        for peer in [*case.peers, *(["float32"] if case.against_float32 else [])]:
            neighbours = [a / b for a, b in zip(rates["unsay"], rates[peer])]
            result["ratios"][peer] = statistics.median(neighbours)
        if case.against_float32:
            result["bars"]["float32"] = case.against_float32
        if case.limit_share:
            result["limit_bar"] = case.limit_share
        if heavy:
            result["peaks"] = peaks
        return result

    def opening(self, name: str, kinds: List[str], cold: bool) -> Dict[str, Any]:
        """Opening in fresh processes, in turns, the files in the system's cache or not."""
        folder = checkpoint(name, self.folder)
        self.close()
        found: Dict[str, List[Dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(self.rounds):
            for kind in kinds:
                for path in folder.rglob("*"):
                    if path.is_file():
                        (forget if cold else Path.read_bytes)(path)
                process = Process(kind, folder, "float32", self.threads)
                found[kind].append(process.opened)
                process.close()
        weights = (folder / "torch/model.safetensors").stat().st_size
        return {
            "checkpoint": name,
            "cold": cold,
            "seconds": {k: statistics.median(r["seconds"] for r in v) for k, v in found.items()},
            "resident": {
                k: statistics.median(r["resident"] for r in v) / weights for k, v in found.items()
            },
        }


def forget(path: Path) -> None:
    """Takes a file out of the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def joined(parts: List[Dict[str, Any]]) -> Dict[str, Any]:
    """One run out of its parts: of each case the last, the machine's limits by the median."""
    cases = {
        (case["checkpoint"], case["case"], case["precision"]): case
        for part in parts
        for case in part["cases"]
    }
    return {
        "limits": {
            name: statistics.median_low(part["limits"][name] for part in parts)
            for name in parts[0]["limits"]
        },
        "cases": list(cases.values()),
        "opening": [opening for part in parts for opening in part["opening"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer shapes")
    parser.add_argument("--only", default="", help="cases whose name has this expression")
    parser.add_argument("--precision", default="", help="cases of this precision")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "build/benchmarks/results.json")
    parser.add_argument("--opening", action="store_true", help="opening alone")
    parser.add_argument("--report", action="store_true", help="write docs/performance.md too")
    parser.add_argument(
        "--parts", nargs="+", type=Path, help="the report of these files; nothing is measured"
    )
    options = parser.parse_args()
    if options.parts:
        parts = [json.loads(path.read_text(encoding="utf-8")) for path in options.parts]
        report.write(joined(parts))
        return
    found: Dict[str, Any] = {"limits": limits(options.threads), "cases": [], "opening": []}
    print(json.dumps(found["limits"]))
    bench = Bench(options.threads, options.rounds, options.folder)
    try:
        for case in [] if options.opening else all_cases(not options.quick):
            label = f"{case.checkpoint} {case.name} {case.precision}"
            if not re.search(options.only, label) or options.precision not in case.precision:
                continue
            result = bench.measure(case)
            found["cases"].append(result)
            rates = "  ".join(f"{k} {v:.4g}" for k, v in result["rates"].items())
            ratios = "  ".join(f"{k} x{v:.2f}" for k, v in result["ratios"].items())
            print(f"{label:48} {rates}   {ratios}", flush=True)
            options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
        if options.opening or not options.only:
            for cold in (False, True):
                kinds = ["unsay", "onnxruntime", "ctranslate2"]
                found["opening"].append(bench.opening("t5-base", kinds, cold))
            options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    finally:
        bench.close()
    if options.report:
        report.write(found)


if __name__ == "__main__":
    main()
