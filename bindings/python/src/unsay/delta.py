"""A patch apart from its model."""

import contextlib
import json
import os
from ctypes import byref, c_void_p
from typing import Any, Dict, Iterator, Union

from . import _types as t
from ._handle import Handle, Owner
from ._library import functions, sized
from ._values import Path, path_bytes, wrong
from .results import DeltaInfo


class Delta(Owner):
    """The exact difference between a model and its patched self.

    `model.apply(delta)` and `model.revert(delta)` are exact to the bit. Get one from
    `patch.delta()` or `Delta.open(path)`.
    """

    def __init__(self, made: c_void_p) -> None:
        self._handle = Handle(
            made, functions.delta_close, "delta", "Delta.open(path) or patch.delta()"
        )

    @classmethod
    def open(cls, path: Path) -> "Delta":
        """Reads a delta file."""
        out = c_void_p()
        functions.delta_open(path_bytes(path), byref(out))
        return cls(out)

    def save(self, path: Path) -> None:
        """Writes the delta to a file, whole or not at all."""
        with self._handle as delta:
            functions.delta_save(delta, path_bytes(path))

    @property
    def info(self) -> DeltaInfo:
        """Which models it leads from and to, and how much it changes."""
        info = sized(t.DeltaInfo)
        with self._handle as delta:
            functions.delta_get_info(delta, byref(info))
        return to_delta_info(info)

    @property
    def metadata(self) -> Dict[str, Any]:
        """How the change came about: options, seed, digest of the examples, evaluation, and
        the fingerprints of what was applied before."""
        with self._handle as delta:
            text: bytes = functions.delta_metadata(delta)
        return dict(json.loads(text))

    def __repr__(self) -> str:
        if self._handle.closed:
            return "Delta(closed)"
        info = self.info
        return (
            f"Delta({info.before[:8]} -> {info.after[:8]}, {info.changed_count} parameters "
            f"in {info.tensor_count} tensors)"
        )


DeltaOrPath = Union[Delta, Path]
"""A delta, or the path of the file that holds one."""


@contextlib.contextmanager
def opened(delta: DeltaOrPath, name: str = "delta") -> Iterator[int]:
    """The library's pointer to a delta; one that is given by its path is closed afterwards."""
    if isinstance(delta, Delta):
        with delta._handle as pointer:
            yield pointer
        return
    if not isinstance(delta, (str, bytes, os.PathLike)):
        raise wrong(name, "a Delta or the path of one", delta)
    with Delta.open(delta) as read, read._handle as pointer:
        yield pointer


def to_delta_info(raw: Any) -> DeltaInfo:
    return DeltaInfo(
        before=bytes(raw.before).hex(),
        after=bytes(raw.after).hex(),
        tensor_count=raw.tensor_count,
        changed_count=raw.changed_count,
        change_norm=raw.change_norm,
    )
