"""`unsay apply` and `unsay revert`: put deltas on a folder, or take them back."""

import argparse
from pathlib import Path
from typing import Any

from .._files import require_folder
from ..delta import Delta
from ..errors import MismatchError, StateError
from ..model import open
from ._arguments import Teaching, add_rounding
from ._output import Refusal, as_json, note

APPLY = """\
examples:

  unsay apply models/debsum no-simple.unsay --out models/debsum-patched
  unsay apply models/t5 first.unsay second.unsay --in-place

Deltas are applied in the order given; each fits one set of weights and is refused by any
other. The folder is written whole or not at all, in the layout that it has, so that
whatever ran the original runs the patched one.

A folder that stores 16-bit weights rounds what it is given: then `unsay revert` does not
fit it any more. Therefore it is not replaced, by --in-place or as --out, without
--allow-rounding; keep the original, and apply the delta to that again whenever it is needed.
"""
REVERT = """\
examples:

  unsay revert models/t5-patched no-simple.unsay --in-place
  unsay revert models/t5-patched first.unsay second.unsay --out models/t5

Deltas are named in the order in which they were applied and taken back in reverse; the
result is the original, bit for bit.
"""


def add(commands: Any) -> None:
    """Describes both commands."""
    for name, verb, epilog, call in (
        ("apply", "put deltas on a model folder", APPLY, run_apply),
        ("revert", "take deltas back from a model folder", REVERT, run_revert),
    ):
        parser = commands.add_parser(
            name, usage=f"unsay {name} MODEL DELTA ... (--out FOLDER | --in-place)", help=verb, 
            epilog=epilog, formatter_class=Teaching,
            description=f"{verb[0].upper()}{verb[1:]}, exactly.",
        )  # fmt: skip
        parser.add_argument("model", type=Path, help="a model folder")
        parser.add_argument("deltas", nargs="+", type=Path, metavar="DELTA", help="delta files")
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--out", type=Path, metavar="FOLDER", help="write the result here")
        where.add_argument("--in-place", action="store_true", help="replace the folder")
        add_rounding(parser)
        parser.add_argument("--variant", help="ending of the files' names, e.g. fp16")
        parser.add_argument("--json", action="store_true", help="the result as JSON")
        parser.set_defaults(run=call)


def run_apply(options: argparse.Namespace) -> int:
    return _change(options, takes_back=False)


def run_revert(options: argparse.Namespace) -> int:
    return _change(options, takes_back=True)


def _change(options: argparse.Namespace, takes_back: bool) -> int:
    folder = options.model if options.in_place else options.out
    require_folder(folder)
    deltas = [(path, Delta.open(path)) for path in options.deltas]
    with open(options.model, variant=options.variant) as model:
        for path, delta in reversed(deltas) if takes_back else deltas:
            try:
                (model.revert if takes_back else model.apply)(delta)
            except MismatchError as error:
                raise Refusal(f"{path}: {error}{_hint(takes_back)}") from None
        try:
            model.save(folder, allow_rounding=options.allow_rounding)
        except StateError as error:
            raise Refusal(f"{folder}: {error} (--allow-rounding)") from None
        with open(folder, variant=options.variant) as written:
            stored = written.fingerprint()
        is_exact = stored == model.fingerprint()
    if not is_exact:
        note(f"{folder} stores its weights rounded: the deltas cannot be taken back from it")
    facts = {"folder": str(folder), "fingerprint": stored, "exact": is_exact}
    print(as_json(facts) if options.json else f"{folder}: {stored}")
    return 0


def _hint(takes_back: bool) -> str:
    if not takes_back:
        return ""
    return "; a folder of 16-bit weights rounded the patch: use the folder it was made from"
