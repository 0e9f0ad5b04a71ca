"""A patch: a private trained copy of a model that becomes the model's on commit."""

from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any, Dict, Iterable, Optional, Sequence, Tuple

from . import _types as t
from ._handle import Owner
from ._library import functions
from ._marks import Avoid, marks_for
from ._progress import Progress
from ._sessions import GradientsHook, Session, choice
from ._text import Tokens
from .delta import Delta
from .errors import ArgumentError
from .results import Evaluation, Report, Step

if TYPE_CHECKING:
    from .model import Model


class Patch(Owner):
    """Trains a model away from what you flag, then commits or rolls back.

    `model.patch()` makes one. As a context manager it closes on leaving, and whatever
    was not committed is dropped: the model itself changes in `commit()` alone.

        with model.patch(max_guard_kl=0.05) as patch:
            patch.add("input", "the unwanted output", avoid=["unwanted"])
            patch.guard([("another input", "its output, which must stay")])
            report = patch.run(max_steps=50)
            if report.ending == "goal":
                patch.commit()
    """

    def __init__(
        self,
        model: "Model",
        reference: Optional["Model"],
        on_gradients: Optional[GradientsHook],
        values: Dict[str, Any],
    ) -> None:
        self._model = model
        with model._handle as pointer:
            if reference is None:
                self._session = Session(pointer, None, on_gradients, values)
            else:
                with reference._handle as q:
                    self._session = Session(pointer, q, on_gradients, values)
        self._handle = self._session.handle

    def add(
        self,
        input: Tokens,
        output: Tokens,
        *,
        avoid: Optional[Avoid] = None,
        better: Optional[Tokens] = None,
        marks: Optional[Sequence[int]] = None,
        extent: str = "all",
        weight: float = 1.0,
    ) -> None:
        """Adds one output that the model should stop, or keep, writing.

        `avoid` names what to push down: phrases (`["idiot"]`), however split into tokens
        and in any letter case, or character ranges of the output (`[(4, 9)]`). `better`
        marks instead whatever a shortest edit to it would replace. `marks` gives one mark
        per token, the end included: -1 to avoid, 0 to ignore, 1 to keep. With none of the
        three the whole output is kept.

        `extent` says which tokens of each matched run to avoid: "all", "first" (which
        also lowers every other continuation that starts alike) or "last" (narrowest).
        An `Output` of `generate` may stand for its text: its very ids are used.

        Raises `ArgumentError` if `avoid` or `better` matches nothing: a patch that
        avoids nothing is nearly always a typing error.
        """
        if sum(given is not None for given in (avoid, better, marks)) > 1:
            raise ArgumentError("give one of avoid, better and marks, not several")
        number = choice(t.EXTENTS, extent, "extent")
        if marks is None and (avoid is not None or better is not None):
            marks = marks_for(self._model, output, avoid, better, number)
        elif marks is not None and not all(mark in (t.AVOID, t.IGNORE, t.KEEP) for mark in marks):
            raise ArgumentError(f"marks are -1, 0 or 1, found {list(marks)}")
        self._session.add("session_add", [input], [output], marks, weight)

    def guard(self, pairs: Iterable[Tuple[Tokens, Tokens]]) -> None:
        """Adds held-out pairs (input, output) whose behaviour must not drift."""
        inputs, outputs = split(pairs)
        self._session.add("session_add_guard", inputs, outputs)

    def step(self) -> Step:
        """Does one training step: forward, backward, update."""
        return self._session.step()

    def run(
        self,
        *,
        max_steps: Optional[int] = None,
        evaluate_every: Optional[int] = None,
        progress: Progress = None,
    ) -> Report:
        """Trains until the goal is met, the guard is about to break, or steps run out.

        If the guard is about to break, the weights return to the last evaluation at
        which it held. `evaluate_every` counts steps between evaluations. `progress` is
        True for a bar on stderr, or a function called with each `Step`: returning False
        ends the run, and what it raises comes out of here. Ctrl-C stops the run after
        the step in progress; `cancel()` from another thread raises `CancelledError`.
        """
        return self._session.run(max_steps, evaluate_every, progress)

    def evaluate(self) -> Evaluation:
        """Measures the trained copy against the original on examples and guard."""
        return self._session.evaluate()

    def commit(self) -> None:
        """Makes the trained weights the model's, if the guard holds.

        Raises `GuardError`, and changes nothing, if it does not; `StateError` if the
        model changed since the patch began.
        """
        with self._session.handle as session:
            functions.session_commit(session)

    def rollback(self) -> None:
        """Returns the trained copy to the original; examples and guard stay."""
        with self._session.handle as session:
            functions.session_rollback(session)

    def delta(self) -> Delta:
        """What the patch has changed so far, committed or not."""
        out = c_void_p()
        with self._session.handle as session:
            functions.session_delta(session, byref(out))
        return Delta(out.value)

    def cancel(self) -> None:
        """Stops the running `step` or `run` soon; for use from another thread."""
        self._session.cancel()

    def __repr__(self) -> str:
        return f"Patch({'closed' if self._session.handle.closed else self._model!r})"


def split(pairs: Iterable[Tuple[Tokens, Tokens]]) -> Tuple[Sequence[Tokens], Sequence[Tokens]]:
    """Pairs (input, output) as two lists."""
    listed = [tuple(pair) for pair in pairs]
    for index, pair in enumerate(listed):
        if len(pair) != 2:
            raise ArgumentError(f"pair {index} has {len(pair)} parts, expected (input, output)")
    return [pair[0] for pair in listed], [pair[1] for pair in listed]
