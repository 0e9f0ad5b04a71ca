"""The stage "evaluate": everything that was chosen, measured on test inputs."""

from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import unsay

from . import decoding
from .annotators import Annotator
from .choosing import RULES, best
from .finetuning import model_folder
from .measures import comparison, disfluency, drift, quality
from .outputs import Written, annotator_of, outputs_of, to_output, write, written
from .settings import DECODING, Settings
from .store import Costs, Progress, Results
from .trials import Trial, delta_path
from .updating import extra_trials, histories, main_groups

Job = Tuple[str, Callable[[], Any]]
"""A key of the results, and what makes its value."""
SHOWN = 8  # changed outputs that are kept for the report, of each kind


class Measurer:
    """Measures outputs for the test inputs of one behaviour."""

    def __init__(
        self, settings: Settings, model: unsay.Model, annotator: Annotator, rows: List[Written]
    ) -> None:
        self.settings, self.model, self.annotator, self.rows = settings, model, annotator, rows

    def outputs(self, new: Sequence[unsay.Output]) -> Dict[str, Any]:
        rows = self.rows
        spans = self.annotator.spans([row.input for row in rows], [out.text for out in new])
        has = [bool(found) for found in spans]
        measured = comparison(
            [row.output.text for row in rows], [out.text for out in new],
            [row.has for row in rows], has,
        )  # fmt: skip
        measured["quality"] = quality(new, [row.target for row in rows])
        measured["disfluency"] = disfluency(new)
        measured["changed"] = self.changed(new, has)
        return measured

    def changed(self, new: Sequence[unsay.Output], has: Sequence[bool]) -> List[Dict[str, Any]]:
        """The first few outputs that differ: of those that had the behaviour, and of others."""
        found = []
        for had in (True, False):
            kind = [
                {"input": row.input, "before": row.output.text, "after": output.text,
                 "had": row.has, "has": shown}
                for row, output, shown in zip(self.rows, new, has)
                if row.has is had and row.output.text != output.text
            ]  # fmt: skip
            found += kind[:SHOWN]
        return found

    def patched(self, delta: Path) -> Dict[str, Any]:
        with self.model.clone() as patched, unsay.Delta.open(delta) as change:
            patched.apply(change)
            return self.of(patched)

    def of(self, patched: unsay.Model) -> Dict[str, Any]:
        new = write(patched, self.settings, [row.input for row in self.rows])
        measured = self.outputs(new)
        texts = [
            (row.input, row.target)
            for row in self.rows[: self.settings.drift]
            if row.target.strip()
        ]
        measured["drift"] = drift(self.model, patched, texts)
        return measured


def chosen(out: Path, settings: Settings, trials: List[Trial], rule: str) -> Dict[str, Any]:
    """The setting and checkpoint that a rule takes from a group; empty if it takes none."""
    found = best(settings, histories(out, trials), rule)
    if found is None:
        return {}
    history, point = found
    return {**history["trial"], "rule": rule, "step": point["step"], "point": point,
            "delta": str(delta_path(out, history, point["step"]))}  # fmt: skip


def of_model(out: Path) -> Dict[str, Any]:
    """How good the model is before any update, beside the first ten words of the input."""
    rows = outputs_of(out, "test")
    outputs = [to_output(row) for row in rows]
    targets = [row["target"] for row in rows]
    leads = [" ".join(row["input"].split()[1:11]) for row in rows]
    written = [unsay.Output(lead, [], [], 0.0, "end") for lead in leads]
    return {
        "outputs": len(rows),
        "quality": quality(outputs, targets),
        "first_ten_words": quality(written, targets),
        "disfluency": disfluency(outputs),
        "examples": [
            {"input": row["input"], "reference": row["target"], "output": row["text"]}
            for row in rows[:SHOWN]
        ],
    }


def evaluate(settings: Settings, out: Path) -> None:
    results = Results(out / "results.json")
    jobs: List[Job] = [("model", lambda: of_model(out))]
    with unsay.open(model_folder(settings, out)) as model:
        for name, behaviour in settings.behaviours.items():
            annotator = annotator_of(name, behaviour, settings, out, model)
            measurer = Measurer(settings, model, annotator, written(out, name, "test"))
            jobs += _of_behaviour(settings, out, name, measurer, results)
        waiting = [(key, make) for key, make in jobs if key not in results.known]
        progress = Progress(
            "evaluate", len(jobs), done=len(jobs) - len(waiting), unit="models",
            costs=Costs(out / "costs.json"),
        )  # fmt: skip
        with progress:
            for key, make in waiting:
                results.get(key, make)
                progress.step(note=key)


def _of_behaviour(
    settings: Settings, out: Path, name: str, measurer: Measurer, results: Results
) -> List[Job]:
    rows = measurer.rows

    def decoded(method: str) -> Callable[[], Any]:
        make = getattr(decoding, method)
        return lambda: {
            "test": measurer.outputs(make(settings, measurer.model, measurer.annotator, rows))
        }

    jobs: List[Job] = [
        (f"{name} | original", lambda: {"test": measurer.outputs([row.output for row in rows])})
    ]
    jobs += [(f"{name} | {method}", decoded(method)) for method in DECODING]

    def job(key: str, trials: List[Trial], rule: str) -> None:
        def measure() -> Any:
            found = chosen(out, settings, trials, rule)
            if not found:
                return {}
            delta = Path(found.pop("delta"))
            for other in RULES:  # two rules may choose the same weights
                known = results.known.get(f"{key} | {other}") or {"chosen": {}}
                if {**known["chosen"], "rule": rule} == found:
                    return {"chosen": found, "test": known["test"]}
            return {"chosen": found, "test": measurer.patched(delta)}

        jobs.append((f"{key} | {rule}", measure))

    for trials in main_groups(settings, name):
        for rule in RULES:
            job(trials[0].group, trials, rule)
    for trial in dict.fromkeys(extra_trials(settings, name)):
        job(trial.key, [trial], "guard")
    return jobs
