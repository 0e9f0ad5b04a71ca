"""`unsay eval`: prevalence of phrases, and how alike new and old outputs are."""

import argparse
import math
from pathlib import Path
from typing import Any, Dict, List, Tuple

from ..delta import Delta
from ..model import Model
from ..results import Output
from ._arguments import Teaching, add_model, add_output, open_model
from ._inputs import add_inputs, detector, read_inputs
from ._output import Refusal, as_json, note
from ._similarity import bleu, mean, rouge_l
from .generate import add_generation, write

LIMIT = 3
"""The exit status if a measured limit was not met."""

EPILOG = """\
examples:

  unsay eval models/debsum --inputs held_out.jsonl --phrase simple
  unsay eval models/debsum --inputs held_out.jsonl --phrase simple --delta no-simple.unsay
  unsay eval models/debsum --inputs held_out.jsonl --phrase simple --against models/patched
  unsay eval models/patched --inputs held_out.jsonl --phrase simple --max-prevalence 0.01

Prevalence is the share of inputs whose output shows the behaviour: has a phrase as whole
words, in any letter case, or matches --detect. Its interval is Wilson's, of 95 %: with few
inputs it is wide, and 0 of 100 still allows 3.7 %. Measure on inputs that were neither
trained on nor guarded.

With --delta or --against there is an old and a new model, and of the outputs that did not
show the behaviour it says how many are the same, and how alike the rest: ROUGE-L by words,
and BLEU where sacrebleu is installed. The old model is the one without the delta.
"""


def add(commands: Any) -> None:
    """Describes the command."""
    parser = commands.add_parser(
        "eval", usage="unsay eval [options] MODEL [TEXT ...]",
        help="measure how often outputs show a behaviour",
        epilog=EPILOG, formatter_class=Teaching,
        description="Writes outputs and counts those that show a behaviour, before and after a "
        "patch if one is given, and compares the outputs.",
    )  # fmt: skip
    add_model(parser)
    add_inputs(parser)
    group = parser.add_argument_group("what to measure")
    group.add_argument("--phrase", action="append", default=[], metavar="PHRASE")
    group.add_argument("--detect", metavar="REGEX", help="or what matches this, as Python's re")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--delta", type=Path, metavar="FILE", help="the model with this, too")
    which.add_argument("--against", type=Path, metavar="FOLDER", help="the new model")
    group.add_argument(
        "--max-prevalence", type=float, metavar="SHARE",
        help="exit status 3 if more outputs, of the new model if there are two, show it",
    )  # fmt: skip
    group.add_argument("--show", type=int, default=0, metavar="N", help="print changed outputs")
    add_generation(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not options.phrase and options.detect is None:
        raise Refusal("there is nothing to measure: give --phrase or --detect")
    shows = detector(options.phrase, options.detect)
    inputs = read_inputs(options)
    with open_model(options) as model:
        sides = _sides(model, options)
        outputs = {name: write(side, inputs, options) for name, side in sides.items()}
    found = {
        name: prevalence(sum(shows(output.text) for output in written), len(inputs))
        for name, written in outputs.items()
    }
    facts: Dict[str, Any] = {"inputs": len(inputs), "prevalence": found}
    if len(outputs) == 2:
        facts.update(compare(outputs["old"], outputs["new"], shows))
    print(as_json(facts) if options.json else _told(facts))
    if len(outputs) == 2 and not options.json:
        _show(inputs, outputs["old"], outputs["new"], options.show)
    share = list(found.values())[-1]["share"]
    if options.max_prevalence is not None and share > options.max_prevalence:
        note(f"prevalence is {share:.4f}, above --max-prevalence {options.max_prevalence}")
        return LIMIT
    return 0


def _sides(model: Model, options: argparse.Namespace) -> Dict[str, Model]:
    if options.against is not None:
        return {"old": model, "new": open_model(options, options.against)}
    if options.delta is None:
        return {"model": model}
    other = model.clone()
    with Delta.open(options.delta) as delta:
        if model.fingerprint() == delta.info.after:
            other.revert(delta)
            return {"old": other, "new": model}
        other.apply(delta)
    return {"old": model, "new": other}


def wilson(count: int, total: int, z: float = 1.959964) -> Tuple[float, float]:
    """Wilson's interval of a share, 95 % by default."""
    share, weight = count / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def prevalence(count: int, total: int) -> Dict[str, Any]:
    """A count as a share with its interval."""
    low, high = wilson(count, total)
    return {"count": count, "share": count / total, "low": low, "high": high}


def compare(old: List[Output], new: List[Output], shows: Any) -> Dict[str, Any]:
    """How alike new outputs are to old ones, by whether the old one showed the behaviour."""
    parts: Dict[str, Any] = {}
    for name, wanted in (("without", False), ("with", True)):
        pairs = [(a.text, b.text) for a, b in zip(old, new) if bool(shows(a.text)) == wanted]
        texts = [a for a, _ in pairs], [b for _, b in pairs]
        parts[name] = {
            "outputs": len(pairs),
            "same": mean([float(a == b) for a, b in pairs]),
            "rouge_l": mean([rouge_l(a, b) for a, b in pairs]),
            "bleu": bleu(*texts) if pairs else None,
        }
    return {"old_outputs": parts}


def _told(facts: Dict[str, Any]) -> str:
    total = facts["inputs"]
    lines = [
        f"{name:6} {found['count']} of {total} outputs show it: {found['share']:.2%} "
        f"({found['low']:.2%} to {found['high']:.2%})"
        for name, found in facts["prevalence"].items()
    ]
    for name, part in facts.get("old_outputs", {}).items():
        if part["outputs"]:
            score = "" if part["bleu"] is None else f", BLEU {part['bleu']:.1f}"
            lines.append(
                f"of the {part['outputs']} old outputs {name} it {part['same']:.1%} are the same; "
                f"ROUGE-L {part['rouge_l']:.3f}{score}"
            )
    return "\n".join(lines)


def _show(inputs: List[str], old: List[Output], new: List[Output], most: int) -> None:
    changed = [each for each in zip(inputs, old, new) if each[1].text != each[2].text]
    for text, before, after in changed[:most]:
        print(f"\ninput  {text}\nold    {before}\nnew    {after}")
