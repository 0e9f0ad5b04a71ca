"""Offsets between texts of Python, which counts characters, and the library's bytes."""

from bisect import bisect_left, bisect_right
from typing import Iterable, List, Optional, Tuple

from ._values import utf8
from .errors import ArgumentError


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
