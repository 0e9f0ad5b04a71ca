"""Texts, token ids and pairs of them, in every shape that callers have them in.

A text is a str. Ids are whatever holds integers in an order: a list, a tuple, an array of numpy,
a tensor, a Series. Many of either come in whatever holds them in an order, a generator included.
A row, which is a mapping or has `keys()`, stands for what it has under "input", and under
"output" or "target"; a table, such as a DataFrame, for its rows.
"""

import ctypes
from array import array
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from . import _types as t
from ._values import found, integer, is_integer, is_mapping, listed, utf8, wrong
from .errors import ArgumentError
from .results import Encoding, Output

Tokens = Union[str, Sequence[int], Output, Encoding]
"""A text, its token ids, or what `generate` or `encode` returned (its ids are used)."""
Pair = Union[Tuple[Tokens, Tokens], Mapping[str, Tokens]]
"""(input, output), or a mapping with "input" and "output" or "target"."""
One = Union[str, "array[int]"]
"""Tokens once they are checked."""

INPUT = ("input",)
OUTPUT = ("output", "target")
ONE = "a text or its token ids"
PAIR = '(input, output) or a mapping with "input" and "output"'


def int32s(ids: Any, name: str = "ids") -> "array[int]":
    """Integers of 32 bits."""
    if isinstance(ids, (Output, Encoding)):
        ids = ids.ids
    items = listed(ids, name, "integers")
    if set(map(type, items)) <= {int}:
        try:
            return array("i", items)
        except OverflowError:
            pass  # Which one it is, the slower way tells.
    return array("i", [integer(id, f"{name}[{index}]") for index, id in enumerate(items)])


def one(value: Any, name: str, keys: Sequence[str] = INPUT) -> One:
    """One text, or its ids.

    `keys` are those under which a row has it.
    """
    value = _whole(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (Output, Encoding)):
        return int32s(value, name)
    if _is_row(value):
        return one(_under(value, keys, name), name, keys)
    items = listed(value, name, ONE)
    if items and not is_integer(items[0]):
        raise wrong(name, ONE, value if hasattr(type(value), "__len__") else items)
    return int32s(items, name)


def several(value: Any, name: str, keys: Sequence[str] = INPUT) -> Tuple[List[One], bool]:
    """Many texts or lists of ids; and True if the caller gave only one, not in a list."""
    value = _whole(value)
    rows = _rows(value)
    if rows is None and _is_row(value):
        return several(_under(value, keys, name), name, keys)
    if isinstance(value, (str, Output, Encoding)):
        return [one(value, name)], True
    items = listed(value, name, f"{ONE}, or a list of these") if rows is None else rows
    if items and is_integer(items[0]):
        return [int32s(items, name)], True
    return [one(item, f"{name}[{index}]", keys) for index, item in enumerate(items)], False


def pairs_of(pairs: Any, name: str = "pairs") -> Tuple[List[One], List[One]]:
    """The inputs and the outputs of pairs."""
    rows = _rows(pairs)
    if rows is None and _is_row(pairs):
        rows = _rows_of_columns(pairs, name)
    items = listed(pairs, name, f"a list of {PAIR}") if rows is None else rows
    split = [_pair(item, f"{name}[{index}]") for index, item in enumerate(items)]
    return [pair[0] for pair in split], [pair[1] for pair in split]


def _pair(pair: Any, name: str) -> Tuple[One, One]:
    if "input" in getattr(type(pair), "_fields", ()):
        pair = pair._asdict()  # A named tuple, such as a row of DataFrame.itertuples.
    if _is_row(pair):
        parts = [_under(pair, INPUT, name), _under(pair, OUTPUT, name)]
    elif isinstance(pair, (Output, Encoding)):
        raise wrong(name, PAIR, pair)
    else:
        parts = listed(pair, name, PAIR)
    if len(parts) != 2:
        raise ArgumentError(f"{name}: expected {PAIR}, found {len(parts)} parts")
    return one(parts[0], f"the input of {name}"), one(parts[1], f"the output of {name}", OUTPUT)


