"""What a model is made of: its vocabulary, its sizes, its weights."""

import ctypes
import itertools
import json
import math
import os
from array import array
from ctypes import byref, c_float, c_int32, c_size_t, c_uint8, c_void_p
from typing import Any, List, Optional, Sequence, Tuple, Union

from . import _types as t
from ._handle import Handle, Owner
from ._inputs import Tokens, int32s, one
from ._library import functions, sized
from ._text import to_characters
from ._values import integer, utf8
from .errors import ArgumentError, CapacityError
from .results import Encoding, Floats, GenerationDefaults, ModelInfo, Output, TensorInfo


def view(values: Any, shape: Tuple[int, ...]) -> Floats:
    """A float array of the C library as a shaped memoryview, without a copy."""
    if 0 in shape:  # Which memoryview.cast refuses.
        kind: Any = c_float
        for count in reversed(shape):
            kind = kind * count
        return memoryview(kind())
    return memoryview(values).cast("B").cast("f", shape)


class BaseModel(Owner):
    """The part of `Model` that reads."""

    def __init__(self, made: c_void_p) -> None:
        self._handle = Handle(made, functions.model_close, "model", "unsay.open(folder)")
        self._info = self._read_info()

    # Tokens

    def encode(self, text: str) -> Encoding:
        """Splits a text into ids, the end id included, and the characters behind each."""
        content = utf8(text)
        capacity, count = len(content) + 8, c_size_t()
        with self._handle as model:
            while True:
                ids, spans = (c_int32 * capacity)(), (t.Span * capacity)()
                try:
                    functions.encode(
                        model, content, len(content), ids, spans, capacity, byref(count)
                    )
                    break
                except CapacityError:
                    if count.value <= capacity:
                        raise
                    capacity = count.value
        found = [(spans[i].begin, spans[i].end) for i in range(count.value)]
        return Encoding(list(ids[: count.value]), to_characters(text, found))

    def decode(self, ids: Union[Sequence[int], Output, Encoding]) -> str:
        """Joins ids into text, skipping control ids."""
        numbers = int32s(ids)
        values = (c_int32 * max(1, len(numbers)))(*numbers)
        capacity, size = 16 * len(numbers) + 16, c_size_t()
        with self._handle as model:
            while True:
                text = ctypes.create_string_buffer(capacity)
                try:
                    functions.decode(model, values, len(numbers), text, capacity, byref(size))
                    return text.raw[: size.value].decode("utf-8", "replace")
                except CapacityError:
                    if size.value < capacity:
                        raise
                    capacity = size.value + 1

    def piece(self, id: int) -> Optional[str]:
        """The vocabulary's spelling of one id; None if there is no such id."""
        number = integer(id, "id")
        with self._handle as model:
            piece: Optional[bytes] = functions.token_piece(model, number)
        return None if piece is None else piece.decode("utf-8", "replace")

    def _ids(self, tokens: Tokens, name: str) -> "array[int]":
        checked = one(tokens, name)
        return array("i", self.encode(checked).ids) if isinstance(checked, str) else checked

    # Look inside

    @property
    def info(self) -> ModelInfo:
        """Sizes and special ids, named as in config.json; of a closed model, the last known."""
        if not self._handle.closed:
            self._info = self._read_info()
        return self._info

    @property
    def files(self) -> List[str]:
        """The .onnx files that the model was opened from, by their path in the folder."""
        with self._handle as model:
            names = (functions.model_file(model, index) for index in itertools.count())
            return [os.fsdecode(name) for name in itertools.takewhile(bool, names)]

    @property
    def generation(self) -> GenerationDefaults:
        """What the model's files say about generation, and where: the defaults of `generate`."""
        with self._handle as model:
            text: bytes = functions.model_generation(model)
        return GenerationDefaults(**json.loads(text.decode("utf-8")))

    def _read_info(self) -> ModelInfo:
        raw = sized(t.ModelInfo)
        with self._handle as model:
            functions.model_get_info(model, byref(raw))
        skipped = ("struct_size", "flags", "reserved")
        values = {name: getattr(raw, name) for name, _ in raw._fields_ if name not in skipped}
        return ModelInfo(
            **values,
            is_gated=bool(raw.flags & t.GATED),
            ties_head=bool(raw.flags & t.TIED_HEAD),
            rounds_when_saved=bool(raw.flags & t.ROUNDS),
        )

    def fingerprint(self) -> str:
        """SHA-256 of the weights: equal if and only if they are bit for bit the same."""
        digest = (c_uint8 * 32)()
        with self._handle as model:
            functions.model_fingerprint(model, digest)
        return bytes(digest).hex()

    def tensors(self) -> List[TensorInfo]:
        """Name and shape of every weight, in canonical order."""
        with self._handle as model:
            while True:
                count = self.info.tensor_count
                try:
                    return [self._tensor_info(model, index) for index in range(count)]
                except ArgumentError:
                    # Unless another thread's change has taken the head's own weight away.
                    if count == self.info.tensor_count:
                        raise

    def _tensor_info(self, model: int, index: int) -> TensorInfo:
        raw = sized(t.TensorInfo)
        functions.model_tensor(model, index, byref(raw))
        return TensorInfo(raw.name.decode("utf-8", "replace"), tuple(raw.shape[: raw.rank]))

    def tensor(self, name: str) -> Floats:
        """A copy of one weight, float32 in its own shape; `ArgumentError` if unknown."""
        utf8(name, "name")
        tensors = self.tensors()
        index = next((i for i, info in enumerate(tensors) if info.name == name), None)
        if index is None:
            raise ArgumentError(f"the model has no tensor {name!r}: see tensors()")
        shape = tensors[index].shape
        count = math.prod(shape)
        values = (c_float * count)()
        with self._handle as model:
            functions.model_read_tensor(model, index, values, count)
        return view(values, shape)
