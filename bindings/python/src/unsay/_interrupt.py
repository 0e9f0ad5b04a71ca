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

    Does nothing outside the main thread or where Ctrl-C has no Python handler. Without
    `cancel` a callback of the call has to look at `interrupted`.
    """

    def __init__(self, cancel: Optional[Callable[[], None]] = None) -> None:
        self._cancel = cancel
        self._previous: Any = None
        self.interrupted = False

    @property
    def can_happen(self) -> bool:
        """Whether Ctrl-C would run Python code in this thread."""
        is_main = threading.current_thread() is threading.main_thread()
        return is_main and callable(signal.getsignal(signal.SIGINT))

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        self.interrupted = True
        if self._cancel is not None:
            self._cancel()

    def __enter__(self) -> "Interrupts":
        if self.can_happen:
            self._previous = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self.interrupted:
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException as error:
                raise error from None
