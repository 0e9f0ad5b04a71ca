"""Ownership of one object of the C library."""

import threading
from ctypes import c_void_p
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

from ._values import instance
from .errors import ClosedError

Self = TypeVar("Self", bound="Owner")


class Handle:
    """Owns a pointer and releases it once, when closed and no longer in use.

    `with handle as pointer:` keeps it from being released for the time of a call,
    so that one thread may close what another is using.
    """

    _pointer: Optional[int] = None

    def __init__(self, made: Any, release: Callable[[int], None], name: str, maker: str) -> None:
        """`made` is where the library put the pointer, `maker` what a program calls for one."""
        self._pointer = instance(made, c_void_p, name, f"one made by {maker}").value
        self._release = release
        self._name = name
        self._users = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> int:
        with self._lock:
            if self._closed or self._pointer is None:
                raise ClosedError(f"the {self._name} is closed")
            self._users += 1
            return self._pointer

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        with self._lock:
            self._users -= 1
            pointer = self._taken()
        self._let_go(pointer)

    def close(self) -> None:
        """Releases the pointer now or, if a call is using it, when that call returns."""
        with self._lock:
            self._closed = True
            pointer = self._taken()
        self._let_go(pointer)

    def _taken(self) -> Optional[int]:
        if not self._closed or self._users > 0:
            return None
        pointer, self._pointer = self._pointer, None
        return pointer

    def _let_go(self, pointer: Optional[int]) -> None:
        if pointer is not None:
            self._release(pointer)

    def __del__(self) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            self._release(pointer)


class Owner:
    """What holds a handle: closes it by hand, or at the end of a with-block."""

    _handle: Handle

    def close(self) -> None:
        """Frees its memory once no call uses it; closing twice is fine."""
        self._handle.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()
