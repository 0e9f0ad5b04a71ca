"""Texts and ids on their way into the library, offsets on their way across.

Python counts characters, the library bytes.
"""

import ctypes
import operator
import os
from array import array
from bisect import bisect_left, bisect_right
from typing import Any, Iterable, List, Optional, Sequence, Tuple, Union

from . import _types as t
from .errors import ArgumentError, TextError
from .results import Output

Tokens = Union[str, Sequence[int], Output]
"""A text, its token ids, or what `generate` returned (its ids are used)."""


def utf8(text: str, name: str = "text") -> bytes:
    """The bytes of `text`; `TextError` if it holds half a surrogate pair."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"{name} holds a lone surrogate at character {error.start}, expected Unicode text"
        ) from error


def path_bytes(
    path: Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"],
) -> bytes:
    """A path as the system spells it."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ArgumentError(f"path {os.fspath(path)!r} holds a NUL character")
    return name


def int32s(ids: Iterable[int], name: str = "ids") -> "array[int]":
    """`ids` as 32-bit integers, checked."""
    try:
        return array("i", ids)
    except (OverflowError, TypeError) as error:
        raise ArgumentError(f"{name} must be 32-bit integers: {error}") from error


def is_one(tokens: Any) -> bool:
    """True for one text or one list of ids, False for a list of those."""
    if isinstance(tokens, (str, Output)):
        return True
    if isinstance(tokens, (bytes, bytearray)):
        raise ArgumentError("expected str or token ids, found bytes: decode them first")
    try:
        operator.index(tokens[0])
    except (IndexError, TypeError):
        return False
    return True


def split(pairs: Iterable[Tuple[Tokens, Tokens]]) -> Tuple[Sequence[Tokens], Sequence[Tokens]]:
    """Pairs (input, output) as two lists."""
    listed = [tuple(pair) for pair in pairs]
    for index, pair in enumerate(listed):
        if len(pair) != 2:
            raise ArgumentError(f"pair {index} has {len(pair)} parts, expected (input, output)")
    return [pair[0] for pair in listed], [pair[1] for pair in listed]


class Sequences:
    """An array of `unsay_sequence`, with what it points to kept alive."""

    def __init__(self, items: Sequence[Tokens], name: str = "input") -> None:
        self.array = (t.Sequence * max(1, len(items)))()
        self.count = len(items)
        self._alive: List[Any] = []
        for index, item in enumerate(items):
            self._fill(self.array[index], item, f"{name} {index}")

    def at(self, index: int) -> Any:
        """The array from `index` on."""
        return ctypes.byref(self.array[index]) if self.count else self.array

    def sizes(self) -> List[int]:
        """How many ids each has; of a text an estimate, at three bytes an id."""
        return [
            1 + each.text_size // 3 if each.text else each.id_count
            for each in self.array[: self.count]
        ]

    def _fill(self, sequence: t.Sequence, item: Tokens, name: str) -> None:
        if isinstance(item, str):
            text = utf8(item, name)
            sequence.text, sequence.text_size = text, len(text)
            self._alive.append(text)
            return
        ids = int32s(item.ids if isinstance(item, Output) else item, f"ids of {name}")
        if len(ids) == 0:
            raise ArgumentError(f"{name} has no ids")
        values = (ctypes.c_int32 * len(ids)).from_buffer(ids)
        sequence.ids = ctypes.cast(values, ctypes.POINTER(ctypes.c_int32))
        sequence.id_count = len(ids)
        self._alive.append(values)


def byte_offsets(text: str) -> Optional[List[int]]:
    """Where each character begins, and the end; None where bytes are characters."""
    if text.isascii():
        return None
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + len(character.encode("utf-8")))
    return offsets


def to_bytes(
    text: str, ranges: Iterable[Tuple[int, int]], name: str = "output"
) -> List[Tuple[int, int]]:
    """Ranges of characters as ranges of bytes; `ArgumentError` outside the text."""
    utf8(text)
    offsets = byte_offsets(text)
    spans = []
    for begin, end in ranges:
        if not 0 <= begin < end <= len(text):
            raise ArgumentError(
                f"range ({begin}, {end}) is empty or outside the {name}'s {len(text)} characters"
            )
        spans.append((begin, end) if offsets is None else (offsets[begin], offsets[end]))
    return spans


def to_characters(text: str, spans: Iterable[Tuple[int, int]]) -> List[Tuple[int, int]]:
    """Ranges of bytes as ranges of characters; one that cuts a character takes it whole."""
    offsets = byte_offsets(text)
    if offsets is None:
        return list(spans)
    return [(bisect_right(offsets, begin) - 1, bisect_left(offsets, end)) for begin, end in spans]
