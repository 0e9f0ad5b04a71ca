"""One exception for each status of the library, each also the builtin you would catch.

So a program may know this package's names or not:

    try:
        model = unsay.open("models/missing")
    except FileNotFoundError as error:  # or unsay.NotFoundError, or unsay.Error
        print(error)
"""

from typing import Dict, Optional, Type

__all__ = [
    "ArgumentError", "ArgumentTypeError", "BusyError", "CancelledError", "CapacityError",
    "ClosedError", "DivergedError", "Error", "FormatError", "GuardError", "IOFailure",
    "InternalError", "MismatchError", "NotFoundError", "OutOfMemoryError", "StateError",
    "TextError", "UnchangedError", "UnsupportedError",
]  # fmt: skip


class Error(Exception):
    """Anything the library refuses or fails to do; its text is one sentence.

    `status` is the code of unsay.h, e.g. -22 for `UNSAY_E_FORMAT`.
    """

    status: int = -90


class ArgumentError(Error, ValueError):
    """An argument is out of range, empty, or of the wrong shape."""

    status = -10


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument is of the wrong type; an `ArgumentError` that is a `TypeError`, too."""


class CapacityError(Error, BufferError):
    """A buffer is too small."""

    status = -11


class TextError(Error, UnicodeError):
    """A text is not valid Unicode."""

    status = -12


class NotFoundError(Error, FileNotFoundError):
    """There is no such file or folder."""

    status = -20


class IOFailure(Error, OSError):
    """Reading or writing a file failed."""

    status = -21


class FormatError(Error, ValueError):
    """A file is not what its name says, or is torn."""

    status = -22


class UnsupportedError(Error, NotImplementedError):
    """Well-formed, but this version of the library cannot do it."""

    status = -23


class MismatchError(Error, ValueError):
    """A delta or a tokenizer was made for another model."""

    status = -30


class StateError(Error, RuntimeError):
    """Not possible now: e.g. a run before any example was added."""

    status = -31


class ClosedError(StateError, ValueError):
    """The model, patch, delta or classifier was closed; a `ValueError` as of a closed file."""


class BusyError(Error, RuntimeError):
    """The patch is in use by a call in another thread."""

    status = -32


class CancelledError(Error, RuntimeError):
    """The call was stopped by `cancel()`."""

    status = -33


class GuardError(Error, RuntimeError):
    """The guard refused the commit: behaviour that must stay has drifted too far."""

    status = -34


class DivergedError(Error, FloatingPointError):
    """The loss or a weight is no longer finite."""

    status = -35


class UnchangedError(StateError):
    """Nothing to commit: the trained weights are the model's already."""

    status = -36


class OutOfMemoryError(Error, MemoryError):
    """The library could not get the memory it needs."""

    status = -40


class InternalError(Error, RuntimeError):
    """A defect in the library: please report it."""

    status = -90


_BY_STATUS: Dict[int, Type[Error]] = {
    kind.status: kind
    for kind in (
        ArgumentError, CapacityError, TextError, NotFoundError, IOFailure, FormatError,
        UnsupportedError, MismatchError, StateError, BusyError, CancelledError, GuardError,
        DivergedError, UnchangedError, OutOfMemoryError, InternalError,
    )
}  # fmt: skip


def failure(status: int, message: str) -> Error:
    """The exception that stands for `status`; plain `Error` for a code not known here."""
    kind: Optional[Type[Error]] = _BY_STATUS.get(status)
    error = (kind or Error)(message or f"failed with status {status}")
    error.status = status
    return error
