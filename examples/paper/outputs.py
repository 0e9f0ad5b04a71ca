"""The stages "generate" and "annotate": what the model writes, and which tokens are marked.

Both write lines as they go, in the order of the inputs, and go on where they stopped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import unsay

from . import annotators, token_classifier
from .annotators import Annotator, Span
from .finetuning import fitted, model_folder
from .settings import Behaviour, Settings
from .store import Costs, Progress, append_lines, read_lines
from .tasks import SPLITS, load

CHUNK = 64  # inputs that run as one batch and are written down together


@dataclass(frozen=True)
class Written:
    """What a model wrote for an input, with what a behaviour's annotator found in it."""

    input: str
    target: str
    output: unsay.Output
    spans: List[Span]
    marks: List[int]

    @property
    def has(self) -> bool:
        return bool(self.spans)


def generate(settings: Settings, out: Path) -> None:
    costs = Costs(out / "costs.json")
    with unsay.open(model_folder(settings, out)) as model:
        # Without a behaviour, only the quality of the model is measured, on test inputs.
        for split in SPLITS if settings.behaviours else SPLITS[-1:]:
            pairs = load(out, split)
            path = out / f"outputs/{split}.jsonl"
            done = len(read_lines(path))
            progress = Progress(
                f"generate {split}", len(pairs), done=done, unit="outputs", costs=costs
            )
            with progress:
                for begin in range(done, len(pairs), CHUNK):
                    chunk = pairs[begin : begin + CHUNK]
                    texts = [fitted(model, p["input"], settings.max_input_ids) for p in chunk]
                    outputs = write(model, settings, texts)
                    rows = [
                        {"input": text, "target": pair["target"], "text": output.text,
                         "ids": output.ids, "finish": output.finish}
                        for text, pair, output in zip(texts, chunk, outputs)
                    ]  # fmt: skip
                    append_lines(path, rows)
                    progress.step(len(chunk))


def write(
    model: unsay.Model, settings: Settings, texts: List[str], **options: Any
) -> List[unsay.Output]:
    """Outputs of any number of inputs, as the study generates them."""
    found: List[unsay.Output] = []
    for begin in range(0, len(texts), CHUNK):
        found += model.generate(
            texts[begin : begin + CHUNK],
            max_new_tokens=settings.max_new_tokens,
            log_probs=False,
            **options,
        )
    return found


def annotator_of(
    name: str, behaviour: Behaviour, settings: Settings, out: Path, model: unsay.Model
) -> Annotator:
    """The annotator that the settings name."""
    kind = behaviour.annotator
    if kind == "phrases":
        return annotators.Phrases(behaviour.phrases)
    if kind == "names":
        return annotators.Names()
    if kind == "entities":
        return annotators.Entities()
    if kind == "classifier":
        return token_classifier.trained(
            model, settings.path(behaviour.spans), out / f"heads/{slug(name)}.classifier",
            behaviour.threshold,
        )  # fmt: skip
    raise SystemExit(
        f"behaviour {name!r} has the annotator {kind!r}, "
        "expected phrases, names, entities or classifier"
    )


def slug(name: str) -> str:
    """A name as part of a path."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name.lower()).strip("-")


def annotate(settings: Settings, out: Path) -> None:
    costs = Costs(out / "costs.json")
    with unsay.open(model_folder(settings, out)) as model:
        for name, behaviour in settings.behaviours.items():
            annotator: Optional[Annotator] = None
            for split in SPLITS:
                rows = outputs_of(out, split)
                path = out / f"annotations/{slug(name)}/{split}.jsonl"
                done = len(read_lines(path))
                stage = f"annotate {split}, {name}"
                with Progress(stage, len(rows), done=done, unit="outputs", costs=costs) as progress:
                    for begin in range(done, len(rows), 4 * CHUNK):
                        annotator = annotator or annotator_of(name, behaviour, settings, out, model)
                        chunk = rows[begin : begin + 4 * CHUNK]
                        spans = annotator.spans(
                            [row["input"] for row in chunk], [row["text"] for row in chunk]
                        )
                        append_lines(
                            path,
                            [
                                {"spans": found, "marks": annotators.marked(
                                    model, to_output(row), found, behaviour.extent)}
                                for row, found in zip(chunk, spans)
                            ],
                        )  # fmt: skip
                        progress.step(len(chunk))


def to_output(row: Dict[str, Any]) -> unsay.Output:
    return unsay.Output(row["text"], row["ids"], [], 0.0, row["finish"])


def outputs_of(out: Path, split: str) -> List[Dict[str, Any]]:
    rows = read_lines(out / f"outputs/{split}.jsonl")
    if len(rows) != len(load(out, split)):
        raise SystemExit(f"{len(rows)} outputs of the split {split}: run the stage generate first")
    return rows


def written(out: Path, name: str, split: str) -> List[Written]:
    """A split's outputs with what one behaviour's annotator found."""
    rows = outputs_of(out, split)
    found = read_lines(out / f"annotations/{slug(name)}/{split}.jsonl")
    if len(found) != len(rows):
        raise SystemExit(f"{len(found)} of {len(rows)} outputs are annotated: run annotate first")
    return [
        Written(
            row["input"], row["target"], to_output(row),
            [(begin, end) for begin, end in marked["spans"]], marked["marks"],
        )
        for row, marked in zip(rows, found)
    ]  # fmt: skip
