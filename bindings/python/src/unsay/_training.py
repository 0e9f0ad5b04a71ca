"""The part of `Model` that patches and fine-tunes, and keeps count of its changes."""

import contextlib
import inspect
from ctypes import byref, c_size_t, c_void_p, sizeof
from typing import Any, Iterable, List, Optional, Sequence, Union

from . import _types as t
from ._base import BaseModel
from ._inputs import Pair, pairs_of
from ._library import functions
from ._progress import Progress
from ._sessions import GradientsHook, Session
from ._values import Path, flag, integer, listed
from .delta import Delta, DeltaOrPath, opened, to_delta_info
from .errors import ArgumentError, CapacityError
from .patch import Patch
from .results import DeltaInfo, Report


class TrainableModel(BaseModel):
    """The part of `Model` that changes weights."""

    def patch(
        self,
        *,
        loss: Optional[str] = None,
        form: Optional[str] = None,
        optimizer: Optional[str] = None,
        learning_rate: Optional[float] = None,
        schedule: Optional[str] = None,
        warmup_steps: Optional[int] = None,
        decay_steps: Optional[int] = None,
        momentum: Optional[float] = None,
        scope: Union[str, Sequence[str], None] = None,
        lora_rank: Optional[int] = None,
        lora_alpha: Optional[float] = None,
        max_avoid_p: Optional[float] = None,
        max_guard_kl: Optional[float] = None,
        max_guard_flips: Optional[float] = None,
        max_root_kl: Optional[float] = None,
        reference: Optional["TrainableModel"] = None,
        root: Optional["TrainableModel"] = None,
        alpha: Optional[float] = None,
        retain: Optional[float] = None,
        batch_size: Optional[int] = None,
        micro_batch_size: Optional[int] = None,
        recompute: Optional[bool] = None,
        compute: Optional[str] = None,
        dropout: Optional[float] = None,
        weight_decay: Optional[float] = None,
        z_loss: Optional[float] = None,
        gradient_clip: Optional[float] = None,
        seed: Optional[int] = None,
        keep_examples: Optional[bool] = None,
        on_gradients: Optional[GradientsHook] = None,
    ) -> Patch:
        """Starts a patch: a private copy to train away from what you flag.

        An option left out has the library's default, which unsay.h states.

        - `loss` is "ff", "rr", "rf", "fll", "rll", "ul", "nl" or "likelihood", `form`
          "exact" or "published", as docs/patching.md explains; `alpha` weighs avoided
          tokens, `retain` is the share of its probability that one may keep.
        - `optimizer` is "adamw", "adafactor" (as T5X has it; its `learning_rate` is
          relative, 1e-3 in the paper) or "sgd" with `momentum`; `schedule` "linear" (to 0
          over `decay_steps`; constant if that is 0) or "inverse_sqrt", after `warmup_steps`.
        - `scope` is what may change: "tokens", the head's rows of the avoided tokens, which
          is the default and changes least besides them; "all", "decoder", "cross_attention",
          "feed_forward", "head" or a list of tensor names, in which `*` stands for any text
          (the default of likelihood and of factors is "all"). With `lora_rank` the
          projections of the scope change by two factors of that rank.
        - The goal is met when every avoided token is below `max_avoid_p`; a commit needs the
          guard pairs' drift within `max_guard_kl` (nats per token), `max_guard_flips` (share
          of tokens) and, against `root`, `max_root_kl`.
        - `reference` is the model to stay close to, this one if None.
        - `micro_batch_size` and `recompute` save memory and change no result; `compute`
          "bf16" rounds what training steps multiply, which is faster where the processor
          multiplies bf16; `dropout` is the share of values that training drops.
        - `gradient_clip` bounds the norm of all gradients; without (0) they are never in memory
          all at once, which saves about the size of the weights.
        - `keep_examples` makes deltas carry the examples, for `rebase`.
        - `on_gradients` receives all `Gradients`, once a step and before clipping.
        """
        values = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "reference", "root", "on_gradients")
        }
        return Patch._start(self, reference, root, on_gradients, values)

    def finetune(
        self,
        pairs: Iterable[Pair],
        *,
        steps: int,
        validation: Optional[Iterable[Pair]] = None,
        evaluate_every: Optional[int] = None,
        patience: Optional[int] = None,
        optimizer: Optional[str] = None,
        learning_rate: Optional[float] = None,
        schedule: Optional[str] = None,
        warmup_steps: Optional[int] = None,
        batch_size: Optional[int] = None,
        dropout: Optional[float] = None,
        z_loss: Optional[float] = None,
        seed: Optional[int] = None,
        state_path: Optional[Path] = None,
        save_every: Optional[int] = None,
        resume: bool = False,
        progress: Progress = None,
        **options: Any,
    ) -> Report:
        """Trains on pairs (input, output) by likelihood for `steps` steps, then commits.

        A pair may be a row with "input" and "output" or "target", and all of them a table.
        The paper's settings: optimizer="adafactor", learning_rate=1e-3, dropout=0.1,
        z_loss=1e-4, batch_size=32. With `validation` the best of its evaluations is kept,
        one every `evaluate_every` steps, and `patience` of them without a better one end
        the run. `state_path` receives the whole state every `save_every` steps; with
        `resume` training goes on from there, to the bit as if it had never stopped. Other
        `options` are those of `patch`.

        Nothing is committed if it is interrupted or a callback raises; a `progress`
        function that returns False ends it early, and what was learnt is kept.
        """
        steps = integer(steps, "steps", low=0)
        resumes = flag(resume, "resume")
        saves = save_every is not None and integer(save_every, "save_every", low=0) > 0
        if resumes and state_path is None:
            raise ArgumentError("resume: expected a state_path to go on from, found None")
        known = inspect.signature(self.patch).parameters.keys() - {"loss"}
        for name in options.keys() - known:
            raise ArgumentError(f"finetune has no option {name!r}")
        examples = pairs_of(pairs)
        held_out = None if validation is None else pairs_of(validation, "validation")
        with self.patch(
            loss="likelihood", optimizer=optimizer, learning_rate=learning_rate,
            schedule=schedule, warmup_steps=warmup_steps, batch_size=batch_size,
            dropout=dropout, z_loss=z_loss, seed=seed, **options,
        ) as patch:  # fmt: skip
            patch._session.add("session_add", *examples)
            if held_out is not None:
                patch._session.add("session_add_held_out", *held_out)
            done = patch.load_state(state_path) if resumes and state_path is not None else 0
            report = patch.run(
                max_steps=max(0, steps - done),
                evaluate_every=evaluate_every if evaluate_every is not None else max(1, steps),
                patience=patience,
                state_path=state_path if saves else None,
                save_every=save_every,
                progress=progress,
            )
            if report.evaluation.changed:
                patch.commit()
        return report

    # What was changed

    def apply(self, delta: DeltaOrPath) -> None:
        """Applies a delta, or that in a file, that was made from these very weights; exact to
        the bit.

        Raises `MismatchError`, and changes nothing, if the weights are others.
        """
        with self._handle as model, opened(delta) as pointer:
            functions.delta_apply(pointer, model)

    def revert(self, delta: Optional[DeltaOrPath] = None) -> None:
        """Takes back a delta, or that in a file, that led to these very weights; or the last of
        `applied`; exact to the bit.

        Without a delta raises `StateError` if nothing is applied, or if the last change is
        a commit whose `patch.delta()` was never asked for.
        """
        with self._handle as model:
            if delta is None:
                functions.model_revert(model)
                return
            with opened(delta) as pointer:
                functions.delta_revert(pointer, model)

    @property
    def applied(self) -> List[DeltaInfo]:
        """Every change since the model was opened that is not taken back, the first first.

        The list is of one moment, whatever other threads apply and take back meanwhile. Of a
        commit whose `patch.delta()` was never asked for, only the fingerprints are known.
        """
        capacity, count = 16, c_size_t()
        with self._handle as model:
            while True:
                infos = (t.DeltaInfo * capacity)()
                try:
                    functions.model_list_applied(
                        model, infos, sizeof(t.DeltaInfo), capacity, byref(count)
                    )
                    return [to_delta_info(raw) for raw in infos[: count.value]]
                except CapacityError:
                    if count.value <= capacity:
                        raise
                    capacity = 2 * count.value

    def squash(self, deltas: Sequence[DeltaOrPath]) -> Delta:
        """One delta that does what several do, each made on what the one before leaves.

        The model's weights are those before the first of them or after the last.
        """
        given = listed(deltas, "deltas", "a list of deltas")
        out = c_void_p()
        with contextlib.ExitStack() as stack:
            model = stack.enter_context(self._handle)
            pointers = (c_void_p * len(given))(
                *(
                    stack.enter_context(opened(delta, f"deltas[{index}]"))
                    for index, delta in enumerate(given)
                )
            )
            functions.delta_squash(pointers, len(given), model, byref(out))
        return Delta(out)

    def rebase(self, delta: DeltaOrPath) -> Patch:
        """A patch that would do here what the delta did elsewhere: its options, examples and
        guard, not run yet.

        Raises `StateError` if it was made without `keep_examples`.
        """
        out = c_void_p()
        with self._handle as model, opened(delta) as pointer:
            functions.delta_rebase(pointer, model, byref(out))
        return Patch(self, Session.adopting(out))
