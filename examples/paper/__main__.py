"""One command for each stage of a study:

    python -m paper STAGE --settings SETTINGS.json --out FOLDER

Stages, in order: data, train, generate, annotate, update, iterate, evaluate, report; `all` runs
them one after the other, `estimate` says how long that would take. A stage that was stopped, by
whatever means, goes on when it is run again.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Callable, Dict

from . import estimate, evaluation, finetuning, iterating, outputs, report, tasks, updating
from .settings import Settings, load, made
from .store import Costs, read_json, spoken, write_json

STAGES: Dict[str, Callable[[Settings, Path], None]] = {
    "data": tasks.prepare,
    "train": finetuning.train,
    "generate": outputs.generate,
    "annotate": outputs.annotate,
    "update": updating.update,
    "iterate": iterating.iterate,
    "evaluate": evaluation.evaluate,
    "report": report.report,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m paper", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("stage", choices=[*STAGES, "all", "estimate"])
    parser.add_argument("--settings", type=Path, required=True, help="a file of JSON")
    parser.add_argument("--out", type=Path, required=True, help="the folder of this study")
    parser.add_argument("--data", help="where the task's files are")
    parser.add_argument("--model", help="the model's folder")
    options = parser.parse_args()
    places = {"data": options.data, "model": options.model}
    changes = {name: str(Path(path).resolve()) for name, path in places.items() if path}
    settings = load(options.settings, **changes)
    options.out.mkdir(parents=True, exist_ok=True)
    _same_settings(options.settings, settings, options.out)
    if options.stage == "estimate":
        estimate.estimate(settings, options.out)
        return
    names = list(STAGES) if options.stage == "all" else [options.stage]
    for name in names:
        began = time.perf_counter()
        print(f"{name}: {estimate.of_stage(name, settings, options.out)}", file=sys.stderr)
        STAGES[name](settings, options.out)
        seconds = time.perf_counter() - began
        Costs(options.out / "costs.json").add(f"stage {name}", seconds, 1)
        print(f"{name}: done in {spoken(seconds)}", file=sys.stderr, flush=True)


def _same_settings(path: Path, settings: Settings, out: Path) -> None:
    """A folder belongs to one study: other settings would mix results."""
    kept = read_json(out / "settings.json")
    if kept is None:
        write_json(out / "settings.json", dataclasses.asdict(settings))
    elif made(kept, str(out / "settings.json")) != settings:
        raise SystemExit(f"{out} was begun with other settings than {path}: take another --out")


if __name__ == "__main__":
    main()
