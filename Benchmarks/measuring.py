"""What the benchmarks measure with."""

import re
import time
from pathlib import Path
from typing import Callable


def best(body: Callable[[], object], runs: int) -> float:
    """The shortest time of `runs`, in seconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        body()
        times.append(time.perf_counter() - started)
    return min(times)


def kib(name: str) -> int:
    """A line of this process's status, such as VmRSS or VmHWM."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(name + r":\s*(\d+)", status)
    return int(found[1]) if found else 0
