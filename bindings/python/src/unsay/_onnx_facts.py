"""What an .onnx file computes with: its operators and number types, read without onnx."""

import mmap
import os
from dataclasses import dataclass, field
from typing import Iterator, Set, Tuple, Union

FLOAT16, BFLOAT16 = 10, 16
"""Numbers of TensorProto.DataType."""

Value = Union[int, Tuple[int, int]]
"""A number of protobuf's, or where the bytes of a field begin and end."""


@dataclass
class Facts:
    """Of one file, or of several together."""

    operators: Set[str] = field(default_factory=set)
    """The types of all nodes, those inside functions and branches included."""
    casts: Set[int] = field(default_factory=set)
    """The number types that Cast nodes give."""
    stored: Set[int] = field(default_factory=set)
    """The number types of initializers and constants."""


def read(path: Union[str, "os.PathLike[str]"], facts: Facts) -> None:
    """Adds the facts of a file. Weights are passed over, not read."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for number, value in _fields(data, (0, len(data))):
            if number == 7:
                _graph(data, value, facts)
            elif number == 25:  # a function, whose nodes have the number 7
                for inner, node in _fields(data, value):
                    if inner == 7:
                        _node(data, node, facts)


def _varint(data: mmap.mmap, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _fields(data: mmap.mmap, span: Value) -> Iterator[Tuple[int, Value]]:
    """The fields of a message. The library has parsed the file before: it is well-formed."""
    assert isinstance(span, tuple)
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(data, at)
            yield number, (at, at + size)
            at += size
        else:
            at += 8 if kind == 1 else 4


def _graph(data: mmap.mmap, span: Value, facts: Facts) -> None:
    for number, value in _fields(data, span):
        if number == 1:
            _node(data, value, facts)
        elif number == 5:
            _tensor(data, value, facts)


def _tensor(data: mmap.mmap, span: Value, facts: Facts) -> None:
    for number, value in _fields(data, span):
        if number == 2 and isinstance(value, int):
            facts.stored.add(value)


def _node(data: mmap.mmap, span: Value, facts: Facts) -> None:
    kind, types = "", set()
    for number, value in _fields(data, span):
        if number == 4 and isinstance(value, tuple):
            kind = data[value[0] : value[1]].decode("utf-8", "replace")
        elif number == 5:
            for inner, part in _fields(data, value):
                if inner == 3 and isinstance(part, int):
                    types.add(part)
                elif inner == 5:
                    _tensor(data, part, facts)
                elif inner in (6, 11):
                    _graph(data, part, facts)
    facts.operators.add(kind)
    if kind == "Cast":
        facts.casts |= types
