"""The stage "train": fine-tunes the model that the study is about, and goes on after a kill."""

import shutil
import time
from pathlib import Path
from typing import List, Tuple

import unsay

from . import fresh, tasks
from .settings import Settings, Training
from .store import Costs, Progress, append_lines, read_lines, write_json, write_lines


class TimeUp(Exception):
    """The hours of the settings are over."""


def fitted(model: unsay.Model, text: str, limit: int) -> str:
    """`text`, or as many of its first words as fit into `limit` ids, the end included."""
    encoding = model.encode(text)
    if len(encoding.ids) <= limit:
        return text
    cut = text[: encoding.spans[limit - 2][1]]
    while " " in cut:
        if text[len(cut) : len(cut) + 1] in ("", " ") and len(model.encode(cut).ids) <= limit:
            return cut
        cut = cut[: cut.rindex(" ")]
    return cut


def model_folder(settings: Settings, out: Path) -> Path:
    """Where the model of the study is: trained by it, or given."""
    if settings.training is None:
        return settings.path(settings.model)
    if not (out / "model").exists():
        raise SystemExit(f"{out / 'model'} is missing: run the stage train first")
    return out / "model"


def start_folder(settings: Settings, out: Path) -> Path:
    """Where training begins."""
    source = settings.path(settings.model)
    training = settings.training
    if training is None or not training.random_weights:
        return source
    start = out / "start"
    if not start.exists():
        shutil.rmtree(out / "start.part", ignore_errors=True)  # of a run that was killed
        fresh.make(source, out / "start.part", training.seed)
        (out / "start.part").rename(start)
    return start


def pairs_of(
    settings: Settings, out: Path, model: unsay.Model, split: str
) -> List[Tuple[str, str]]:
    """A split's pairs as the model sees them."""
    limit = settings.max_input_ids
    return [(fitted(model, p["input"], limit), p["target"]) for p in tasks.load(out, split)]


class Log:
    """One line for every step: what an interrupted run repeats replaces what it had written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_lines(path)
        self.waiting: List[object] = []
        self.is_cut = False

    @property
    def seconds(self) -> float:
        return float(sum(row["seconds"] for row in self.rows))

    def add(self, step: unsay.Step) -> None:
        if not self.is_cut:
            self.rows = [row for row in self.rows if row["step"] < step.step]
            write_lines(self.path, self.rows)
            self.is_cut = True
        row = {"step": step.step, "loss": step.loss, "seconds": step.seconds}
        self.rows.append(row)
        self.waiting.append(row)
        if len(self.waiting) >= 20:
            self.flush()

    def flush(self) -> None:
        append_lines(self.path, self.waiting)
        self.waiting = []


def train(settings: Settings, out: Path) -> None:
    training = settings.training
    if training is None or (out / "model").exists():
        return
    with unsay.open(start_folder(settings, out)) as model:
        pairs = pairs_of(settings, out, model, "train")
        validation = pairs_of(settings, out, model, "validation")
        if not pairs or not validation:
            raise SystemExit(f"{len(pairs)} pairs to train on and {len(validation)} to validate on")
        report = _finetune(model, training, pairs, validation, out)
        write_json(
            out / "train/report.json",
            {
                "ending": report.ending,
                "validation_loss": report.evaluation.held_out_loss,
                "pairs": len(pairs),
                "parameters": model.info.parameter_count,
            },
        )
        model.save(out / "model")
    print(f"train: validation loss {report.evaluation.held_out_loss:.4f} nats a token")


def _finetune(
    model: unsay.Model, training: Training, pairs: List[Tuple[str, str]],
    validation: List[Tuple[str, str]], out: Path,
) -> unsay.Report:  # fmt: skip
    state = out / "train/state.session"
    state.parent.mkdir(parents=True, exist_ok=True)
    log = Log(out / "train/steps.jsonl")
    progress = Progress("train", training.steps, unit="steps", costs=Costs(out / "costs.json"))
    before, began = log.seconds, time.perf_counter()

    def on_step(step: unsay.Step) -> None:
        if not log.is_cut:
            progress.first = progress.done = step.step - 1
        log.add(step)
        progress.step(note=f"loss {step.loss:.3f}")
        hours = (before + time.perf_counter() - began) / 3600
        if training.max_hours and hours > training.max_hours and state.exists():
            raise TimeUp

    def run(steps: int) -> unsay.Report:
        return model.finetune(
            pairs,
            steps=steps,
            validation=validation,
            evaluate_every=training.evaluate_every,
            patience=training.patience or None,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            schedule=training.schedule,
            warmup_steps=training.warmup_steps or None,
            batch_size=training.batch_size,
            dropout=training.dropout,
            z_loss=training.z_loss,
            seed=training.seed,
            compute=training.compute,
            state_path=str(state),
            save_every=training.save_every,
            resume=state.exists(),
            progress=on_step,
        )

    with progress:
        try:
            return run(training.steps)
        except TimeUp:
            print(f"train: {training.max_hours:g} hours are over; taking the best weights so far")
            return run(0)
        finally:
            log.flush()
