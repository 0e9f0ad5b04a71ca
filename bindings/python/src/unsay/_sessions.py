"""A training session of the C library: options in, steps and evaluations out."""

import contextlib
import functools
import os
import time
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_int64,
    c_size_t,
    c_void_p,
    cast,
    pointer,
)
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from . import _types as t
from ._files import require_file
from ._handle import Handle
from ._inputs import One, Sequences, marks_of, positions_of
from ._interrupt import Interrupts
from ._library import functions, initialised, sized
from ._progress import Progress, Reporter
from ._values import c_string, choice, fields, function, listed, path_bytes, real, reals
from .errors import ArgumentError, CancelledError, CapacityError
from .results import Evaluation, Gradients, Plan, PlannedMark, Report, Step, Sweep, Trial

GradientsHook = Callable[[Gradients], Any]

CHOICES = {
    "loss": t.LOSSES,
    "form": t.FORMS,
    "optimizer": t.OPTIMIZERS,
    "schedule": t.SCHEDULES,
    "compute": t.COMPUTES,
}


def to_step(raw: Any) -> Step:
    return Step(
        step=raw.step,
        loss=raw.loss,
        avoid_loss=raw.avoid_loss,
        keep_loss=raw.keep_loss,
        avoid_p=raw.avoid_p,
        gradient_norm=raw.gradient_norm,
        seconds=raw.seconds,
    )


def to_evaluation(raw: Any) -> Evaluation:
    skipped = ("struct_size", "reserved")
    values = {name: getattr(raw, name) for name, _ in raw._fields_ if name not in skipped}
    for name in ("goal_met", "guard_held", "changed"):
        values[name] = bool(values[name])
    return Evaluation(**values)


def to_trial(raw: Any) -> Trial:
    return Trial(
        learning_rate=raw.learning_rate,
        alpha=raw.alpha,
        ending=t.ENDINGS[raw.ending],
        steps=raw.steps,
        diverged=bool(raw.diverged),
        evaluation=to_evaluation(raw.evaluation),
    )


def run_options(values: Dict[str, Any]) -> Any:
    options = initialised(t.RunOptions, "run")
    select = values.pop("select", None)
    if select is not None:
        options.select = choice(t.SELECTS, select, "select")
    state_path = values.pop("state_path", None)
    if state_path is not None:
        options.state_path = path_bytes(state_path, "state_path")
        # Before the training that would end with the first save.
        require_file(Path(os.fsdecode(state_path)))
    fields(options, values)
    return options


