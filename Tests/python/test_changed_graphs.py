"""A changed graph is computed as onnxruntime computes it, or it is refused: never opened and
different.

Every node, attribute and constant of committed exports is changed in turn (graph_changes.py).
Here a choice of these changes runs: of each kind of change one for every role that a node has
in a block. `python Tests/python/test_changed_graphs.py [FOLDER...]` runs all of them and
prints the counts.
"""

from __future__ import annotations

import collections
import re
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import numpy
import onnx
import pytest
import unsay
from conftest import ROOT
from graph_changes import Change, every_change
from unsay._runtime import Session, cache_of

#: Folder, and the share of its changes that the suite runs.
FOLDERS = {
    "Tests/Models/tiny-v10": 9,
    "Tests/Models/tiny-v11": 11,
    "Tests/Fixtures/t5v10__dy23_whole": 5,
    "Tests/Fixtures/t5v11__opt_O3": 13,
}
#: Inputs of two lengths, one with padding, and an output for each.
INPUTS = [[5, 9, 23, 4, 17, 1], [7, 3, 11, 6, 2, 8, 30, 12, 1]]
OUTPUTS = [[12, 5, 9, 1], [4, 8, 3, 22, 6, 1]]
PADDING = 3
LIMIT = 1e-4  # of the range of what is compared


class NotRunnable(Exception):
    """onnxruntime refuses the changed file, or what it computes has another shape."""


class Judge:
    """What onnxruntime computes on a folder's files, and whether that is what we compute."""

    def __init__(self, folder: Path):
        self.folder = folder
        with unsay.open(folder) as model:
            self.info = model.info
        self.sessions = {path.name: self.session(path) for path in sorted(folder.glob("*.onnx"))}
        encoder = self.sessions.get("encoder_model.onnx")
        self.states = [self.encoded(encoder, ids) for ids in INPUTS] if encoder else []

    def session(self, path: Path) -> Session:
        return Session(path, self.info, optimizes=False)

    @staticmethod
    def padded(ids: list[int]) -> tuple[numpy.ndarray, numpy.ndarray]:
        """A row of ids with padding, and its mask."""
        row = numpy.array([ids + [0] * PADDING])
        return row, (numpy.arange(row.shape[1]) < len(ids))[None].astype(int)

    def encoded(self, session: Session, ids: list[int]) -> numpy.ndarray:
        row, mask = self.padded(ids)
        outputs = session.run(given=row, attention_mask=mask, encoder_length=row.shape[1])
        return outputs["last_hidden_state"]

    def compare(self, name: str, path: Path, model) -> float:
        """The largest difference over the range, for one changed file."""
        try:
            pairs = list(self.pairs(name, self.session(path), model))
        except Exception as refusal:
            if str(refusal).startswith("onnxruntime") or isinstance(refusal, NotRunnable):
                raise NotRunnable(str(refusal)) from refusal
            raise
        worst = 0.0
        for theirs, ours in pairs:
            ours = numpy.asarray(ours)
            if theirs.shape != ours.shape:
                raise NotRunnable(f"{theirs.shape} instead of {ours.shape}")
            error = numpy.abs(theirs - ours).max() / max(ours.max() - ours.min(), 1e-6)
            worst = max(worst, float(error) if numpy.isfinite(error) else numpy.inf)
        return worst

    def pairs(self, name: str, session: Session, model):
        """What a changed file gives by onnxruntime, and what we compute."""
        for number, (ids, output) in enumerate(zip(INPUTS, OUTPUTS)):
            if name == "encoder_model.onnx":
                states = self.encoded(session, ids)[0, : len(ids)]
                yield states, model.encoder_states(ids)
                continue
            row, mask = self.padded(ids)
            start = model.info.decoder_start_token_id
            written = [start, *output[:-1]]
            ours = numpy.asarray(model.logits(ids, output))
            values = {"encoder_attention_mask": mask, "encoder_length": row.shape[1]}
            if name == "model.onnx":
                whole = session.run(
                    given=row, attention_mask=mask, written=[written], encoder_length=row.shape[1]
                )
                yield whole["logits"][0], ours
                continue
            values["states"] = self.states[number]
            if name != "decoder_with_past_model.onnx":
                given = session.run(written=[written], cached=False, **values)
                yield given["logits"][0], ours
            if name == "decoder_model_merged.onnx":
                yield self.stepwise(session, session, written, values), ours
            elif name.startswith("decoder"):
                first = self.sessions["decoder_model.onnx"] if "past" in name else session
                then = self.sessions.get("decoder_with_past_model.onnx")
                then = session if "past" in name else then
                if then is not None:
                    yield self.stepwise(first, then, written, values), ours

    @staticmethod
    def stepwise(first: Session, then: Session, written: list[int], values: dict):
        """One token a time, with the cache of the step before."""
        found, cache, cross = [], {}, {}
        for step, id in enumerate(written):
            current = first if step == 0 else then
            given = {**values, **cache}
            if not current.takes("encoder_hidden_states"):
                given.pop("states")
            outputs = current.run(written=[[id]], cached=step > 0, **given)
            new = cache_of(outputs, cache)
            if step == 0:
                cross = {key: value for key, value in new.items() if ".encoder." in key}
            cache = {**new, **cross}
            found.append(outputs["logits"][0, -1])
        return numpy.stack(found)


