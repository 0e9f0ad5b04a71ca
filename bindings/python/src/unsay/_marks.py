"""Marks from phrases, character ranges or a corrected text."""

from ctypes import byref, c_char_p, c_int8, c_int32, c_size_t
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple, Union

from . import _types as t
from ._library import functions
from ._sessions import choice
from ._text import Sequences, Tokens, to_bytes, utf8
from .errors import ArgumentError, CapacityError
from .results import Output

if TYPE_CHECKING:
    from ._base import BaseModel

Avoid = Union[str, Sequence[Union[str, Tuple[int, int]]]]
"""A phrase, or a list of phrases and character ranges."""


def _filled(function: Any, *arguments: Any) -> List[int]:
    """Calls a marker twice at most: the first call learns how many marks there are."""
    capacity, count = 256, c_size_t()
    while True:
        marks = (c_int8 * capacity)()
        try:
            function(*arguments, marks, capacity, byref(count))
            return list(marks[: count.value])
        except CapacityError:
            if count.value <= capacity:
                raise
            capacity = count.value


def marks(
    model: "BaseModel",
    output: Tokens,
    *,
    avoid: Optional[Avoid] = None,
    better: Optional[Tokens] = None,
    extent: str = "all",
) -> List[int]:
    """One mark per token of `output`, the end included: -1 for those to avoid, 1 for the rest.

    Arguments as of `Patch.add`; that nothing matches is no error here.
    """
    return _found(model, output, avoid, better, choice(t.EXTENTS, extent, "extent"))


def _found(
    model: "BaseModel",
    output: Tokens,
    avoid: Optional[Avoid],
    better: Optional[Tokens],
    extent: int,
) -> List[int]:
    if better is not None:
        return _by_difference(model, output, better, extent)
    return _by_avoid(model, output, avoid or [], extent)


def marks_for(
    model: "BaseModel",
    output: Tokens,
    avoid: Optional[Avoid],
    better: Optional[Tokens],
    extent: int,
) -> List[int]:
    """One mark per token of `output`; `ArgumentError` if none says AVOID."""
    marks = _found(model, output, avoid, better, extent)
    what = "the corrected output" if better is not None else repr(avoid)
    if t.AVOID not in marks:
        shown = output if isinstance(output, (str, Output)) else model.decode(output)
        if better is not None:
            raise ArgumentError(f"nothing matches: {what} replaces no token of {str(shown)!r}")
        raise ArgumentError(f"nothing matches {what} in {str(shown)!r}")
    return marks


def marks_of_triple(
    model: "BaseModel", output: Tokens, corrected: Tokens, converter: int
) -> Tuple[List[int], bool]:
    """One mark per token of the example that a converter makes, and whether its output is
    the corrected one."""
    outs, betters = Sequences([output], "output"), Sequences([corrected], "corrected")
    uses_corrected = c_int32()
    capacity, count = 256, c_size_t()
    with model._handle as pointer:
        while True:
            marks = (c_int8 * capacity)()
            try:
                functions.mark_triple(
                    pointer, outs.array, betters.array, converter, marks, capacity,
                    byref(count), byref(uses_corrected),
                )  # fmt: skip
                return list(marks[: count.value]), bool(uses_corrected.value)
            except CapacityError:
                if count.value <= capacity:
                    raise
                capacity = count.value


def _by_difference(model: "BaseModel", output: Tokens, better: Tokens, extent: int) -> List[int]:
    outs, betters = Sequences([output], "output"), Sequences([better], "better")
    with model._handle as pointer:
        return _filled(functions.mark_difference, pointer, outs.array, betters.array, extent)


def _by_avoid(model: "BaseModel", output: Tokens, avoid: Avoid, extent: int) -> List[int]:
    wanted = [avoid] if isinstance(avoid, str) else list(avoid)
    phrases = [utf8(item, "phrase") for item in wanted if isinstance(item, str)]
    ranges = [item for item in wanted if not isinstance(item, str)]
    if any(b"\0" in phrase for phrase in phrases):
        raise ArgumentError("a phrase to avoid holds a NUL character")
    found = []
    outs = Sequences([output], "output")
    with model._handle as pointer:
        if phrases:
            texts = (c_char_p * len(phrases))(*phrases)
            found.append(
                _filled(functions.mark_phrases, pointer, outs.array, texts, len(phrases), extent)
            )
        if ranges or not phrases:  # nothing to avoid: one mark per token all the same
            spans = _spans(model, output, ranges)
            found.append(
                _filled(functions.mark_spans, pointer, outs.array, spans, len(spans), extent)
            )
    return [min(marks) for marks in zip(*found)]


def _spans(model: "BaseModel", output: Tokens, ranges: Sequence[Any]) -> Any:
    text = str(output) if isinstance(output, (str, Output)) else model.decode(output)
    try:
        pairs = [(int(begin), int(end)) for begin, end in ranges]
    except (TypeError, ValueError):
        raise ArgumentError(
            f"avoid takes phrases or character ranges (begin, end), found {ranges!r}"
        ) from None
    spans = (t.Span * len(pairs))()
    for span, (begin, end) in zip(spans, to_bytes(text, pairs)):
        span.begin, span.end = begin, end
    return spans
