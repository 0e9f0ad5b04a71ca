"""A patch apart from its model."""

import json
import os
from ctypes import byref, c_void_p
from typing import Any, Dict, Optional, Union

from . import _types as t
from ._handle import Handle, Owner
from ._library import functions, sized
from ._text import path_bytes
from .results import DeltaInfo


class Delta(Owner):
    """The exact difference between a model and its patched self.

    `model.apply(delta)` and `model.revert(delta)` are exact to the bit. Get one from
    `patch.delta()` or `Delta.open(path)`.
    """

    def __init__(self, pointer: Optional[int]) -> None:
        self._handle = Handle(pointer, functions.delta_close, "delta")

    @classmethod
    def open(cls, path: Union[str, "os.PathLike[str]"]) -> "Delta":
        """Reads a delta file."""
        out = c_void_p()
        functions.delta_open(path_bytes(path), byref(out))
        return cls(out.value)

    def save(self, path: Union[str, "os.PathLike[str]"]) -> None:
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


def to_delta_info(raw: Any) -> DeltaInfo:
    return DeltaInfo(
        before=bytes(raw.before).hex(),
        after=bytes(raw.after).hex(),
        tensor_count=raw.tensor_count,
        changed_count=raw.changed_count,
        change_norm=raw.change_norm,
    )
