"""What a model is made of: its vocabulary, its sizes, its weights."""

import ctypes
import json
import math
from ctypes import byref, c_float, c_int32, c_size_t, c_uint8
from typing import Any, List, Optional, Sequence, Tuple

from . import _types as t
from ._handle import Handle, Owner
from ._library import functions, sized
from ._text import Tokens, int32s, to_characters, utf8
from .errors import ArgumentError, CapacityError
from .results import Encoding, Floats, GenerationDefaults, ModelInfo, Output, TensorInfo


def view(values: Any, shape: Tuple[int, ...]) -> Floats:
    """A float array of the C library as a shaped memoryview, without a copy."""
    return memoryview(values).cast("B").cast("f", shape)


class BaseModel(Owner):
    """The part of `Model` that reads."""

    def __init__(self, pointer: Optional[int]) -> None:
        self._handle = Handle(pointer, functions.model_close, "model")
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

    def decode(self, ids: Sequence[int]) -> str:
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
        with self._handle as model:
            piece: Optional[bytes] = functions.token_piece(model, int32s([id])[0])
        return None if piece is None else piece.decode("utf-8", "replace")

    def _ids(self, tokens: Tokens) -> List[int]:
        if isinstance(tokens, str):
            return self.encode(tokens).ids
        return list(tokens.ids if isinstance(tokens, Output) else tokens)

    # Look inside

    @property
    def info(self) -> ModelInfo:
        """Sizes and special ids, named as in config.json."""
        return self._info

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
            return [self._tensor_info(model, index) for index in range(self._info.tensor_count)]

    def _tensor_info(self, model: int, index: int) -> TensorInfo:
        raw = sized(t.TensorInfo)
        functions.model_tensor(model, index, byref(raw))
        return TensorInfo(raw.name.decode("utf-8", "replace"), tuple(raw.shape[: raw.rank]))

    def tensor(self, name: str) -> Floats:
        """A copy of one weight, float32 in its own shape; `ArgumentError` if unknown."""
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
