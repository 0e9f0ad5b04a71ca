"""Single values that callers pass, on their way into the library.

A value either means something or is refused here: with `ArgumentError`, in one sentence that
names the argument, what was expected and what was found. Nothing behind this module sees the rest.
"""

import ctypes
import math
import numbers
import operator
import os
import reprlib
from typing import Any, Callable, Dict, List, Optional, Type, TypeVar, Union

from .errors import ArgumentError, ArgumentTypeError, TextError

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Value = TypeVar("Value")

FLAGS = {
    "do_sample", "cross_attention", "log_probs", "recompute", "keep_examples", "allow_links",
}  # fmt: skip
"""Options that are true or false; the library's structs hold them as integers."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def found(value: Any) -> str:
    """A value as a refusal shows it: its type and its beginning."""
    if value is None:
        return "None"
    try:
        shown = " ".join(_SHORT.repr(value).split())
    except Exception:  # An integer of thousands of digits, or a __repr__ that raises.
        shown = ""
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return f"{type(value).__name__} {shown}".rstrip()


def wrong(name: str, expected: str, value: Any) -> ArgumentTypeError:
    """The refusal of a value of the wrong type."""
    return ArgumentTypeError(f"{name}: expected {expected}, found {found(value)}")


# Numbers


def is_bool(value: Any) -> bool:
    """True for a bool, numpy's included."""
    kind = type(value)
    return isinstance(value, bool) or (
        kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")
    )


def is_integer(value: Any) -> bool:
    """True for an integer, numpy's included; a bool is none."""
    if is_bool(value) or not hasattr(type(value), "__index__"):
        return False
    try:
        operator.index(value)
    except Exception:  # Arrays have __index__ and refuse it.
        return False
    return True


def integer(value: Any, name: str, low: int = -(2**31), high: int = 2**31 - 1) -> int:
    """An integer from `low` to `high`."""
    if not is_integer(value):
        raise wrong(name, "an integer", value)
    number = operator.index(value)
    if not low <= number <= high:
        raise ArgumentError(
            f"{name}: expected an integer from {low} to {high}, found {found(number)}"
        )
    return number


def real(value: Any, name: str) -> float:
    """A number that a float32 has room for; it may be infinite or NaN."""
    is_number = (
        hasattr(type(value), "__float__")
        and not is_bool(value)
        and getattr(value, "ndim", 0) == 0
        and (isinstance(value, numbers.Real) or not isinstance(value, numbers.Complex))
    )
    number: Optional[float] = None
    if is_number:
        try:
            number = float(value)
        except OverflowError:
            raise ArgumentError(f"{name}: {found(value)} is beyond float32") from None
        except Exception:  # As Decimal's signalling NaN.
            number = None
    if number is None:
        raise wrong(name, "a number", value)
    if math.isinf(ctypes.c_float(number).value) and not math.isinf(number):
        raise ArgumentError(f"{name}: {found(value)} is beyond float32")
    return number


def reals(values: Any, name: str) -> List[float]:
    """Numbers, or the only one."""
    if hasattr(type(values), "__float__") and getattr(values, "ndim", 0) == 0:
        return [real(values, name)]
    items = listed(values, name, "numbers")
    return [real(value, f"{name}[{index}]") for index, value in enumerate(items)]


def flag(value: Any, name: str) -> bool:
    """True or False; also 1 or 0."""
    if is_bool(value) or (is_integer(value) and operator.index(value) in (0, 1)):
        return bool(value)
    raise wrong(name, "True or False", value)


# Texts


def text(value: Any, name: str) -> str:
    """A str."""
    if not isinstance(value, str):
        raise wrong(name, "a str", value)
    return value


def utf8(value: Any, name: str = "text") -> bytes:
    """The bytes of a text; `TextError` if it holds half a surrogate pair."""
    try:
        return text(value, name).encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"{name} holds a lone surrogate at character {error.start}, expected Unicode text"
        ) from error


def c_string(value: Any, name: str) -> bytes:
    """The bytes of a text that ends with a NUL in the library, and so may hold none."""
    content = utf8(value, name)
    if b"\0" in content:
        raise ArgumentError(f"{name}: expected a text without NUL characters, found {found(value)}")
    return content


def c_strings(values: Any, name: str) -> List[bytes]:
    """Several such texts, or the only one."""
    if isinstance(values, str):
        return [c_string(values, name)]
    items = listed(values, name, "a text or texts", ordered=False)
    return [c_string(value, f"{name}[{index}]") for index, value in enumerate(items)]


def path_bytes(path: Any, name: str = "path") -> bytes:
    """A path as the system spells it."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise wrong(name, "a str or os.PathLike", path)
    try:
        content = os.fsencode(path)
    except Exception as error:
        raise ArgumentError(f"{name}: {found(path)} cannot be a path: {error}") from None
    if b"\0" in content:
        raise ArgumentError(f"{name}: {found(path)} holds a NUL character")
    return content


# Anything else


def is_mapping(value: Any) -> bool:
    """True for what has values under keys and is no array: a dict, a row of a table."""
    return hasattr(type(value), "keys") and not hasattr(type(value), "tolist")


def listed(values: Any, name: str, expected: str, *, ordered: bool = True) -> List[Any]:
    """The elements of a list, tuple, array, Series, generator or the like, in their order.

    Arrays give Python's own numbers. Texts, mappings and, if `ordered`, sets are refused: what
    Python's `list` would make of them is hardly ever meant.
    """
    kind = type(values)
    unordered = (set, frozenset) if ordered else ()
    if isinstance(values, (str, bytes, bytearray, *unordered)) or is_mapping(values):
        raise wrong(name, expected, values)
    items = values.tolist() if callable(getattr(kind, "tolist", None)) else values
    try:
        iterator = iter(items)
    except TypeError:
        raise wrong(name, expected, values) from None
    return list(iterator)


def choice(table: Dict[Any, int], value: Any, name: str) -> int:
    """The number of a named choice."""
    try:
        return table[value]
    except (KeyError, TypeError):
        names = ", ".join(map(str, table))
        raise ArgumentError(f"{name}: expected one of {names}, found {found(value)}") from None


def function(value: Any, name: str) -> Any:
    """A function, or None."""
    if value is not None and not callable(value):
        raise wrong(name, "a function", value)
    return value


def instance(value: Any, kind: Type[Value], name: str, expected: str) -> Value:
    """An object of the package itself: its handle goes to the library as it is."""
    if not isinstance(value, kind):
        raise wrong(name, expected, value)
    return value


def fields(options: Any, values: Dict[str, Any]) -> None:
    """Sets the options that were given; None keeps the library's default."""
    kinds = dict(options._fields_)
    for name, value in values.items():
        if value is not None:
            setattr(options, name, _field(kinds[name])(value, name))


def _field(kind: Any) -> Callable[[Any, str], Any]:
    def convert(value: Any, name: str) -> Any:
        if name in FLAGS:
            return int(flag(value, name))
        if kind is ctypes.c_float:
            return real(value, name)
        if kind is ctypes.c_uint64:
            return integer(value, name, 0, 2**64 - 1)
        return integer(value, name)

    return convert
