"""The losses of given logits, for checking and for research: no model needed."""

from array import array
from ctypes import POINTER, c_float, c_int8, c_int32, cast
from typing import Any, Sequence, Tuple

from . import _types as t
from ._base import view
from ._inputs import int32s, marks_of
from ._library import functions
from ._values import choice, listed, real, reals
from .errors import ArgumentError
from .results import Floats


def _float32s(values: Any, name: str) -> bytes:
    """The bytes of a float32 buffer (numpy, memoryview, array) or of rows of numbers."""
    try:
        source = memoryview(values)
    except (TypeError, ValueError, BufferError):
        rows = listed(values, name, "float32 [tokens, vocab_size]")
        numbers = [reals(row, f"{name}[{index}]") for index, row in enumerate(rows)]
        return array("f", (number for row in numbers for number in row)).tobytes()
    if source.format != "f":
        raise ArgumentError(f"{name} must be float32, found format {source.format!r}")
    return source.tobytes()


def token_losses(
    loss: str,
    logits: Any,
    reference: Any,
    targets: Sequence[int],
    marks: Sequence[int],
    *,
    form: str = "exact",
    alpha: float = 1.0,
    retain: float = 0.0,
) -> Tuple[Floats, Floats]:
    """The loss of each token, and its gradient by the logits.

    `form` is "exact", or "published" for the code that came with the method.
    `logits` and `reference` are float32 [tokens, vocab_size]; `targets` and `marks` have
    one entry per token. Returns float32 [tokens], `alpha` included, and the gradient of
    their sum, [tokens, vocab_size].
    """
    p, q = _float32s(logits, "logits"), _float32s(reference, "reference")
    ids, checked = int32s(targets, "targets"), marks_of(marks)
    tokens, entries = len(ids), len(p) // 4
    if tokens == 0 or entries % tokens or len(checked) != tokens or len(q) != len(p):
        raise ArgumentError(
            f"{entries} logits, {len(q) // 4} reference logits, {tokens} targets and "
            f"{len(checked)} marks do not fit together"
        )
    floats = c_float * entries
    losses, gradient = (c_float * tokens)(), floats()
    functions.token_losses(
        choice(t.LOSSES, loss, "loss"),
        choice(t.FORMS, form, "form"),
        real(alpha, "alpha"),
        real(retain, "retain"),
        floats.from_buffer_copy(p),
        floats.from_buffer_copy(q),
        cast((c_int32 * tokens)(*ids), POINTER(c_int32)),
        (c_int8 * tokens)(*checked),
        tokens,
        entries // tokens,
        losses,
        gradient,
    )
    return view(losses, (tokens,)), view(gradient, (tokens, entries // tokens))