def _whole(value: Any) -> Any:
    """What an array without dimensions holds."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _is_row(value: Any) -> bool:
    """True for a mapping, and for an array with labels of which one is "input"."""
    if not hasattr(type(value), "keys"):
        return False
    labels = value.keys() if not is_mapping(value) else INPUT
    return INPUT[0] in labels


def _under(row: Any, keys: Sequence[str], name: str) -> Any:
    """What a row has under one of the keys."""
    present = list(row.keys())
    known = [key for key in keys if key in present]
    wanted = " or ".join(f'"{key}"' for key in keys)
    if len(known) != 1:
        shown = ", ".join(map(repr, present[:8])) or "none"
        raise ArgumentError(
            f"{name}: expected a mapping with {wanted}, found {type(row).__name__} with the keys "
            f"{shown}"
        )
    return row[known[0]]


def _rows(value: Any) -> Optional[List[Any]]:
    """The rows of a table of pandas, polars or pyarrow as mappings; None if it is none."""
    kind = type(value)
    if hasattr(kind, "columns") and hasattr(kind, "to_dict") and hasattr(kind, "itertuples"):
        names = list(value.columns)
        return [dict(zip(names, row)) for row in value.itertuples(index=False, name=None)]
    for method in ("to_dicts", "to_pylist"):
        if callable(getattr(kind, method, None)):
            return list(getattr(value, method)())
    return None


def _rows_of_columns(value: Any, name: str) -> List[Any]:
    """The rows of a mapping that is one row itself, or holds columns."""
    (inputs, is_row), (outputs, is_too) = (
        several(_under(value, keys, name), f"{name}[{keys[0]!r}]", keys) for keys in (INPUT, OUTPUT)
    )
    if is_row != is_too or len(inputs) != len(outputs):
        raise ArgumentError(f"{name}: {len(inputs)} inputs, but {len(outputs)} outputs")
    return list(zip(inputs, outputs))


class Sequences:
    """An array of `unsay_sequence`, with what it points to kept alive."""

    def __init__(self, items: Sequence[Union[One, Tokens]], name: str = "input") -> None:
        self.array = (t.Sequence * max(1, len(items)))()
        self.count = len(items)
        self._alive: List[Any] = []
        for index, item in enumerate(items):
            label = f"{name} {index}"
            checked = item if isinstance(item, (str, array)) else one(item, label)
            self._fill(self.array[index], checked, label)

    def at(self, index: int) -> Any:
        """The array from `index` on."""
        return ctypes.byref(self.array[index]) if self.count else self.array

    def sizes(self) -> List[int]:
        """How many ids each has; of a text an estimate, at three bytes an id."""
        return [
            1 + each.text_size // 3 if each.text else each.id_count
            for each in self.array[: self.count]
        ]

    def _fill(self, sequence: t.Sequence, item: One, name: str) -> None:
        if isinstance(item, str):
            text = utf8(item, name)
            sequence.text, sequence.text_size = text, len(text)
            self._alive.append(text)
            return
        if len(item) == 0:
            raise ArgumentError(f"{name} has no ids")
        values = (ctypes.c_int32 * len(item)).from_buffer(item)
        sequence.ids = ctypes.cast(values, ctypes.POINTER(ctypes.c_int32))
        sequence.id_count = len(item)
        self._alive.append(values)


# Marks


def marks_of(marks: Any, name: str = "marks") -> "array[int]":
    """One mark per token: -1, 0 or 1."""
    items = int32s(marks, name)
    if not set(items) <= {t.AVOID, t.IGNORE, t.KEEP}:
        raise ArgumentError(f"{name} are -1, 0 or 1, found {found(items.tolist())}")
    return array("b", items)


def ranges_of(ranges: Any, name: str) -> List[Tuple[int, int]]:
    """Ranges of characters (begin, end)."""
    expected = "(begin, end)"
    pairs = []
    for index, item in enumerate(listed(ranges, name, f"a list of {expected}")):
        ends = listed(item, f"{name}[{index}]", expected)
        if len(ends) != 2:
            raise ArgumentError(f"{name}[{index}]: expected {expected}, found {found(item)}")
        begin, end = (integer(number, f"{name}[{index}]", high=2**63 - 1) for number in ends)
        pairs.append((begin, end))
    return pairs


def positions_of(positions: Any, name: str) -> "array[int]":
    """Ids by their position, as pairs (position, id) one after the other."""
    if positions is None:
        return array("i")
    if not is_mapping(positions):
        raise wrong(name, "a mapping of positions to ids", positions)
    pairs = array("i")
    for position in list(positions.keys()):
        place = integer(position, f"a position of {name}")
        ids = positions[position]
        for id in int32s([ids] if is_integer(ids) else ids, f"{name}[{place}]"):
            pairs.extend((place, id))
    return pairs


def is_empty(value: Any) -> bool:
    """True for None and for what has a length of 0."""
    try:
        return value is None or len(value) == 0
    except TypeError:
        return False
