"""How long stages take: counted work, at rates that were measured or are sampled now."""

import time
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, Union

import unsay

from .finetuning import fitted, start_folder
from .settings import Settings
from .store import Costs, read_json, read_lines, spoken, write_json
from .tasks import SPLITS, load
from .trials import Trial
from .updating import groups, main_groups, planned, tuned

SAMPLE = 24  # inputs
TUNED = 3
"""Trials of a group with another seed than the first, where only the first sweeps: a guess."""


def of_stage(name: str, settings: Settings, out: Path) -> str:
    """A sentence on the work of a stage, and its time where an estimate was made."""
    known = read_json(out / "estimate.json", {})
    trials = len(planned(settings, out))
    work = {
        "train": f"{settings.training.steps:,} steps" if settings.training else "nothing to train",
        "update": f"{trials} trials",
        "iterate": f"{3 * len(settings.seeds) if settings.extras.iterated else 0} updates",
    }.get(name, "begins")
    return f"{work}, about {spoken(known[name])} in all" if name in known else work


def estimate(settings: Settings, out: Path) -> None:
    """Prints and writes down the seconds of every stage; needs the stage data."""
    found = seconds(settings, out)
    known: Dict[str, float] = {}
    for name, value, why in found:
        known[name] = value
        print(f"{name:10}{spoken(value):>10}  {why}")
    print(f"{'together':10}{spoken(sum(known.values())):>10}")
    write_json(out / "estimate.json", known)


def seconds(settings: Settings, out: Path) -> List[Tuple[str, float, str]]:
    pairs = {split: load(out, split) for split in SPLITS}
    counts = {split: len(rows) for split, rows in pairs.items()}
    with unsay.open(start_folder(settings, out)) as model:
        sample = [
            fitted(model, row["input"], settings.max_input_ids) for row in pairs["test"][:SAMPLE]
        ]
        began = time.perf_counter()
        outputs = model.generate(sample, max_new_tokens=settings.max_new_tokens, log_probs=False)
        per_output = (time.perf_counter() - began) / max(1, len(sample))
        costs = Costs(out / "costs.json")
        for split in SPLITS:
            rate = costs.rate(f"generate {split}")
            per_output = 1 / rate if rate else per_output
        per_step = {
            name: _step_seconds(model, sample, outputs, protocol.scope, protocol.batch_size)
            for name, protocol in settings.protocols.items()
        }
        training = 0.0
        if settings.training is not None:
            rate = costs.rate("train")
            one = 1 / rate if rate else _step_seconds(
                model, sample, [row["target"] for row in pairs["train"][:SAMPLE]], "all",
                settings.training.batch_size,
            )  # fmt: skip
            training = one * settings.training.steps

    def likely(group: List[Trial]) -> List[Trial]:
        found = tuned(settings, out, group)
        unknown = settings.sweep == "first" and group[0].seed != settings.seeds[0]
        return found[:TUNED] if unknown and len(found) == len(group) else found

    update, models = 0.0, 0
    for name in settings.behaviours:
        for trial in {trial for group in groups(settings, name) for trial in likely(group)}:
            protocol = settings.protocols[trial.protocol]
            checks = -(-protocol.steps // protocol.evaluate_every)
            update += protocol.steps * per_step[trial.protocol]
            # Evaluating all examples and guard, held-out ones twice, is a third of a step's work.
            examples = trial.flagged + settings.kept + 2 * settings.held_out + settings.guard
            measured = examples / protocol.batch_size
            update += checks * min(settings.checked, counts["validation"]) * per_output
            update += checks * measured * per_step[trial.protocol] / 3
        models += 2 * len(list(main_groups(settings, name)))
        models += len(groups(settings, name)) - len(list(main_groups(settings, name))) + 2
    iterate = 0.0
    if settings.extras.iterated:
        protocol = settings.protocols[settings.extras.protocol]
        one = protocol.steps * per_step[settings.extras.protocol]
        iterate = 3 * len(settings.seeds) * (one + 2 * counts["test"] * per_output)
    left = sum(counts.values()) - sum(
        len(read_lines(out / f"outputs/{split}.jsonl")) for split in SPLITS
    )
    return [
        ("train", training, f"{settings.training.steps:,} steps" if settings.training else "-"),
        ("generate", left * per_output, f"{left:,} outputs, {per_output:.3f} s each"),
        ("update", update, ", ".join(f"{n}: {s:.2f} s a step" for n, s in per_step.items())),
        ("iterate", iterate, "three updates for each seed" if iterate else "-"),
        ("evaluate", models * counts["test"] * per_output, f"{models} models"),
    ]


def _step_seconds(
    model: unsay.Model,
    inputs: List[str],
    outputs: Sequence[Union[str, unsay.Output]],
    scope: str,
    batch_size: int,
) -> float:
    """Measured on the sample, which stands for any batch."""
    marked = 0
    with model.patch(scope=scope, batch_size=batch_size, loss="ff") as patch:
        while marked < batch_size:
            for text, output in zip(inputs, outputs):
                ids = model.encode(output).ids if isinstance(output, str) else output.ids
                patch.add(text, output, marks=[-1] + [1] * (len(ids) - 1))
                marked += 1
        patch.step()
        return patch.step().seconds
