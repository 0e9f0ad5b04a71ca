"""One trial: a model trained by one method with one setting and one seed, measured as it goes.

Every `evaluate_every` steps the validation loss, the guard and the outputs for validation
inputs are measured; the weights that each rule would choose are kept as deltas. A trial that
was killed goes on from its last checkpoint, to the bit as if it had never stopped.
"""

import hashlib
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import unsay

from .annotators import Annotator
from .choosing import RULES, best
from .measures import comparison
from .outputs import Written, slug, write
from .settings import AVOIDING, Protocol, Settings
from .store import read_json, write_json


@dataclass(frozen=True)
class Trial:
    behaviour: str
    protocol: str
    method: str
    learning_rate: float
    alpha: float
    seed: int
    flagged: int
    noise: float = 0.0

    @property
    def group(self) -> str:
        """What competes with other rates and alphas."""
        parts = [self.behaviour, self.protocol, self.method, f"seed {self.seed}"]
        parts += [f"{self.flagged} flagged"]
        parts += [f"noise {self.noise:g}"] if self.noise else []
        return " | ".join(parts)

    @property
    def key(self) -> str:
        return f"{self.group} | rate {self.learning_rate:g} | alpha {self.alpha:g}"

    @property
    def folder(self) -> str:
        return f"trials/{slug(self.key)}-{hashlib.sha256(self.key.encode()).hexdigest()[:8]}"


@dataclass
class Examples:
    """What a trial trains on, by what it chooses, and what guards it."""

    flagged: List[Written]
    kept: List[Written]
    guard: List[Written]
    held_out: List[Written]