class Session:
    """Owns an `unsay_session`; exceptions of callbacks pass through it."""

    def __init__(
        self,
        model: int,
        reference: Optional[int],
        root: Optional[int],
        on_gradients: Optional[GradientsHook],
        values: Dict[str, Any],
    ) -> None:
        options = initialised(t.SessionOptions, "session")
        for name, table in CHOICES.items():
            value = values.pop(name, None)
            if value is not None:
                setattr(options, name, choice(table, value, name))
        scope = values.pop("scope", None)
        if isinstance(scope, str):
            options.scope = choice(t.SCOPES, scope, "scope")
        elif scope is not None:
            listed_names = listed(scope, "scope", "a scope or a list of tensors' names")
            names = [c_string(name, "a name in scope") for name in listed_names]
            options.scope, options.tensor_count = t.TENSORS_SCOPE, len(names)
            options.tensors = (c_char_p * len(names))(*names)
        fields(options, values)
        options.reference, options.root = reference, root
        hook = function(on_gradients, "on_gradients")
        if hook is not None:
            self._hook = self._gradients_function(hook)
            options.on_gradients = self._hook
        out = c_void_p()
        functions.session_create(model, byref(options), byref(out))
        self._adopt(out)

    @classmethod
    def adopting(cls, made: c_void_p) -> "Session":
        """Of a session that the library has made."""
        session = cls.__new__(cls)
        session._adopt(made)
        return session

    def _adopt(self, made: c_void_p) -> None:
        self._raised: Optional[BaseException] = None
        self.handle = Handle(made, functions.session_close, "patch", "model.patch()")

    def _gradients_function(self, hook: GradientsHook) -> Any:
        def call(_: Any, raw: Any) -> int:
            view = raw.contents
            try:
                array = (c_float * view.count).from_address(cast(view.values, c_void_p).value or 0)
                gradients = Gradients(
                    memoryview(array).cast("B").cast("f"),
                    view.weight,
                    view.loss,
                    bool(view.is_sum),
                )
                hook(gradients)
                view.weight = real(gradients.weight, "the weight of the gradients")
                view.loss = real(gradients.loss, "the loss of the gradients")
                return t.CONTINUE
            except BaseException as error:
                self._raised = error
                return t.STOP

        return t.GradientsFunction(call)

    def _call(self, function: Any, *arguments: Any) -> None:
        """Calls the library; an exception of a callback replaces its `CancelledError`."""
        self._raised = None
        try:
            function(*arguments)
        except CancelledError:
            if self._raised is None:
                raise
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def add(
        self,
        function: str,
        inputs: Sequence[One],
        outputs: Sequence[One],
        marks: Any = None,
        weight: Any = 1.0,
        also_avoid: Any = None,
    ) -> None:
        """Adds pairs by one of the functions `session_add*`; `marks` are of every pair."""
        ins, outs = Sequences(inputs), Sequences(outputs, "output")
        if ins.count != outs.count:
            raise ArgumentError(f"{ins.count} inputs, but {outs.count} outputs")
        examples = (t.Example * max(1, ins.count))()
        checked = None if marks is None else marks_of(marks)
        alive = None if checked is None else (c_int8 * len(checked))(*checked)
        pairs = positions_of(also_avoid, "also_avoid")
        flat = (c_int32 * len(pairs))(*pairs)
        weight = real(weight, "weight")
        for index in range(ins.count):
            example = examples[index]
            example.input, example.output = ins.array[index], outs.array[index]
            example.weight = weight
            if alive is not None:
                example.marks = cast(alive, POINTER(c_int8))
                example.mark_count = len(alive)
            if pairs:
                example.also_avoid = cast(flat, POINTER(c_int32))
                example.also_avoid_count = len(pairs) // 2
        with self.handle as session:
            getattr(functions, function)(session, examples, ins.count)

    @contextlib.contextmanager
    def calling(self, interrupts: Optional[Interrupts] = None) -> Iterator[int]:
        """The session, for a call that Ctrl-C cancels."""
        interrupts = interrupts or Interrupts()
        with self.handle as session:
            interrupts.cancel = functools.partial(functions.session_cancel, session)
            with interrupts:
                yield session

    def plan(self) -> Plan:
        raw, count = sized(t.Plan), c_size_t()
        capacity = 0
        with self.calling() as session:
            while True:
                marks = (t.PlannedMark * capacity)()
                try:
                    functions.session_plan(session, byref(raw), marks, capacity, byref(count))
                    break
                except CapacityError:
                    # The library keeps the plan: asking again for its marks prices nothing anew.
                    if count.value <= capacity:
                        raise
                    capacity = count.value
        return Plan(
            avoided_count=raw.avoided_count,
            kept_count=raw.kept_count,
            context_free_count=raw.context_free_count,
            mean_price=raw.mean_price,
            highest_price=raw.highest_price,
            memory_bytes=raw.memory_bytes,
            seconds_per_step=raw.seconds_per_step,
            trained_count=raw.trained_count,
            marks=[
                PlannedMark(
                    mark.example, mark.position, mark.id, mark.q, mark.price,
                    bool(mark.is_context_free),
                )
                for mark in marks[: count.value]
            ],
        )  # fmt: skip

    def step(self) -> Step:
        raw = sized(t.Step)
        with self.calling() as session:
            self._call(functions.session_step, session, byref(raw))
        return to_step(raw)

    def run(self, values: Dict[str, Any], progress: Progress) -> Report:
        options = run_options(values)
        history: List[Step] = []
        started = time.perf_counter()
        interrupts = Interrupts()
        with Reporter(progress, options.max_steps, "patch") as reporter:
            options.on_step = self._step_function(history, reporter, interrupts)
            ending = c_int()
            with self.calling(interrupts) as session:
                self._call(functions.session_run, session, byref(options), byref(ending))
        evaluation = self.evaluate()
        seconds = time.perf_counter() - started
        return Report(t.ENDINGS[ending.value], evaluation, len(history), seconds, history)

    def _step_function(
        self, history: List[Step], reporter: Reporter, interrupts: Interrupts
    ) -> Any:
        def on_step(_: Any, raw: Any) -> int:
            try:
                step = to_step(raw.contents)
                history.append(step)
                proceed = reporter.report(step) and not interrupts.interrupted
                return t.CONTINUE if proceed else t.STOP
            except BaseException as error:
                self._raised = error
                return t.STOP

        return t.StepFunction(on_step)

    def sweep(
        self,
        learning_rates: Any,
        alphas: Any,
        values: Dict[str, Any],
        progress: Progress,
    ) -> Sweep:
        run = run_options(values)
        options = initialised(t.SweepOptions, "sweep")
        tried = reals(learning_rates, "learning_rates"), reals(alphas, "alphas")
        rates, weights = ((c_float * len(numbers))(*numbers) for numbers in tried)
        options.learning_rates, options.learning_rate_count = rates, len(rates)
        options.alphas, options.alpha_count = weights, len(weights)
        trials: List[Trial] = []

        def on_trial(_: Any, raw: Any) -> int:
            trials.append(to_trial(raw.contents))
            return t.STOP if interrupts.interrupted else t.CONTINUE

        options.on_trial = t.TrialFunction(on_trial)
        total = run.max_steps * max(1, len(rates)) * max(1, len(weights))
        interrupts = Interrupts()
        with Reporter(progress, total, "sweep") as reporter:
            run.on_step = self._step_function([], reporter, interrupts)
            options.run = pointer(run)
            chosen = c_int64()
            with self.calling(interrupts) as session:
                self._call(functions.session_sweep, session, byref(options), byref(chosen))
        return Sweep(trials, chosen.value if chosen.value >= 0 else None)

    def evaluate(self) -> Evaluation:
        raw = sized(t.Evaluation)
        with self.calling() as session:
            functions.session_evaluate(session, byref(raw))
        return to_evaluation(raw)

    def commit(self) -> None:
        with self.calling() as session:
            functions.session_commit(session)

    def save(self, path: Any) -> None:
        name = path_bytes(path, "path")
        with self.handle as session:
            functions.session_save(session, name)

    def load(self, path: Any) -> int:
        steps, name = c_int32(), path_bytes(path, "path")
        with self.handle as session:
            functions.session_load(session, name, byref(steps))
        return steps.value

    def cancel(self) -> None:
        with self.handle as session:
            functions.session_cancel(session)
