"""Records of JSONL files as examples of a patch."""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Optional

from .._inputs import int32s
from .._values import text
from ..errors import ArgumentError, Error
from ..model import Model
from ..patch import Patch
from ._inputs import records_of
from ._output import Refusal
from .generate import write

MARKING = ("avoid", "better", "corrected", "marks")
KNOWN = {
    "input", "output", "ids", "extent", "weight", "also_avoid", "converter", "place", *MARKING,
    # What `unsay generate --json` says besides.
    "log_probs", "score", "finish", "rank",
}  # fmt: skip


class Examples:
    """The examples of one file, with an output for each.

    Where a record has "ids" they are its output, token for token; else "output" is; and where
    it has neither, the model writes one.
    """

    def __init__(self, path: Path, model: Model, options: argparse.Namespace) -> None:
        self.path = path
        self.records = records_of(path)
        silent = [record for record in self.records if not {"output", "ids"} & record.keys()]
        if silent:
            written = write(model, [record["input"] for record in silent], options)
            for record, output in zip(silent, written):
                record["output"], record["ids"] = output.text, output.ids
        for record in self.records:
            try:
                ids = int32s(record["ids"], "ids") if record.get("ids") else None
                if "output" not in record and ids is not None:
                    record["output"] = model.decode(ids)
                record["tokens"] = text(record["output"], "output") if ids is None else ids
                text(record["output"], "output")
            except Error as error:
                raise Refusal(f"{record['place']}: {error}") from None
        self.inputs: List[str] = [record["input"] for record in self.records]
        self.flagged = 0

    def add_as_guard(self, patch: Patch) -> None:
        """Adds every record as a pair whose behaviour must not drift."""
        try:
            patch.guard([(record["input"], record["tokens"]) for record in self.records])
        except Error as error:
            raise Refusal(f"{self.path}: {error}") from None

    def phrases(self) -> List[str]:
        """Every phrase that a record itself says to avoid."""
        found: Dict[str, None] = {}
        for record in self.records:
            avoid = record.get("avoid") or []
            for item in [avoid] if isinstance(avoid, str) else avoid:
                if isinstance(item, str):
                    found[item] = None
        return list(found)

    def add_to(self, patch: Patch, options: argparse.Namespace, *, held_out: bool = False) -> None:
        """Adds every record as it says, or, if it says nothing, with the phrases of --avoid
        where its output has one; the others are kept as they are."""
        for record in self.records:
            try:
                self._add(patch, record, options, held_out)
            except Error as error:
                raise Refusal(f"{record['place']}: {error}") from None

    def _add(
        self, patch: Patch, record: Dict[str, Any], options: argparse.Namespace, held_out: bool
    ) -> None:
        unknown = record.keys() - KNOWN - {"tokens"}
        if unknown & {"phrase", "phrases", "span", "spans", "mark", "correction"}:
            raise ArgumentError(f"unknown field {min(unknown)!r}; {', '.join(MARKING)} mark tokens")
        marked = [name for name in MARKING if record.get(name) is not None]
        if len(marked) > 1:
            raise ArgumentError(f"give one of {', '.join(MARKING)}, found {' and '.join(marked)}")
        if marked == ["corrected"] and not held_out:
            self.flagged += 1
            patch.add_triple(
                record["input"], record["tokens"], record["corrected"],
                converter=record.get("converter", "negative-diff"),
                weight=record.get("weight", 1.0),
            )  # fmt: skip
            return
        values = {
            "avoid": record.get("avoid"),
            "better": record.get("better", record.get("corrected")),
            "marks": record.get("marks"),
        }
        if not marked and options.avoid and options.shows(record["output"]):
            values["avoid"] = options.avoid
        if any(value is not None for value in values.values()):
            self.flagged += 1
        extent = record.get("extent", options.extent)
        if held_out:
            patch.hold_out(record["input"], record["tokens"], extent=extent, **values)
            return
        patch.add(
            record["input"], record["tokens"], extent=extent, weight=record.get("weight", 1.0),
            also_avoid=_positions(record.get("also_avoid")), **values,
        )  # fmt: skip


def _positions(also_avoid: Any) -> Any:
    """ "also_avoid" of a record: JSON has no numbers as keys, so positions come as texts."""
    if not isinstance(also_avoid, dict):
        return also_avoid
    return {int(at) if at.isdecimal() else at: ids for at, ids in also_avoid.items()}


def read(path: Optional[Path], model: Model, options: argparse.Namespace) -> Optional[Examples]:
    """The examples of a file; None if there is none."""
    return None if path is None else Examples(path, model, options)
