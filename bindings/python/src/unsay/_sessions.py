"""A training session of the C library: options in, steps and evaluations out."""

import time
from ctypes import POINTER, byref, c_float, c_int, c_int8, c_void_p, cast
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import _types as t
from ._handle import Handle
from ._interrupt import Interrupts
from ._library import functions, initialised, sized
from ._progress import Progress, Reporter
from ._text import Sequences, Tokens
from .errors import ArgumentError, CancelledError
from .results import Evaluation, Floats, Report, Step

GradientsHook = Callable[[Floats], Any]


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


class Session:
    """Owns an `unsay_session`; exceptions of callbacks pass through it."""

    def __init__(
        self,
        model: int,
        reference: Optional[int],
        on_gradients: Optional[GradientsHook],
        values: Dict[str, Any],
    ) -> None:
        options = initialised(t.SessionOptions, "session")
        loss = values.pop("loss", None)
        if loss is not None:
            options.loss = choice(t.LOSSES, loss, "loss")
        form = values.pop("form", None)
        if form is not None:
            options.form = choice(t.FORMS, form, "form")
        fields(options, values)
        options.reference = reference
        self._raised: Optional[BaseException] = None
        if on_gradients is not None:
            self._hook = self._gradients_function(on_gradients)
            options.on_gradients = self._hook
        out = c_void_p()
        functions.session_create(model, byref(options), byref(out))
        self.handle = Handle(out.value, functions.session_close, "patch")

    def _gradients_function(self, hook: GradientsHook) -> Any:
        def call(_: Any, gradients: Any, count: int) -> int:
            try:
                array = (c_float * count).from_address(cast(gradients, c_void_p).value or 0)
                hook(memoryview(array).cast("B").cast("f"))
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
    ) -> None:
        """Adds pairs by `session_add` or `session_add_guard`; `marks` are of every pair."""
        ins, outs = Sequences(inputs), Sequences(outputs, "output")
        if ins.count != outs.count:
            raise ArgumentError(f"{ins.count} inputs, but {outs.count} outputs")
        examples = (t.Example * max(1, ins.count))()
        alive = None if marks is None else (c_int8 * len(marks))(*marks)
        for index in range(ins.count):
            example = examples[index]
            example.input, example.output = ins.array[index], outs.array[index]
            example.weight = weight
            if alive is not None:
                example.marks = cast(alive, POINTER(c_int8))
                example.mark_count = len(alive)
        with self.handle as session:
            getattr(functions, function)(session, examples, ins.count)

    def step(self) -> Step:
        raw = sized(t.Step)
        with self.handle as session:
            self._call(functions.session_step, session, byref(raw))
        return to_step(raw)

    def run(
        self, max_steps: Optional[int], evaluate_every: Optional[int], progress: Progress
    ) -> Report:
        options = initialised(t.RunOptions, "run")
        fields(options, {"max_steps": max_steps, "evaluate_every": evaluate_every})
        history: List[Step] = []
        started = time.perf_counter()
        interrupts = Interrupts(self.cancel)
        with Reporter(progress, options.max_steps, "patch") as reporter:

            def on_step(_: Any, raw: Any) -> int:
                try:
                    step = to_step(raw.contents)
                    history.append(step)
                    proceed = reporter.report(step) and not interrupts.interrupted
                    return t.CONTINUE if proceed else t.STOP
                except BaseException as error:
                    self._raised = error
                    return t.STOP

            options.on_step = t.StepFunction(on_step)
            ending = c_int()
            with self.handle as session, interrupts:
                self._call(functions.session_run, session, byref(options), byref(ending))
        evaluation = self.evaluate()
        seconds = time.perf_counter() - started
        return Report(t.ENDINGS[ending.value], evaluation, len(history), seconds, history)

    def evaluate(self) -> Evaluation:
        raw = sized(t.Evaluation)
        with self.handle as session:
            functions.session_evaluate(session, byref(raw))
        return Evaluation(
            goal_met=bool(raw.goal_met),
            guard_held=bool(raw.guard_held),
            avoid_p_before=raw.avoid_p_before,
            avoid_p_after=raw.avoid_p_after,
            avoid_p_worst=raw.avoid_p_worst,
            keep_kl=raw.keep_kl,
            guard_kl=raw.guard_kl,
            guard_flips=raw.guard_flips,
        )

    def cancel(self) -> None:
        with self.handle as session:
            functions.session_cancel(session)
