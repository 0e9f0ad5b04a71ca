"""Ctrl-C during a long call of the library.

A Python signal handler only runs between Python instructions, and an exception that
it raises as a callback begins would be lost on the way through C. So while such a
call runs in the main thread, Ctrl-C is noted, cancels the call where there is a way to,
and is delivered once the call has returned.
"""

import contextlib
import os
import select
import signal
import threading
from types import FrameType
from typing import Any, Callable, Optional

END = 0
"""What ends a watch; no signal has this number."""


class Interrupts:
    """While entered, Ctrl-C calls `cancel`; on leaving, the interrupt is raised again.

    Does nothing outside the main thread or where Ctrl-C has no Python handler. `cancel`
    runs on a thread of its own, perhaps more than once. Without it a callback of the call
    has to look at `interrupted`.
    """

    def __init__(self) -> None:
        self.cancel: Optional[Callable[[], object]] = None
        self.interrupted = False
        self._previous: Any = None
        self._watch: Optional[_Watch] = None

    @property
    def can_happen(self) -> bool:
        """Whether Ctrl-C would run Python code in this thread."""
        is_main = threading.current_thread() is threading.main_thread()
        return is_main and callable(signal.getsignal(signal.SIGINT))

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        self.interrupted = True

    def __enter__(self) -> "Interrupts":
        if self.can_happen:
            if self.cancel is not None:
                self._watch = _Watch(self.cancel)
            self._previous = signal.signal(signal.SIGINT, self._handle)
            if self._watch is not None:
                self._watch.begin()
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.end()
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self.interrupted:
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException as error:
                raise error from None


class _Watch:
    """Calls `cancel` as soon as Ctrl-C arrives, while the main thread is inside the library.

    Python writes the number of a signal to a file of its own before any handler runs. The
    call may be about to begin, when there is nothing to cancel yet: hence again and again
    until the end.
    """

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel
        self._previous = -1
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._thread = threading.Thread(target=self._run, name="unsay-interrupts", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            os.close(self._reading)
            os.close(self._writing)
            raise

    def begin(self) -> None:
        # The previous one may be an event loop's, which goes on hearing of every signal.
        self._previous = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        is_wanted = False
        while True:
            if poll.poll(50 if is_wanted else None):
                numbers = os.read(self._reading, 64)
                self._hand_on(bytes(number for number in numbers if number != END))
                if END in numbers:
                    return
                is_wanted = is_wanted or signal.SIGINT in numbers
            if is_wanted:
                self._cancel()

    def _hand_on(self, numbers: bytes) -> None:
        if numbers and self._previous >= 0:
            # Full or closed: Python itself would do no more.
            with contextlib.suppress(OSError):
                os.write(self._previous, numbers)

    def end(self) -> None:
        """Returns once `cancel` will not be called any more."""
        signal.set_wakeup_fd(self._previous, warn_on_full_buffer=False)
        os.write(self._writing, bytes([END]))
        self._thread.join()
        os.close(self._reading)
        os.close(self._writing)
