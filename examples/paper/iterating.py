"""The stage "iterate": one behaviour after the other, and the first once more.

Does unsaying B bring A back, and how far has the model come after three updates? Each update
trains on what the first model wrote, from where the last one ended; drift is counted from the
first model, the root.
"""

from pathlib import Path
from typing import Any, Dict

import unsay

from .evaluation import Measurer
from .finetuning import model_folder
from .outputs import annotator_of, written
from .settings import Settings
from .store import Costs, Progress, Results
from .trials import Trial, examples, start


def iterate(settings: Settings, out: Path) -> None:
    extras = settings.extras
    names = list(settings.behaviours)[:2]
    if not extras.iterated or len(names) < 2:
        return
    order = [names[0], names[1], names[0]]
    results = Results(out / "iterated.json")
    total = len(order) * len(settings.seeds)
    done = len(results.known)
    with unsay.open(model_folder(settings, out)) as root:
        annotators = {
            name: annotator_of(name, settings.behaviours[name], settings, out, root)
            for name in names
        }
        with Progress(
            "iterate", total, done=done, unit="updates", costs=Costs(out / "costs.json")
        ) as progress:
            for seed in settings.seeds:
                with root.clone() as model:
                    for number, name in enumerate(order, 1):
                        key = f"seed {seed} | {number} | {name}"
                        was_known = key in results.known
                        folder = out / f"iterated/seed-{seed}"
                        _update(settings, out, root, model, name, seed, folder, number)

                        def measure(model: unsay.Model = model) -> Dict[str, Any]:
                            return {
                                each: Measurer(
                                    settings, root, annotators[each], written(out, each, "test")
                                ).of(model)
                                for each in names
                            }

                        results.get(key, measure)
                        if not was_known:
                            progress.step(note=key)


def _update(
    settings: Settings, out: Path, root: unsay.Model, model: unsay.Model, name: str, seed: int,
    folder: Path, number: int,
) -> None:  # fmt: skip
    """Brings `model` to where it is after this update: by its delta, or by training."""
    delta, state = folder / f"{number}.unsay", folder / f"{number}.session"
    folder.mkdir(parents=True, exist_ok=True)
    if delta.exists():
        with unsay.Delta.open(delta) as change:
            model.apply(change)
        return
    extras = settings.extras
    protocol = settings.protocols[extras.protocol]
    trial = Trial(
        name, extras.protocol, extras.method, extras.learning_rate, extras.alpha, seed,
        settings.flagged,
    )  # fmt: skip
    chosen = examples(
        settings, trial, written(out, name, "train"), written(out, name, "validation")
    )
    with start(model, protocol, trial, chosen, {}, root=root) as patch:
        done = patch.load_state(state) if state.exists() else 0
        report = patch.run(
            max_steps=max(0, protocol.steps - done),
            evaluate_every=protocol.evaluate_every,
            state_path=state,
            save_every=protocol.evaluate_every,
        )
        change = patch.delta()
        if report.evaluation.changed:
            patch.commit()
    change.save(delta)
    state.unlink(missing_ok=True)
