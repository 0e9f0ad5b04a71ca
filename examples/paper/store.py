"""What a study keeps on disk, written so that a kill at any moment loses little and spoils nothing.

A file is whole or absent: it is written beside its place, synced and renamed. Long lists are
lines of JSON that grow; a line that a kill cut short is dropped when the file is next read.
Times are kept apart from results, so that two runs of a study have the same results byte for byte.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional


def write_text(path: Path, text: str) -> None:
    """Writes a whole file, or leaves what was there."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read_json(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def write_lines(path: Path, rows: List[Any]) -> None:
    """Writes rows as lines of JSON, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> List[Any]:
    """The whole lines of a file; a last line without its end is cut off the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(path, "r+b") as file:
            file.truncate(whole)
    return [json.loads(line) for line in content[:whole].decode("utf-8").splitlines() if line]


def append_lines(path: Path, rows: List[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class Results:
    """Values by key, in one file of JSON; each is made once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: Dict[str, Any] = read_json(path, {})

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The value of a key; made and written down first if it is new."""
        if key not in self.known:
            self.known[key] = json.loads(json.dumps(make()))
            write_json(self.path, self.known)
        return self.known[key]


class Costs:
    """Seconds and counts by stage: what it took, added up over interruptions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, stage: str, seconds: float, count: int) -> None:
        known = read_json(self.path, {})
        entry = known.setdefault(stage, {"seconds": 0.0, "count": 0})
        entry["seconds"] += seconds
        entry["count"] += count
        write_json(self.path, known)

    def rate(self, stage: str) -> Optional[float]:
        """Things per second so far; None if nothing is known."""
        entry = read_json(self.path, {}).get(stage)
        return entry["count"] / entry["seconds"] if entry and entry["seconds"] > 0 else None


def spoken(seconds: float) -> str:
    """A time as people say it: 42 s, 7 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """A bar on stderr with the rate and the time that remains; counts what was done before
    an interruption as done, and not into the rate.

    A context manager: leaving it writes the costs down, if some were given.
    """

    QUIET = 10.0  # seconds between lines where stderr is no terminal

    def __init__(
        self,
        stage: str,
        total: int,
        *,
        done: int = 0,
        unit: str = "",
        costs: Optional[Costs] = None,
    ) -> None:
        self.stage, self.total, self.unit, self.costs = stage, total, unit, costs
        self.first = self.done = done
        self.began = self.shown = time.perf_counter()

    def step(self, count: int = 1, note: str = "") -> None:
        self.done += count
        now = time.perf_counter()
        is_terminal = sys.stderr.isatty()
        if is_terminal or now - self.shown >= self.QUIET or self.done >= self.total:
            self.shown = now
            self._show(f"{self.line()}  {note}".rstrip(), is_terminal)

    def line(self) -> str:
        seconds = time.perf_counter() - self.began
        fresh = self.done - self.first
        width = 20
        full = width * self.done // max(1, self.total)
        line = f"{self.stage} [{'#' * full}{'.' * (width - full)}] {self.done}/{self.total}"
        line += f" {self.unit}" if self.unit else ""
        if fresh and seconds > 0:
            rate = fresh / seconds
            shown = f"{rate:.1f}/s" if rate >= 0.1 else f"{60 * rate:.2f}/min"
            line += f"  {shown}, {spoken((self.total - self.done) / rate)} to go"
        return line

    def over(self, items: List[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            self.step()

    def _show(self, line: str, is_terminal: bool) -> None:
        print(f"\r{line}\033[K" if is_terminal else line, end="" if is_terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty() and self.done > self.first:
            print(file=sys.stderr, flush=True)
        if self.costs is not None and self.done > self.first:
            seconds = time.perf_counter() - self.began
            self.costs.add(self.stage, seconds, self.done - self.first)
