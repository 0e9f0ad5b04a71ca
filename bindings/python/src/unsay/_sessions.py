"""A training session of the C library: options in, steps and evaluations out."""

import contextlib
import functools
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
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

from . import _types as t
from ._handle import Handle
from ._interrupt import Interrupts
from ._library import functions, initialised, sized
from ._progress import Progress, Reporter
from ._text import Sequences, Tokens, int32s, path_bytes, utf8
from .errors import ArgumentError, CancelledError
from .results import Evaluation, Gradients, Plan, PlannedMark, Report, Step, Sweep, Trial

GradientsHook = Callable[[Gradients], Any]

CHOICES = {
    "loss": t.LOSSES,
    "form": t.FORMS,
    "optimizer": t.OPTIMIZERS,
    "schedule": t.SCHEDULES,
    "compute": t.COMPUTES,
}


def choice(table: Dict[str, int], value: str, name: str) -> int:
    """The number of a named choice."""
    try:
        return table[value]
    except (KeyError, TypeError):
        raise ArgumentError(f"{name} is {value!r}, expected one of {', '.join(table)}") from None


def fields(options: Any, values: Dict[str, Any]) -> None:
    """Sets the options that were given; None keeps the library's default."""
    for name, value in values.items():
        if value is None:
            continue
        try:
            setattr(options, name, value)
        except TypeError as error:
            raise ArgumentError(f"{name} is {value!r}: {error}") from None
        if isinstance(value, int) and getattr(options, name) != value:
            raise ArgumentError(f"{name} is {value}, which does not fit the option")


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
        options.state_path = path_bytes(state_path)
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
            names = [utf8(name, "scope") for name in scope]
            options.scope, options.tensor_count = t.TENSORS_SCOPE, len(names)
            options.tensors = (c_char_p * len(names))(*names)
        fields(options, values)
        options.reference, options.root = reference, root
        if on_gradients is not None:
            self._hook = self._gradients_function(on_gradients)
            options.on_gradients = self._hook
        out = c_void_p()
        functions.session_create(model, byref(options), byref(out))
        self._adopt(out.value)

    @classmethod
    def adopting(cls, pointer: Optional[int]) -> "Session":
        """Of a session that the library has made."""
        session = cls.__new__(cls)
        session._adopt(pointer)
        return session

    def _adopt(self, pointer: Optional[int]) -> None:
        self._raised: Optional[BaseException] = None
        self.handle = Handle(pointer, functions.session_close, "patch")

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
                view.weight, view.loss = gradients.weight, gradients.loss
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
        inputs: Sequence[Tokens],
        outputs: Sequence[Tokens],
        marks: Optional[Sequence[int]] = None,
        weight: float = 1.0,
        also_avoid: Optional[Mapping[int, Sequence[int]]] = None,
    ) -> None:
        """Adds pairs by one of the functions `session_add*`; `marks` are of every pair."""
        ins, outs = Sequences(inputs), Sequences(outputs, "output")
        if ins.count != outs.count:
            raise ArgumentError(f"{ins.count} inputs, but {outs.count} outputs")
        examples = (t.Example * max(1, ins.count))()
        alive = None if marks is None else (c_int8 * len(marks))(*marks)
        pairs = [(place, id) for place, ids in (also_avoid or {}).items() for id in ids]
        flat = (c_int32 * (2 * len(pairs)))(*int32s([number for pair in pairs for number in pair]))
        for index in range(ins.count):
            example = examples[index]
            example.input, example.output = ins.array[index], outs.array[index]
            example.weight = weight
            if alive is not None:
                example.marks = cast(alive, POINTER(c_int8))
                example.mark_count = len(alive)
            if pairs:
                example.also_avoid = cast(flat, POINTER(c_int32))
                example.also_avoid_count = len(pairs)
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
        with self.calling() as session:
            functions.session_plan(session, byref(raw), None, 0, byref(count))
            marks = (t.PlannedMark * max(1, count.value))()
            functions.session_plan(session, byref(raw), marks, count.value, byref(count))
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
        learning_rates: Sequence[float],
        alphas: Sequence[float],
        values: Dict[str, Any],
        progress: Progress,
    ) -> Sweep:
        run = run_options(values)
        options = initialised(t.SweepOptions, "sweep")
        rates = (c_float * len(learning_rates))(*learning_rates)
        weights = (c_float * len(alphas))(*alphas)
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
        with self.handle as session:
            functions.session_save(session, path_bytes(path))

    def load(self, path: Any) -> int:
        steps = c_int32()
        with self.handle as session:
            functions.session_load(session, path_bytes(path), byref(steps))
        return steps.value

    def cancel(self) -> None:
        with self.handle as session:
            functions.session_cancel(session)
