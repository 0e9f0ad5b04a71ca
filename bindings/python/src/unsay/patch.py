"""A patch: a private trained copy of a model that becomes the model's on commit."""

import contextlib
import dataclasses
from ctypes import byref, c_void_p
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

from . import _types as t
from ._base import BaseModel
from ._handle import Owner
from ._inputs import OUTPUT, One, Pair, Tokens, one, pairs_of, several
from ._library import functions
from ._marks import Avoid, avoids, marks_for, marks_of_triple, spellings
from ._progress import Progress
from ._reports import PatchReport, make_report
from ._sessions import GradientsHook, Session
from ._values import Path, choice, instance, integer, wrong
from .delta import Delta
from .errors import ArgumentError
from .results import Evaluation, Output, Plan, Report, Step, Sweep

if TYPE_CHECKING:
    from ._training import TrainableModel
    from .model import Model


class Patch(Owner):
    """Trains a model away from what you flag, then commits or rolls back.

    `model.patch()` makes one. As a context manager it closes on leaving, and whatever
    was not committed is dropped: the model itself changes in `commit()` alone.

        with model.patch(max_guard_kl=0.05) as patch:
            patch.add("input", "the unwanted output", avoid=["unwanted"])
            patch.guard([("another input", "its output, which must stay")])
            report = patch.run(max_steps=50)
            if report.ending == "goal" and report.evaluation.changed:
                patch.commit()
    """

    def __init__(self, model: "TrainableModel", session: Session) -> None:
        self._model = model
        self._session = instance(session, Session, "patch", "one made by model.patch()")
        self._handle = session.handle

    @classmethod
    def _start(
        cls,
        model: "TrainableModel",
        reference: Optional["TrainableModel"],
        root: Optional["TrainableModel"],
        on_gradients: Optional[GradientsHook],
        values: Dict[str, Any],
    ) -> "Patch":
        with contextlib.ExitStack() as stack:
            pointer = stack.enter_context(model._handle)
            others = [
                None
                if other is None
                else stack.enter_context(instance(other, BaseModel, name, "a Model")._handle)
                for name, other in (("reference", reference), ("root", root))
            ]
            session = Session(pointer, others[0], others[1], on_gradients, values)
        return cls(model, session)

    def add(
        self,
        input: Tokens,
        output: Tokens,
        *,
        avoid: Optional[Avoid] = None,
        better: Optional[Tokens] = None,
        marks: Optional[Sequence[int]] = None,
        extent: str = "all",
        also_avoid: Optional[Mapping[int, Union[int, Sequence[int]]]] = None,
        weight: float = 1.0,
    ) -> None:
        """Adds one output that the model should stop, or keep, writing.

        `avoid` names what to push down: phrases (`["idiot"]`), however split into tokens
        and in any letter case, or character ranges of the output (`[(4, 9)]`); one of either
        needs no list. `better`
        marks instead whatever a shortest edit to it would replace. `marks` gives one mark
        per token, the end included: -1 to avoid, 0 to ignore, 1 to keep. With none of the
        three the whole output is kept.

        `extent` says which tokens of each matched run to avoid: "all", "first" (which
        also lowers every other continuation that starts alike) or "last" (narrowest).
        `also_avoid` maps positions of the output, none of them ignored, to more token ids to
        avoid there, each of which counts once.
        An `Output` of `generate` may stand for its text: its very ids are used.

        Raises `ArgumentError` if `avoid` or `better` matches nothing: a patch that
        avoids nothing is nearly always a typing error.
        """
        first, second = one(input, "input"), one(output, "output", OUTPUT)
        found = self._marks(second, avoid, better, marks, extent)
        self._session.add("session_add", [first], [second], found, weight, also_avoid)

    def hold_out(
        self,
        input: Tokens,
        output: Tokens,
        *,
        avoid: Optional[Avoid] = None,
        better: Optional[Tokens] = None,
        marks: Optional[Sequence[int]] = None,
        extent: str = "all",
    ) -> None:
        """Adds one output that is measured and never trained on; arguments as of `add`.

        What the best weights of a run are, held-out outputs decide.
        """
        first, second = one(input, "input"), one(output, "output", OUTPUT)
        found = self._marks(second, avoid, better, marks, extent)
        self._session.add("session_add_held_out", [first], [second], found)

    def add_triple(
        self,
        input: Tokens,
        output: Tokens,
        corrected: Tokens,
        *,
        converter: str = "negative-diff",
        weight: float = 1.0,
    ) -> None:
        """Adds what one of T5Patches' converters makes of an output and its correction.

        "negative-first", "negative-diff" and "negative-full" avoid the first token of
        `output` that differs, every one, or all of it, and keep the rest;
        "corrective-first", "-diff" and "-full" keep the like of `corrected` and ignore the
        rest; "mixed-first", "-diff" and "-full" are negative, or corrective-full where
        `corrected` has more tokens. Outputs are aligned by a shortest edit.
        """
        number = choice(t.CONVERTERS, converter, "converter")
        first = one(input, "input")
        wrong, right = one(output, "output", OUTPUT), one(corrected, "corrected", OUTPUT)
        marks, uses_corrected = marks_of_triple(self._model, wrong, right, number)
        chosen = right if uses_corrected else wrong
        self._session.add("session_add", [first], [chosen], marks, weight)

    def _marks(
        self,
        output: One,
        avoid: Optional[Avoid],
        better: Optional[Tokens],
        marks: Optional[Sequence[int]],
        extent: str,
    ) -> Optional[Sequence[int]]:
        if sum(given is not None for given in (avoid, better, marks)) > 1:
            raise ArgumentError("give one of avoid, better and marks, not several")
        number = choice(t.EXTENTS, extent, "extent")
        if marks is None and (avoid is not None or better is not None):
            return marks_for(self._model, output, avoid, better, number)
        return marks

    def guard(self, pairs: Iterable[Pair]) -> None:
        """Adds held-out pairs (input, output) whose behaviour must not drift.

        A pair may be a row with "input" and "output" or "target", and all of them a table.
        """
        inputs, outputs = pairs_of(pairs)
        self._session.add("session_add_guard", inputs, outputs)

    def step(self) -> Step:
        """Does one training step: forward, backward, update."""
        return self._session.step()

    def plan(self) -> Plan:
        """What the patch would do: the price of each mark, the spellings that are avoided,
        memory and time. Changes nothing."""
        plan = self._session.plan()
        return dataclasses.replace(plan, spellings=spellings(self._model, plan.marks))

    def run(
        self,
        *,
        max_steps: Optional[int] = None,
        evaluate_every: Optional[int] = None,
        patience: Optional[int] = None,
        select: Optional[str] = None,
        state_path: Optional[Path] = None,
        save_every: Optional[int] = None,
        progress: Progress = None,
    ) -> Report:
        """Trains until the goal is met, nothing improves any more, the guard is about to
        break, or steps run out. Where the goal is met at the start, no step is taken.

        Every `evaluate_every` steps it measures; of the evaluations at which the guard held
        the weights return to the best: by `select` that with the lowest probability of
        avoided tokens ("avoid_p", of held-out outputs if there are any), with the lowest
        held-out loss ("loss"), or the "last". `patience` evaluations without a better one
        end the run. Where the guard breaks, the run goes half of the way back to the best
        weights, a quarter, and so on, and ends at the first that hold it and are better;
        `changed`, `step` and `fraction` of the report's evaluation say what was kept.
        `state_path` receives the whole state every `save_every` steps, for `load_state`.

        `progress` is True for a bar on stderr, or a function called with each `Step`:
        returning False ends the run with the weights of that step, and what it raises comes
        out of here. Ctrl-C stops the run, with the weights of its last whole step, as it stops
        whatever trains or measures; `cancel()` from another thread raises `CancelledError`.
        `DivergedError` leaves the best weights so far.
        """
        values = {
            "max_steps": max_steps,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "select": select,
            "state_path": state_path,
            "save_every": save_every,
        }
        return self._session.run(values, progress)

    def sweep(
        self,
        *,
        learning_rates: Union[float, Sequence[float]] = (),
        alphas: Union[float, Sequence[float]] = (),
        max_steps: Optional[int] = None,
        evaluate_every: Optional[int] = None,
        patience: Optional[int] = None,
        select: Optional[str] = None,
        progress: Progress = None,
    ) -> Sweep:
        """Runs every pair of a learning rate and an alpha from where the patch stands, and
        keeps the best: of those whose guard holds and that changed something, or had met the
        goal already, the one that `select` scores lowest, as `run` does. Empty: the patch's
        own alone."""
        values = {
            "max_steps": max_steps,
            "evaluate_every": evaluate_every,
            "patience": patience,
            "select": select,
        }
        return self._session.sweep(learning_rates, alphas, values, progress)

    def on_policy(
        self,
        inputs: Union[Tokens, Iterable[Tokens]],
        mark: Callable[[Any, Output], Optional[Avoid]],
        *,
        rounds: int = 3,
        max_new_tokens: Optional[int] = None,
        max_steps: Optional[int] = None,
        evaluate_every: Optional[int] = None,
        progress: Progress = None,
    ) -> List[Report]:
        """Writes outputs with the patched weights, marks them, trains on, and so again.

        A model that no longer writes what was flagged may write the like of it instead:
        each round looks. `mark` is called with an input and its output and returns what to
        avoid in it, as of `add`, or None; such an output is kept. The reference stays what
        it was. Outputs are written as by `Model.generate`, with its defaults. Ends early once
        nothing is marked. Returns a report for each round.
        """
        texts, _ = several(inputs, "inputs")
        if not callable(mark):
            raise wrong("mark", "a function", mark)
        reports: List[Report] = []
        for _ in range(integer(rounds, "rounds", low=0)):
            with self.model() as patched:
                outputs = patched.generate(texts, max_new_tokens=max_new_tokens)
            found = [mark(text, output) for text, output in zip(texts, outputs)]
            if not any(map(avoids, found)):
                break
            for text, output, avoid in zip(texts, outputs, found):
                self.add(text, output, avoid=avoid if avoids(avoid) else None)
            reports.append(
                self.run(max_steps=max_steps, evaluate_every=evaluate_every, progress=progress)
            )
        return reports

    def report(
        self,
        inputs: Union[Tokens, Iterable[Tokens]] = (),
        *,
        detect: Optional[Callable[[str], Any]] = None,
        title: Optional[str] = None,
        **generate: Any,
    ) -> PatchReport:
        """What the patch has done so far, as a dataclass, as JSON and as an HTML page.

        Outputs are written for `inputs` with the original and with the trained weights;
        `generate` holds options of `Model.generate`; what is left out is the model's. `detect` is
        called with the text of an output and returns something true if it shows the unwanted
        behaviour.
        """
        return make_report(self._session, self._model._handle, inputs, detect, title, generate)

    def model(self) -> "Model":
        """A model of its own on the trained weights as they are now, committed or not."""
        from .model import Model

        out = c_void_p()
        with self._session.handle as session:
            functions.session_model(session, byref(out))
        return Model(out, f"{self._model!r}, patched")

    def save_state(self, path: Path) -> None:
        """Writes weights, optimizer and position to a file, whole or not at all."""
        self._session.save(path)

    def load_state(self, path: Path) -> int:
        """Goes back to where a patch of the same model, options and examples was saved, to
        the bit; returns the steps done there. `MismatchError` if one of them differs."""
        return self._session.load(path)

    def evaluate(self) -> Evaluation:
        """Measures the trained copy against the original on examples and guard."""
        return self._session.evaluate()

    def commit(self) -> None:
        """Makes the trained weights the model's, if the guard holds.

        Raises `GuardError`, and changes nothing, if it does not; `UnchangedError`, a
        `StateError`, if the weights are the model's already; `StateError` if the model
        changed since the patch began; `DivergedError` if a weight is not finite.
        """
        self._session.commit()

    def rollback(self) -> None:
        """Returns the trained copy to the original; examples and guard stay."""
        with self._session.handle as session:
            functions.session_rollback(session)

    def delta(self) -> Delta:
        """What the patch has changed so far, committed or not."""
        out = c_void_p()
        with self._session.handle as session:
            functions.session_delta(session, byref(out))
        return Delta(out)

    def cancel(self) -> None:
        """Stops the running call, one that trains or measures, soon; from another thread."""
        self._session.cancel()

    def __repr__(self) -> str:
        return f"Patch({'closed' if self._session.handle.closed else self._model!r})"
