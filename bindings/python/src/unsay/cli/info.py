"""`unsay info`: what a model folder or a delta is."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, Dict, Optional

from ..delta import Delta
from ..model import open
from ._arguments import Teaching
from ._output import as_json, table

EPILOG = """\
examples:

  unsay info models/debsum
  unsay info models/debsum --tensors
  unsay info no-simple.unsay --json

A delta fits a model whose fingerprint is its "before", and can be taken back from one
whose fingerprint is its "after".
"""


def add(commands: Any) -> None:
    """Describes the command."""
    parser = commands.add_parser(
        "info", usage="unsay info [options] PATH ...", help="what a model folder or a delta is",
        epilog=EPILOG, formatter_class=Teaching,
        description="Tells sizes and fingerprint of a model and how it writes where no option "
        "says otherwise, or what a delta changes and how it came about.",
    )  # fmt: skip
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders and deltas")
    parser.add_argument("--tensors", action="store_true", help="list a model's weights, too")
    parser.add_argument("--variant", help="of folders: ending of the files' names, e.g. fp16")
    parser.add_argument("--json", action="store_true", help="as JSON, one object a path and line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    for number, path in enumerate(options.paths):
        # What is not there may be meant for a model: that says more of it.
        is_delta = path.is_file() and path.suffix != ".onnx"
        facts = _delta(path) if is_delta else _model(path, options.variant, options.tensors)
        if options.json:
            print(as_json({"path": str(path), **facts}))
            continue
        if number > 0:
            print()
        tensors = facts.pop("tensors", [])
        metadata = facts.pop("metadata", {})
        remarks = facts.get("generation", {}).pop("remarks", [])
        if "generation" in facts:
            facts["generation"] = _told(**facts["generation"])
        print(table({"path": path, **facts}))
        for remark in remarks:
            print("remark", remark)
        if metadata:
            print("metadata", as_json(metadata, indent=2))
        for tensor in tensors:
            print(f"  {' x '.join(map(str, tensor['shape'])):>14}  {tensor['name']}")
    return 0


def _model(path: Path, variant: Any, tensors: bool) -> Dict[str, Any]:
    with open(path, variant=variant) as model:
        facts = {
            "kind": "model",
            "files": model.files,
            "fingerprint": model.fingerprint(),
            **dataclasses.asdict(model.info),
            "generation": dataclasses.asdict(model.generation),
        }
        if tensors:
            facts["tensors"] = [dataclasses.asdict(tensor) for tensor in model.tensors()]
        return facts


def _told(file: Optional[str], options: Dict[str, Any]) -> str:
    """The defaults of generation that are not the library's, and where they come from."""
    values = ", ".join(f"{name} {as_json(value)}" for name, value in options.items())
    return f"{values} ({file or 'no file says otherwise'})"


def _delta(path: Path) -> Dict[str, Any]:
    with Delta.open(path) as delta:
        return {
            "kind": "delta",
            **dataclasses.asdict(delta.info),
            "bytes": path.stat().st_size,
            "metadata": delta.metadata,
        }
