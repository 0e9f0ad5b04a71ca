"""Results of the library as outputs."""

import ctypes
from ctypes import byref, c_float
from typing import List, Optional

from . import _types as t
from ._base import view
from ._library import functions, sized
from .results import Output


def outputs_of(pointer: Optional[int], count: int) -> List[List[Output]]:
    """Copies every hypothesis of each input out of a result, and frees the result."""
    try:
        return [
            [
                _output(pointer, index, rank)
                for rank in range(functions.result_count(pointer, index))
            ]
            for index in range(count)
        ]
    finally:
        functions.result_free(pointer)


def _output(pointer: Optional[int], index: int, rank: int) -> Output:
    raw = sized(t.Hypothesis)
    functions.result_get(pointer, index, rank, byref(raw))
    text = ctypes.string_at(raw.text, raw.text_size) if raw.text else b""
    each, size = raw.alternative_count, raw.id_count * raw.alternative_count
    pairs = list(zip(raw.alternative_ids[:size], raw.alternative_log_probabilities[:size]))
    attention = None
    if raw.cross_attention:
        shape = (raw.id_count, raw.input_id_count)
        values = (c_float * (shape[0] * shape[1]))()
        ctypes.memmove(values, raw.cross_attention, ctypes.sizeof(values))
        attention = view(values, shape)
    return Output(
        text=text.decode("utf-8", "replace"),
        ids=list(raw.ids[: raw.id_count]),
        log_probs=list(raw.log_probabilities[: raw.id_count]) if raw.log_probabilities else [],
        score=raw.score,
        finish=t.FINISHES[raw.finish],
        alternatives=[pairs[begin : begin + each] for begin in range(0, size, each or 1)],
        cross_attention=attention,
        drafted=raw.drafted_count,
        accepted=raw.accepted_count,
    )