def examples(
    settings: Settings, trial: Trial, train: List[Written], validation: List[Written]
) -> Examples:
    """Drawn by the seed; those of a smaller number of flags are among those of a larger one."""
    order = list(train)
    random.Random(trial.seed).shuffle(order)
    flagged = [row for row in order if -1 in row.marks]
    clean = [row for row in order if not row.has]
    guard = clean[: settings.guard]
    clean = clean[settings.guard :]
    flagged = flagged[: trial.flagged]
    if trial.noise:
        flagged, clean = noisy(flagged, clean, trial.noise, trial.seed)
    held = list(validation)
    random.Random(trial.seed).shuffle(held)
    shown = [row for row in held if -1 in row.marks][: settings.held_out // 2]
    others = [row for row in held if not row.has][: settings.held_out - len(shown)]
    return Examples(flagged, clean[: settings.kept], guard, shown + others)


def noisy(
    flagged: List[Written], clean: List[Written], share: float, seed: int
) -> Tuple[List[Written], List[Written]]:
    """Makes a share of the flags wrong: a flagged output goes unnoticed and is kept as it is,
    and in its stead a random token of a clean one is flagged."""
    rng = random.Random(seed + 1)
    count = min(round(share * len(flagged)), len(clean))
    wrong = []
    for row in clean[:count]:
        marks = [1] * len(row.output.ids)
        marks[rng.randrange(max(1, len(marks) - 1))] = -1
        wrong.append(Written(row.input, row.target, row.output, row.spans, marks))
    missed = [
        Written(row.input, row.target, row.output, row.spans, [1] * len(row.output.ids))
        for row in flagged[:count]
    ]
    return flagged[count:] + wrong, missed + clean[count:]


def start(
    model: unsay.Model, protocol: Protocol, trial: Trial, chosen: Examples,
    corrected: Dict[str, unsay.Output], root: Optional[unsay.Model] = None,
) -> unsay.Patch:  # fmt: skip
    """The patch of a trial with its examples, not trained yet."""
    loss = trial.method if trial.method in AVOIDING else "likelihood"
    patch = model.patch(
        loss=loss, form=protocol.form, scope=protocol.scope, optimizer=protocol.optimizer,
        learning_rate=trial.learning_rate, alpha=trial.alpha, batch_size=protocol.batch_size,
        z_loss=protocol.z_loss, dropout=protocol.dropout, seed=trial.seed, root=root,
        max_avoid_p=0.0, max_guard_kl=1e9, max_guard_flips=1.0,
    )  # fmt: skip
    for row in chosen.flagged:
        if loss != "likelihood":
            patch.add(row.input, row.output, marks=row.marks)
        elif trial.method == "corrective" and row.input in corrected:
            patch.add_triple(
                row.input, row.output, corrected[row.input], converter="corrective-full"
            )
    for row in chosen.kept:
        patch.add(row.input, row.output)
    for row in chosen.held_out:
        if loss != "likelihood":
            patch.hold_out(row.input, row.output, marks=row.marks)
        elif not row.has:
            patch.hold_out(row.input, row.output)
        elif trial.method == "corrective" and row.input in corrected:
            patch.hold_out(row.input, corrected[row.input])
    patch.guard([(row.input, row.output) for row in chosen.guard])
    return patch


class Runner:
    """Trains trials of one behaviour."""

    def __init__(
        self, settings: Settings, out: Path, model: unsay.Model, annotator: Annotator,
        train: List[Written], validation: List[Written], corrected: Dict[str, unsay.Output],
    ) -> None:  # fmt: skip
        self.settings, self.out, self.model, self.annotator = settings, out, model, annotator
        self.train, self.validation, self.corrected = train, validation, corrected
        shown = [row for row in validation if row.has][: settings.checked // 2]
        others = [row for row in validation if not row.has]
        self.checked = shown + others[: settings.checked - len(shown)]

    def run(self, trial: Trial, protocol: Protocol) -> Dict[str, Any]:
        """Trains a trial as far as its protocol says; its history."""
        folder = self.out / trial.folder
        history: Dict[str, Any] = read_json(folder / "history.json") or {
            "trial": asdict(trial), "checkpoints": [], "done": False,
        }  # fmt: skip
        if history["done"]:
            return history
        folder.mkdir(parents=True, exist_ok=True)
        chosen = examples(self.settings, trial, self.train, self.validation)
        with start(self.model, protocol, trial, chosen, self.corrected) as patch:
            state = folder / "state.session"
            steps = patch.load_state(state) if state.exists() else 0
            points: List[Dict[str, Any]] = history["checkpoints"]
            points[:] = [point for point in points if point["step"] <= steps]
            if steps > (points[-1]["step"] if points else 0):
                self._checkpoint(folder, history, patch, steps)
            while steps < protocol.steps:
                for _ in range(min(protocol.evaluate_every, protocol.steps - steps)):
                    try:
                        steps = patch.step().step
                    except unsay.DivergedError:
                        history["diverged"] = steps
                        break
                if "diverged" in history:
                    break
                patch.save_state(state)
                self._checkpoint(folder, history, patch, steps)
            history["done"] = True
            write_json(folder / "history.json", history)
            state.unlink(missing_ok=True)
        return history

    def _checkpoint(
        self, folder: Path, history: Dict[str, Any], patch: unsay.Patch, steps: int
    ) -> None:
        evaluation = patch.evaluate()
        with patch.model() as patched:
            measured = self.measure(patched, self.checked)
        point = {
            "step": steps,
            "held_out_loss": evaluation.held_out_loss,
            "guard_kl": evaluation.guard_kl,
            "guard_flips": evaluation.guard_flips,
            "avoid_p": evaluation.avoid_p_after,
            "validation": measured,
        }
        history["checkpoints"].append(point)
        found = [best(self.settings, [history], rule) for rule in RULES]
        wanted = {entry[1]["step"] for entry in found if entry is not None}
        if steps in wanted:
            patch.delta().save(folder / f"{steps}.unsay")
        write_json(folder / "history.json", history)
        for path in folder.glob("*.unsay"):
            if int(path.stem) not in wanted:
                path.unlink()

    def measure(self, patched: unsay.Model, rows: Sequence[Written]) -> Dict[str, Any]:
        new = write(patched, self.settings, [row.input for row in rows])
        found = self.annotator.spans([row.input for row in rows], [out.text for out in new])
        return comparison(
            [row.output.text for row in rows], [out.text for out in new],
            [row.has for row in rows], [bool(spans) for spans in found],
        )  # fmt: skip


def delta_path(out: Path, history: Dict[str, Any], step: int) -> Path:
    """Where the weights of a checkpoint are kept, if a rule chose it."""
    return out / Trial(**history["trial"]).folder / f"{step}.unsay"
