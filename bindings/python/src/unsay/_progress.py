"""Progress of a run: a bar with tqdm, a line without, or the caller's own function."""

import sys
from typing import Any, Callable, Optional, Union

from ._values import is_bool, wrong
from .results import Step

Progress = Union[bool, Callable[[Step], Any], None]
"""True for a bar on stderr, or a function called after each step: returning exactly
`False` ends the run."""


def asked(progress: Any) -> Any:
    """What `progress` asks for: True, a function, or None for nothing."""
    if progress is None or is_bool(progress):
        return True if progress else None
    if not callable(progress):
        raise wrong("progress", "True, False or a function", progress)
    return progress


class Line:
    """One line on stderr, rewritten on a terminal, printed once elsewhere."""

    def __init__(self, total: int, name: str) -> None:
        self._total, self._name = total, name
        self._last: Optional[str] = None
        self._count = 0

    def show(self, step: Step) -> None:
        self._count += 1
        self._last = (
            f"{self._name} {self._count}/{self._total}  loss {step.loss:.4f}"
            f"  avoided p {step.avoid_p:.4f}"
        )
        if sys.stderr.isatty():
            print(f"\r{self._last}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._last is not None:
            end = "\n" if sys.stderr.isatty() else self._last + "\n"
            print(end, end="", file=sys.stderr, flush=True)


class Bar:
    """A tqdm bar."""

    def __init__(self, tqdm: Any, total: int, name: str) -> None:
        self._bar = tqdm(total=total, desc=name, unit="step")

    def show(self, step: Step) -> None:
        self._bar.set_postfix(loss=f"{step.loss:.4f}", avoided_p=f"{step.avoid_p:.4f}")
        self._bar.update(1)

    def close(self) -> None:
        self._bar.close()


class Count:
    """Shows `done` of `total`: a tqdm bar, or one line on stderr."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            is_last = done == total
            if sys.stderr.isatty() or is_last:
                begin = "\r" if sys.stderr.isatty() else ""
                end = "\n" if is_last else ""
                text = f"{begin}{self._name} {done}/{total}"
                print(text, end=end, file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._name, unit="input")
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()


class Reporter:
    """Shows steps the way `progress` asks; a context manager."""

    def __init__(self, progress: Progress, total: int, name: str) -> None:
        wanted = asked(progress)
        self._call = None if wanted is True else wanted
        self._display: Union[Bar, Line, None] = None
        if wanted is True:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                self._display = Line(total, name)
            else:
                self._display = Bar(tqdm, total, name)

    def report(self, step: Step) -> bool:
        """Shows one step; False if the caller's function asks to stop."""
        if self._display is not None:
            self._display.show(step)
        return self._call is None or self._call(step) is not False

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.close()
