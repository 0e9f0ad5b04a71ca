"""What commands print and write."""

import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Callable, Dict, Optional

from .._progress import Count


class Refusal(Exception):
    """What a command refuses to do; its text is one sentence."""


class Sink:
    """Where results go: standard output, or a file that appears whole or not at all."""

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._file: IO[str] = sys.stdout
        if path is not None:
            number, self._name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            self._file = os.fdopen(number, "w", encoding="utf-8")

    def line(self, text: str) -> None:
        """Writes a line; on standard output it is seen at once."""
        self._file.write(text + "\n")
        if self._path is None:
            self._file.flush()

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._path is None:
            return
        self._file.close()
        if kind is None:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(self._name, 0o666 & ~mask)
            os.replace(self._name, self._path)
        else:
            os.unlink(self._name)


def as_json(value: Any, indent: Optional[int] = None) -> str:
    """JSON as every reader takes it: numbers that are not finite become null."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value


def note(text: str) -> None:
    """A remark for people, beside the results."""
    print(f"unsay: {text}", file=sys.stderr)


def shows_progress(options: Any) -> bool:
    """What --progress says; without it, whether somebody watches."""
    asked: Optional[bool] = options.progress
    return sys.stderr.isatty() if asked is None else asked


def counting(options: Any, name: str) -> Optional[Callable[[int, int], None]]:
    """A progress bar over inputs for `Model.generate`, if one is wanted."""
    return Count(name) if shows_progress(options) else None


def table(rows: Dict[str, Any]) -> str:
    """Names and values, aligned."""
    width = max(len(name) for name in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())
