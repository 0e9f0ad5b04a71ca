"""Ctrl-C during a long call of the library.

A Python signal handler only runs between Python instructions, and an exception that
it raises as a callback begins would be lost on the way through C. So while such a
call runs in the main thread, Ctrl-C cancels it, and is delivered once it has returned.
"""

import signal
import threading
from types import FrameType
from typing import Any, Callable, Optional


class Interrupts:
    """While entered, Ctrl-C calls `cancel`; on leaving, the interrupt is raised again.

    Does nothing outside the main thread or where Ctrl-C has no Python handler.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._previous: Any = None
        self.interrupted = False

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        self.interrupted = True
        self._cancel()

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self.interrupted:
            signal.raise_signal(signal.SIGINT)