def verdict(judge: Judge, name: str, change: Change, model: onnx.ModelProto, work: Path) -> str:
    """equal, refused, not runnable, or different with the difference."""
    path = work / name
    kept = path.read_bytes()
    try:
        try:
            path.write_bytes(change.apply(model).SerializeToString())
        except (ValueError, TypeError):
            return "not runnable"
        try:
            opened = unsay.open(work)
        except unsay.Error:
            return "refused"
        with opened:
            try:
                error = judge.compare(name, path, opened)
            except NotRunnable:
                return "not runnable"
        return "equal" if error < LIMIT else f"different by {error:.1e}"
    finally:
        path.write_bytes(kept)


def copied(folder: str, target: Path) -> Path:
    work = Path(shutil.copytree(ROOT / folder, target / Path(folder).name))
    for path in work.glob("*.onnx"):
        onnx.save(onnx.load(path), path)
        for data in work.glob(path.name + "*data"):
            data.unlink()
    return work


def role(change: Change) -> str:
    """The part that a node plays in its block, whichever block that is."""
    part = re.sub(r"\d+", "#", change.role)
    return f"{change.kind} {part} {change.what.split(': ')[-1]}"


def chosen(changes: list[Change], share: int) -> list[Change]:
    """One change for every role, and of these one in `share`, always the same ones."""
    once = {role(change): change for change in reversed(changes)}
    return [each for key, each in once.items() if zlib.crc32(key.encode()) % share == 0]


def run(folder: str, target: Path, share: int | None) -> tuple[collections.Counter, list[str]]:
    work = copied(folder, target)
    judge = Judge(work)
    counts: collections.Counter = collections.Counter()
    faults = []
    for path in sorted(work.glob("*.onnx")):
        model = onnx.load(path)
        changes = list(every_change(model))
        for change in chosen(changes, share) if share else changes:
            found = verdict(judge, path.name, change, model, work)
            counts[found.split(" by")[0]] += 1
            if found.startswith("different"):
                faults.append(f"{path.name}: {change.what}: {found}")
    return counts, faults


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_changed_graph_is_refused_or_computed(folder, tmp_path):
    counts, faults = run(folder, tmp_path, FOLDERS[folder])
    assert faults == []
    assert counts["refused"] > 10 and counts["equal"] > 10, counts


def test_a_judge_sees_a_difference(tmp_path):
    """Without it, nothing above could fail."""
    work = copied("Tests/Models/tiny-v10", tmp_path)
    judge = Judge(work)
    encoder = onnx.load(work / "encoder_model.onnx")
    relu = next(each for each in every_change(encoder) if each.what.endswith("becomes Tanh"))
    with unsay.open(work) as model:
        assert judge.compare("encoder_model.onnx", work / "encoder_model.onnx", model) < LIMIT
        path = tmp_path / "changed.onnx"
        path.write_bytes(relu.apply(encoder).SerializeToString())
        assert judge.compare("encoder_model.onnx", path, model) > 1e-3


if __name__ == "__main__":
    for each in sys.argv[1:] or FOLDERS:
        with tempfile.TemporaryDirectory() as scratch:
            totals, wrong = run(each, Path(scratch), None)
        print(each, dict(totals), flush=True)
        print("\n".join(wrong))
