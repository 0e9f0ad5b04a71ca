"""`unsay verify`: whether onnxruntime computes the same on a folder's files."""

import argparse
import dataclasses
from typing import Any

from ..results import _short
from ..verification import TOLERANCE, Verification, VerifiedInput, verify
from ._arguments import Teaching, add_model
from ._inputs import add_inputs, read_inputs
from ._output import as_json

EPILOG = """\
examples:

  unsay verify models/debsum
  unsay verify models/debsum "summarize: A library for reading CSV files." --json
  unsay verify models/t5-small --inputs inputs.jsonl --max-new-tokens 32

onnxruntime runs the folder's own files: pip install onnxruntime. Shown are, for each input,
the largest differences of the encoder's states and of the logits, and whether the likeliest
ids are the same. Exit status 0: equal, or files that onnxruntime computes less exactly than
in float32 (float16, 8-bit products), which are not judged; 1: different, or not to be run.
"""


def add(commands: Any) -> None:
    """Describes the command."""
    parser = commands.add_parser(
        "verify", usage="unsay verify [options] MODEL [TEXT ...]",
        help="compare with onnxruntime on the same files",
        epilog=EPILOG, formatter_class=Teaching,
        description="Computes encoder states and logits with this library and with onnxruntime, "
        "which runs the folder's own files, and shows how far they are apart. Without "
        "inputs it takes three of its own.",
    )  # fmt: skip
    add_model(parser, computes=False)
    add_inputs(parser, none="three of its own")
    group = parser.add_argument_group("what to compare")
    group.add_argument(
        "--max-new-tokens", type=int, default=12, metavar="N", help="ids of each output (12)"
    )
    group.add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="SHARE",
        help=f"of the range of the numbers: what counts as equal ({TOLERANCE:g})",
    )  # fmt: skip
    group.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    is_given = bool(options.texts or options.inputs)
    found = verify(
        options.model,
        read_inputs(options) if is_given else None,
        max_new_tokens=options.max_new_tokens,
        tolerance=options.tolerance,
        threads=options.threads,
        tokenizer=options.tokenizer,
        variant=options.variant,
        allow_links=options.allow_links,
    )
    print(as_json(_facts(found)) if options.json else _told(found))
    return 0 if found else 1


def _facts(found: Verification) -> Any:
    return {
        **dataclasses.asdict(found),
        "worst": found.worst,
        "same_ids": found.same_ids,
        "verdict": found.verdict,
    }


def _told(found: Verification) -> str:
    lines = [f"onnxruntime {found.onnxruntime} runs {', '.join(found.files)}"]
    for each in found.inputs:
        lines += _lines(each)
    return "\n".join([*lines, str(found)])


def _lines(each: VerifiedInput) -> "list[str]":
    shown = each.input if isinstance(each.input, str) else f"ids {each.input}"
    lines = [f"{_short(shown)} ({len(each.ids)} ids)"]
    if each.states is not None:
        lines.append(f"  encoder states  {each.states}")
    for way, difference in each.logits.items():
        lines.append(f"  logits          {difference} ({way})")
    if each.same_ids is not None:
        lines.append(f"  ids             {'the same' if each.same_ids else 'others'}")
    return lines
