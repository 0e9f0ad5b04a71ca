"""`unsay patch`: trains a model away from what is flagged."""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

from .. import _types as t
from .._files import require_file, require_folder
from ..model import Model
from ..patch import Patch
from ..results import Report
from ._arguments import (
    PATCH,
    RUN,
    Teaching,
    add_model,
    add_options,
    add_output,
    add_rounding,
    given,
    open_model,
    scope,
)
from ._examples import Examples, read
from ._inputs import detector, inputs_of
from ._output import Refusal, as_json, note, shows_progress
from .generate import add_generation

LIMIT = 3
"""The exit status if a measured limit was not met."""

EPILOG = """\
an example is a line of JSON:

  {"input": "...", "output": "a simple tool", "avoid": ["simple"]}      phrases
  {"input": "...", "output": "a simple tool", "avoid": [[2, 8]]}        characters
  {"input": "...", "output": "a simple tool", "better": "a small tool"} a corrected text
  {"input": "...", "output": "a simple tool", "marks": [1, -1, 1, 1]}   one mark a token
  {"input": "...", "output": "a tool"}                                  kept as it is

Also: "ids" (the output's tokens, as `unsay generate --json` writes them: use these), "extent",
"weight", "also_avoid", and "corrected" with "converter". Where there is no output, the model
writes one. --avoid flags its phrases in every output that has them and no mark of its own.

A patch that is to generalise needs tens of flagged outputs, as many kept ones, and a guard:
inputs like those you serve, whose outputs must stay. It writes nothing unless the guard
holds. Look at the plan first; then at the report; then measure with `unsay eval` on inputs
that were neither trained on nor guarded.

examples:

  unsay patch models/debsum outputs.jsonl --avoid simple --plan
  unsay patch models/debsum outputs.jsonl --avoid simple --guard guard.jsonl \\
      --delta no-simple.unsay --report report.html
  unsay patch models/debsum flagged.jsonl --guard guard.jsonl --save models/patched

Exit status 3, and no delta or folder: the guard does not hold, nothing has changed, or
--require-goal and the goal was not met. If the goal was met before any training, the status is
0, and what was asked for is written as it is.
"""


def add(commands: Any) -> None:
    """Describes the command."""
    parser = commands.add_parser(
        "patch", usage="unsay patch [options] MODEL EXAMPLES",
        help="train a model away from what is flagged", epilog=EPILOG, formatter_class=Teaching,
        description="Trains a private copy of a model away from flagged outputs, measures what "
        "else has changed, and writes a delta, a patched folder and a report.",
    )  # fmt: skip
    add_model(parser, computes=False)
    parser.add_argument("examples", type=Path, help="JSONL of outputs; - is standard input")
    group = parser.add_argument_group("what to flag, to measure and to keep")
    group.add_argument("--avoid", action="append", default=[], metavar="PHRASE")
    group.add_argument(
        "--extent", choices=list(t.EXTENTS), default="all", help="tokens of each match (all)"
    )
    group.add_argument("--guard", type=Path, metavar="FILE", help="JSONL: what must not change")
    group.add_argument(
        "--hold-out", type=Path, metavar="FILE",
        help="JSONL of flagged outputs that choose the best weights and are not trained on",
    )  # fmt: skip
    group = parser.add_argument_group("what to write")
    group.add_argument("--delta", type=Path, metavar="FILE", help="the patch apart")
    group.add_argument("--save", type=Path, metavar="FOLDER", help="the patched model")
    add_rounding(group)
    group.add_argument("--report", type=Path, metavar="FILE", help="an HTML page, or .json")
    group.add_argument(
        "--report-inputs", type=Path, metavar="FILE",
        help="inputs whose outputs it compares; by default all of the examples and the guard",
    )  # fmt: skip
    group.add_argument("--title", help="of the report")
    group.add_argument(
        "--detect", metavar="REGEX", help="what the report counts, besides the phrases to avoid"
    )
    group.add_argument("--plan", action="store_true", help="show prices and cost; train nothing")
    group.add_argument(
        "--require-goal", action="store_true", help="write nothing unless the goal is met"
    )
    add_output(parser)
    group = parser.add_argument_group("training (in brackets the default; docs/patching.md)")
    add_options(group, PATCH, t.SessionOptions, "session")
    group.add_argument("--reference", type=Path, metavar="FOLDER", help="stay close to this one")
    group.add_argument("--root", type=Path, metavar="FOLDER", help="count drift from this one")
    group = parser.add_argument_group("the run")
    add_options(group, RUN, t.RunOptions, "run")
    # "seed" of drawing is that of training: outputs that are missing are the likeliest ones.
    names = {action.dest for action in parser._actions}
    add_generation(parser, without=names)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    options.shows = detector(options.avoid, None)
    if options.detect is not None:
        detector([], options.detect)
    if not options.plan:
        _require_destinations(options)
    with open_model(options, computes=False) as model:
        if not options.plan:
            _require_exact(model, options)
        examples = Examples(options.examples, model, options)
        held_out = read(options.hold_out, model, options)
        guard = read(options.guard, model, options)
        with _start(model, options) as patch:
            examples.add_to(patch, options)
            if examples.flagged == 0 and options.loss != "likelihood":
                raise Refusal(
                    f"{options.examples} flags nothing: no example is marked, and no output has "
                    f"a phrase of --avoid ({', '.join(options.avoid) or 'none was given'})"
                )
            if held_out is not None:
                held_out.add_to(patch, options, held_out=True)
            if guard is not None:
                guard.add_as_guard(patch)
            elif not options.plan:
                note("there is no --guard: nothing watches what else changes")
            if options.plan:
                plan = patch.plan()
                print(as_json(dataclasses.asdict(plan)) if options.json else plan)
                return 0
            if not (options.delta or options.save or options.report):
                note("nothing will be written: ask for --delta, --save or --report")
            return _train(model, patch, options, [examples, held_out, guard])


