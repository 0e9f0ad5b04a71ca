"""Reads one field of a spiece.model, without the library that wrote it."""

from __future__ import annotations


def fields(data: bytes):
    """The fields of a protobuf message: number and value."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        yield number, data[at : at + size]
        at += size


def character_map(model: bytes) -> bytes:
    """The compiled rules that replace characters."""
    normalizer = next(value for number, value in fields(model) if number == 3)
    return next((value for number, value in fields(normalizer) if number == 2), b"")
