"""What commands print and write."""

import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

from .._files import whole_file
from .._progress import Count


class Refusal(Exception):
    """What a command refuses to do; its text is one sentence."""


@contextlib.contextmanager
def sink(path: Optional[Path]) -> Iterator[Callable[[str], None]]:
    """A function that writes lines: to standard output, where each is seen at once, or to a
    file that appears whole or not at all."""
    if path is None:
        yield lambda line: print(line, flush=True)
        return
    with whole_file(path) as file:
        yield lambda line: print(line, file=file)


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
