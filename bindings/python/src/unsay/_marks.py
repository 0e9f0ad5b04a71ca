"""Marks from phrases, character ranges or a corrected text."""

from ctypes import byref, c_char_p, c_int8, c_int32, c_size_t
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from . import _types as t
from ._base import BaseModel
from ._inputs import OUTPUT, One, Sequences, Tokens, is_empty, one, ranges_of
from ._library import functions
from ._text import to_bytes
from ._values import c_string, choice, found, instance, is_integer, listed
from .errors import ArgumentError, CapacityError
from .results import PlannedMark

Avoid = Union[str, Tuple[int, int], Sequence[Union[str, Tuple[int, int]]]]
"""A phrase, a character range, or a list of these."""


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
    model: BaseModel,
    output: Tokens,
    *,
    avoid: Optional[Avoid] = None,
    better: Optional[Tokens] = None,
    extent: str = "all",
) -> List[int]:
    """One mark per token of `output`, the end included: -1 for those to avoid, 1 for the rest.

    Arguments as of `Patch.add`; that nothing matches is no error here.
    """
    if avoid is not None and better is not None:
        raise ArgumentError("give one of avoid and better, not both")
    number = choice(t.EXTENTS, extent, "extent")
    instance(model, BaseModel, "model", "a Model")
    return _found(model, one(output, "output", OUTPUT), avoid, better, number)


def _found(
    model: BaseModel,
    output: One,
    avoid: Optional[Avoid],
    better: Optional[Tokens],
    extent: int,
) -> List[int]:
    if better is not None:
        return _by_difference(model, output, one(better, "better", OUTPUT), extent)
    return _by_avoid(model, output, [] if avoid is None else avoid, extent)


def marks_for(
    model: BaseModel,
    output: One,
    avoid: Optional[Avoid],
    better: Optional[Tokens],
    extent: int,
) -> List[int]:
    """One mark per token of `output`; `ArgumentError` if none says AVOID."""
    marks = _found(model, output, avoid, better, extent)
    if t.AVOID not in marks:
        shown = output if isinstance(output, str) else model.decode(output)
        if better is not None:
            raise ArgumentError(
                f"nothing matches: the corrected output replaces no token of {shown!r}"
            )
        raise ArgumentError(f"nothing matches {found(avoid)} in {shown!r}")
    return marks


def marks_of_triple(
    model: BaseModel, output: Tokens, corrected: Tokens, converter: int
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


def _by_difference(model: BaseModel, output: One, better: One, extent: int) -> List[int]:
    outs, betters = Sequences([output], "output"), Sequences([better], "better")
    with model._handle as pointer:
        return _filled(functions.mark_difference, pointer, outs.array, betters.array, extent)


def _by_avoid(model: BaseModel, output: One, avoid: Any, extent: int) -> List[int]:
    wanted = [avoid] if isinstance(avoid, str) else _listed(avoid)
    phrases = [c_string(item, "a phrase of avoid") for item in wanted if isinstance(item, str)]
    ranges = ranges_of([item for item in wanted if not isinstance(item, str)], "avoid")
    marked = []
    outs = Sequences([output], "output")
    with model._handle as pointer:
        if phrases:
            texts = (c_char_p * len(phrases))(*phrases)
            marked.append(
                _filled(functions.mark_phrases, pointer, outs.array, texts, len(phrases), extent)
            )
        if ranges or not phrases:  # nothing to avoid: one mark per token all the same
            spans = _spans(model, output, ranges)
            marked.append(
                _filled(functions.mark_spans, pointer, outs.array, spans, len(spans), extent)
            )
    return [min(marks) for marks in zip(*marked)]


def _listed(avoid: Any) -> List[Any]:
    expected = "phrases or character ranges (begin, end)"
    items = listed(avoid, "avoid", expected, ordered=False)
    is_range = len(items) == 2 and all(map(is_integer, items))
    return [tuple(items)] if is_range else items


def avoids(avoid: Any) -> bool:
    """Whether something is to be avoided, rather than None or an empty list."""
    return not is_empty(avoid)


def _spans(model: BaseModel, output: One, ranges: List[Tuple[int, int]]) -> Any:
    text = output if isinstance(output, str) else model.decode(output)
    spans = (t.Span * len(ranges))()
    for span, (begin, end) in zip(spans, to_bytes(text, ranges)):
        span.begin, span.end = begin, end
    return spans


def spellings(model: BaseModel, marks: Sequence[PlannedMark]) -> Dict[str, int]:
    """The runs of tokens that are avoided, as the vocabulary spells them, and how often each is,
    the most frequent first."""
    runs: Dict[str, int] = {}
    previous: Optional[PlannedMark] = None
    text = ""
    for mark in marks:
        piece = model.piece(mark.id) or f"<{mark.id}>"
        follows = previous is not None and (previous.example, previous.position + 1) == (
            mark.example,
            mark.position,
        )
        if text and not follows:
            runs[text] = runs.get(text, 0) + 1
        text = f"{text} {piece}" if follows else piece
        previous = mark
    if text:
        runs[text] = runs.get(text, 0) + 1
    return dict(sorted(runs.items(), key=lambda item: (-item[1], item[0])))
