"""`unsay apply` and `unsay revert`: put deltas on a folder, or take them back."""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..delta import Delta
from ..errors import MismatchError
from ..model import Model, open
from ._arguments import Teaching
from ._output import Refusal, as_json, note

APPLY = """\
examples:

  unsay apply models/debsum no-simple.unsay --out models/debsum-patched
  unsay apply models/t5 first.unsay second.unsay --in-place

Deltas are applied in the order given; each fits one set of weights and is refused by any
other. The folder is written whole or not at all, in the layout that it has, so that
whatever ran the original runs the patched one.

A folder that stores 16-bit weights rounds what it is given: then `unsay revert` does not
fit it any more. Therefore --in-place is refused there without --allow-rounding; keep the
original, and apply the delta to that again whenever it is needed.
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
        parser.add_argument(
            "--allow-rounding", action="store_true",
            help="--in-place although the folder's 16 bits cannot hold the result exactly",
        )  # fmt: skip
        parser.add_argument("--variant", help="ending of the files' names, e.g. fp16")
        parser.add_argument("--json", action="store_true", help="the result as JSON")
        parser.set_defaults(run=call)


def run_apply(options: argparse.Namespace) -> int:
    return _change(options, takes_back=False)


def run_revert(options: argparse.Namespace) -> int:
    return _change(options, takes_back=True)


def _change(options: argparse.Namespace, takes_back: bool) -> int:
    deltas = [(path, Delta.open(path)) for path in options.deltas]
    with open(options.model, variant=options.variant) as model:
        for path, delta in reversed(deltas) if takes_back else deltas:
            try:
                (model.revert if takes_back else model.apply)(delta)
            except MismatchError as error:
                raise Refusal(f"{path}: {error}{_hint(takes_back)}") from None
        folder = options.model if options.in_place else options.out
        save = _save_in_place if options.in_place else _save
        stored = save(model, folder, options)
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


def _save(model: Model, folder: Path, options: argparse.Namespace) -> str:
    """Writes the folder; the fingerprint of what it holds."""
    model.save(folder)
    with open(folder, variant=options.variant) as written:
        return written.fingerprint()


def _save_in_place(model: Model, folder: Path, options: argparse.Namespace) -> str:
    """The same, but first beside the folder, to see whether that rounds the weights."""
    if not options.allow_rounding:
        parent = folder.resolve().parent
        trial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-trial-", dir=parent))
        try:
            if _save(model, trial / "model", options) != model.fingerprint():
                raise Refusal(
                    f"{folder} stores 16-bit weights and would round the result: use --out, or "
                    "--allow-rounding if the original is kept elsewhere"
                )
        finally:
            shutil.rmtree(trial, ignore_errors=True)
    return _save(model, folder, options)
