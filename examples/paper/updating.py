"""The stage "update": every trial of every method, in groups of which one is chosen."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set

import unsay

from .annotators import Annotator
from .choosing import RULES, best, useful
from .decoding import corrections
from .finetuning import model_folder
from .outputs import Written, annotator_of, written
from .settings import Settings
from .store import Costs, Progress, read_json
from .trials import Runner, Trial, delta_path, examples


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


def tuned(settings: Settings, out: Path, group: List[Trial]) -> List[Trial]:
    """What of a group is trained: all of it, or with `sweep` "first" and another seed than the
    first, the rates and alphas that were of use with that one. All, while that is not known."""
    first = settings.seeds[0]
    if settings.sweep == "every" or group[0].seed == first or len(group) == 1:
        return group
    found = histories(out, [replace(trial, seed=first) for trial in group])
    if len(found) < len(group):
        return group
    wanted = useful(settings, found)
    return [trial for trial in group if (trial.learning_rate, trial.alpha) in wanted]


def planned(settings: Settings, out: Path) -> List[Trial]:
    """Every trial of the study, as far as `tuned` knows; each once."""
    return list(
        dict.fromkeys(
            trial
            for name in settings.behaviours
            for group in groups(settings, name)
            for trial in tuned(settings, out, group)
        )
    )


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
    total = planned(settings, out)
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
                wanted = tuned(settings, out, group)
                progress.total = len(planned(settings, out))
                found = []
                for trial in wanted:
                    found.append(runner.run(trial, settings.protocols[trial.protocol]))
                    if trial not in done:
                        done.add(trial)
                        progress.step(note=trial.key)
                for rule in RULES:
                    chosen = best(settings, found, rule)
                    if chosen is not None:
                        kept.add(delta_path(out, chosen[0], chosen[1]["step"]))
                for trial in wanted:
                    for path in (out / trial.folder).glob("*.unsay"):
                        if path not in kept:
                            path.unlink()