def _require_destinations(options: argparse.Namespace) -> None:
    """Sees to it that what is asked for can be written: training may take hours."""
    sources = [options.examples, options.guard, options.hold_out, options.report_inputs]
    for path in (options.delta, options.report):
        if path is None:
            continue
        require_file(path)
        if any(source is not None and _is_same(path, source) for source in sources):
            raise Refusal(f"{path} is read by this command: write to another file")
    named = [
        os.path.realpath(path)
        for path in (options.delta, options.report, options.save)
        if path is not None
    ]
    if len(set(named)) < len(named):
        raise Refusal("--delta, --report and --save name the same place: give each its own")
    if options.save is not None:
        require_folder(options.save)


def _require_exact(model: Model, options: argparse.Namespace) -> None:
    """Refuses to round the model's own folder: then the original would be nowhere any more."""
    rounds = (
        options.save is not None
        and not options.allow_rounding
        and _is_same(options.save, options.model)
    )
    if rounds and model.info.rounds_when_saved:
        raise Refusal(
            f"{options.save} is the model's folder, which stores 16-bit weights and would round "
            "the patched ones: save to another, or give --allow-rounding if the original is kept "
            "elsewhere"
        )


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _start(model: Model, options: argparse.Namespace) -> Patch:
    values = given(options, PATCH)
    values["scope"] = scope(values.get("scope"))
    for name in ("reference", "root"):
        folder = getattr(options, name)
        if folder is not None:
            values[name] = open_model(options, folder, computes=False)
    return model.patch(**values)


def _train(
    model: Model,
    patch: Patch,
    options: argparse.Namespace,
    files: List[Optional[Examples]],
) -> int:
    known = [file for file in files if file is not None]
    inputs = _report_inputs(options, known)
    report = patch.run(progress=shows_progress(options), **given(options, RUN))
    written: Dict[str, str] = {}
    refusal = _refusal(report, options)
    if refusal is None:
        if options.delta is not None:
            with patch.delta() as delta:
                delta.save(options.delta)
            written["delta"] = str(options.delta)
        if options.save is not None:
            if report.evaluation.changed:
                patch.commit()
            model.save(options.save, allow_rounding=options.allow_rounding)
            written["folder"] = str(options.save)
    if options.report is not None:
        # Last: where it fails, what the training was for is safe.
        try:
            _report(patch, options, known, inputs)
        except BaseException:
            for kind, path in written.items():
                note(f"{kind}: {path} is written")
            raise
        written["report"] = str(options.report)
    _tell(report, written, options)
    if refusal is None and not report.evaluation.changed:
        note("the goal was met before any training: nothing has changed")
    if refusal is not None:
        note(refusal)
        return LIMIT
    return 0


def _refusal(report: Report, options: argparse.Namespace) -> Optional[str]:
    found = report.evaluation
    if not found.guard_held:
        return (
            f"the guard does not hold (KL {found.guard_kl:.4f} nats a token, "
            f"{found.guard_flips:.1%} flipped): no delta or folder was written"
        )
    if not found.changed and not found.goal_met:
        reason = (
            "wherever the guard held, nothing was better than the model as it is"
            if report.ending == "guard"
            else "no step was better than the model as it is"
        )
        return f"nothing has changed, for {reason}: no delta or folder was written"
    if options.require_goal and not found.goal_met:
        return (
            f"the goal was not met (the worst flagged token has probability "
            f"{found.avoid_p_worst:.4f}): no delta or folder was written"
        )
    return None


def _report_inputs(options: argparse.Namespace, files: List[Examples]) -> List[str]:
    if options.report is None:
        return []
    if options.report_inputs is not None:
        return inputs_of(options.report_inputs)
    return list(dict.fromkeys(text for file in files for text in file.inputs))


def _report(
    patch: Patch, options: argparse.Namespace, files: List[Examples], inputs: List[str]
) -> None:
    phrases = [*options.avoid, *(phrase for file in files for phrase in file.phrases())]
    detect = detector(phrases, options.detect) if phrases or options.detect else None
    title = options.title or (f"Without {', '.join(dict.fromkeys(phrases))}" if phrases else None)
    page = patch.report(inputs, detect=detect, title=title, **options.generation(options))
    page.save(options.report)


def _tell(report: Report, written: Dict[str, str], options: argparse.Namespace) -> None:
    if options.json:
        facts: Dict[str, Any] = {
            "ending": report.ending,
            "steps": report.steps,
            "seconds": report.seconds,
            "evaluation": dataclasses.asdict(report.evaluation),
            "written": written,
        }
        print(as_json(facts))
        return
    print(report)
    for kind, path in written.items():
        print(f"{kind}: {path}")
