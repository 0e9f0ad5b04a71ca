"""The stage "update": every trial of every method, in groups of which one is chosen."""

import itertools
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set

import unsay

from .annotators import Annotator
from .decoding import corrections
from .finetuning import model_folder
from .outputs import Written, annotator_of, written
from .settings import Settings
from .store import Costs, Progress, read_json
from .trials import RULES, Runner, Trial, examples


def main_groups(settings: Settings, name: str) -> Iterator[List[Trial]]:
    """For each protocol, method and seed: all rates and alphas."""
    for protocol_name, protocol in settings.protocols.items():
        for method, seed in itertools.product(protocol.methods, settings.seeds):
            # alpha weighs avoided tokens: without any, one is enough.
            alphas = protocol.alphas[:1] if method in ("clean", "corrective") else protocol.alphas
            yield [
                Trial(name, protocol_name, method, rate, alpha, seed, settings.flagged)
                for alpha, rate in itertools.product(alphas, protocol.learning_rates)
            ]


def extra_trials(settings: Settings, name: str) -> Iterator[Trial]:
    """How many flags, and how many of them wrong: one setting."""
    extras = settings.extras
    for seed in settings.seeds:
        for count, noise in [(count, 0.0) for count in extras.flag_counts] + [
            (settings.flagged, noise) for noise in [0.0, *extras.noise] if extras.noise
        ]:
            yield Trial(
                name, extras.protocol, extras.method, extras.learning_rate, extras.alpha, seed,
                count, noise,
            )  # fmt: skip


def groups(settings: Settings, name: str) -> List[List[Trial]]:
    """All groups of a behaviour; those of one trial first, so that what they choose is kept."""
    extra = [[trial] for trial in dict.fromkeys(extra_trials(settings, name))]
    return extra + list(main_groups(settings, name))


def histories(out: Path, trials: List[Trial]) -> List[Dict[str, Any]]:
    """Of trials that are done; in their order."""
    found = [read_json(out / trial.folder / "history.json") for trial in trials]
    return [history for history in found if history is not None and history["done"]]


def runner_of(
    settings: Settings, out: Path, name: str, model: unsay.Model, annotator: Annotator
) -> Runner:
    train, validation = written(out, name, "train"), written(out, name, "validation")
    if not any(-1 in row.marks for row in train):
        raise SystemExit(f"no output for a training input shows {name!r}: nothing to update")
    corrected: Dict[str, unsay.Output] = {}
    if any("corrective" in protocol.methods for protocol in settings.protocols.values()):
        wanted: Dict[str, Written] = {}
        for seed in settings.seeds:
            trial = Trial(name, "", "corrective", 0, 0, seed, settings.flagged)
            chosen = examples(settings, trial, train, validation)
            for row in chosen.flagged + [row for row in chosen.held_out if row.has]:
                wanted.setdefault(row.input, row)
        corrected = corrections(settings, out, name, model, annotator, list(wanted.values()))
    return Runner(settings, out, model, annotator, train, validation, corrected)


def update(settings: Settings, out: Path) -> None:
    total = {
        trial for name in settings.behaviours for group in groups(settings, name) for trial in group
    }
    done = {trial for trial in total if histories(out, [trial])}
    progress = Progress(
        "update", len(total), done=len(done), unit="trials", costs=Costs(out / "costs.json")
    )
    with progress, unsay.open(model_folder(settings, out)) as model:
        for name, behaviour in settings.behaviours.items():
            annotator = annotator_of(name, behaviour, settings, out, model)
            runner = runner_of(settings, out, name, model, annotator)
            kept: Set[Path] = set()
            for group in groups(settings, name):
                found = []
                for trial in group:
                    found.append(runner.run(trial, settings.protocols[trial.protocol]))
                    if trial not in done:
                        done.add(trial)
                        progress.step(note=trial.key)
                for rule in RULES:
                    best = runner.best(found, rule)
                    if best is not None:
                        kept.add(runner.delta(*best))
                for trial in group:
                    for path in (out / trial.folder).glob("*.unsay"):
                        if path not in kept:
                            path.unlink()
