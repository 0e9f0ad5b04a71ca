"""Every family, along every route that exported files take: it opens, gives transformers'
logits, is patched and saved, and onnxruntime computes on the saved files what we compute.

docs/checkpoints.md holds the table of the outcomes, which the last test here compares;
`python Tests/python/test_routes.py` writes it anew.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
import tempfile
from pathlib import Path

import export_routes
import numpy
import onnxruntime
import pytest
import unsay
from conftest import FIXTURES, ROOT
from test_exports_of_all_kinds import as_encoder_only, cases, expectation, relative
from unsay._runtime import Runtime

DOCUMENT = ROOT / "docs/checkpoints.md"

#: Column: the folder that the routes start from.
FAMILIES = {
    "T5 1.0": "t5v10__anon_nofold",
    "T5 1.1": "t5v11__opt",
    "T5 gated, tied": "t5tiedgated__opt",
    "mT5": "mt5__oldopt",
    "ByT5": "byt5__opt",
    "UMT5": "umt5__opt_custom",
}
#: One file with the whole model, by torch's two exporters, for routes that need folded weights.
WHOLE = {"T5 1.0, whole": "t5v10__ts_whole", "T5 1.1, whole": "t5v11__dy_whole"}
COLUMNS = {**FAMILIES, **WHOLE}
FOLDERS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.npz"))

#: Layouts that onnxruntime cannot run on a processor, patched or not, and why.
NOT_RUN = {
    "raw": "it holds weights and no graph",
    "ort_O": "its operators exist for GPUs only",
}
#: Where a graph computes in float16, so does onnxruntime, and we do not.
HALF = {"float16", "f16_ort"}
OUTCOMES: dict[tuple[str, str], str] = {}


def bound(error: float) -> str:
    """An error as the power of ten that it stays below."""
    return f"<1e{math.floor(math.log10(max(error, 1e-7))) + 1:d}" if error < 1 else f"{error:.1f}"


def patched(model, folder) -> None:
    """Two steps of training: every weight that has a gradient changes."""
    ids, expected, row = next(iter(cases(folder)))
    output = [*expected["decoder_input_ids"][row][1:], 1]
    with model.patch(loss="likelihood", learning_rate=1e-2) as patch:
        patch.add(ids, output)
        patch.run(max_steps=2)
        patch.commit()


def our_error(model, folder, stored: bool) -> float:
    """Against transformers in float32, on the weights as stored if they are known."""
    name = "decoder_logits" if model.info.num_decoder_layers else "encoder_output"
    expected = expectation(folder, name)
    if not stored:
        expected = numpy.load(folder / "expected.npz")[name]
    worst = 0.0
    for ids, about, row in cases(folder):
        if model.info.num_decoder_layers:
            found = model.logits(ids, [*about["decoder_input_ids"][row][1:], 1])
        else:
            found = model.encoder_states(ids)
        found = numpy.asarray(found)
        worst = max(worst, relative(found, expected[row][: len(found)]))
    return worst


def runtime_error(model, path, folder, optimizes: bool = True) -> float:
    """onnxruntime's logits on the files at `path` against ours, whichever way it takes."""
    runtime = Runtime(path.rglob("*.onnx"), model.info, optimizes)
    worst = 0.0
    for ids, about, row in cases(folder):
        if not model.info.num_decoder_layers:
            ours = numpy.asarray(model.encoder_states(ids))
            worst = max(worst, relative(runtime.states(ids), ours))
            continue
        given = about["decoder_input_ids"][row]
        if runtime.is_beam_search:
            length = len(given)
            ours = model.generate(ids, max_new_tokens=length - 1).ids
            theirs = runtime.sequences(ids, length)[1:]
            assert theirs[: len(ours)] == list(ours)
            continue
        ours = numpy.asarray(model.logits(ids, [*given[1:], 1]))
        for way, theirs in runtime.logits(ids, given).items():
            error = relative(theirs.astype(numpy.float64), ours)
            assert math.isfinite(error), way
            worst = max(worst, error)
    return worst


def outcome(start: str, path: Path, route: str) -> str:
    """Opens, compares, patches, saves, and lets onnxruntime run the result."""
    source, folder = FIXTURES / start, path.parent / "model"
    is_lossy = route in export_routes.LOSSY
    if expectation(source, "decoder_logits") is None:
        folder = as_encoder_only(folder, path)
    try:
        model = unsay.open(folder)
    except unsay.UnsupportedError:
        assert not loads(folder), "onnxruntime runs it"
        return "refused, -"
    with model:
        error = our_error(model, source, stored=route == "as exported")
        if route not in export_routes.ANOTHER_MODEL:
            limit = 0.5 if is_lossy else 1e-4
            assert error < limit, f"{error} of the range of the logits"
        reason = next((why for key, why in NOT_RUN.items() if f"__{key}" in start), None)
        runs = reason is None and runs_at_all(folder, model, source)
        # Of a table and a head that are one matrix, rounded apart, we take one for both.
        is_apart = is_lossy and bool(model.info.ties_head)
        if runs and not is_apart and not rounds_activations(start, route):
            theirs = runtime_error(model, folder, source, optimizes=False)
            assert theirs < 1e-4, f"as it came: {theirs} of the range of the logits"
        if model.info.num_decoder_layers:
            patched(model, source)
        model.save(path / "saved")
        with unsay.open(path / "saved") as saved:
            if not is_rounded(start, route):
                assert saved.fingerprint() == model.fingerprint()
            if not runs:
                return f"{bound(error)}, -"
            is_patched = model.info.num_decoder_layers > 0
            theirs = runtime_error(saved, path / "saved", source, optimizes=is_patched)
    limit = 0.02 if computes_in_half(start, route) else 1e-4
    assert theirs < limit, f"saved: {theirs} of the range of the logits"
    return f"{bound(error)}, {bound(theirs)}"


def computes_in_half(start: str, route: str) -> bool:
    return route in HALF or any(f"__{key}" in start for key in HALF)


def rounds_activations(start: str, route: str) -> bool:
    """True if onnxruntime computes these files less exactly than in float32."""
    dynamic = ("int8 per channel", "uint8", "uint8, onnxruntime", "8-bit products")
    # Blocks of 32 it multiplies as integers; those of 16 in the routes it does not.
    is_rounded = route in dynamic or "__q_" in start or "__nb4" in start
    return computes_in_half(start, route) or is_rounded


def is_rounded(start: str, route: str) -> bool:
    """True if changed weights are stored in 16 bits."""
    return ("16" in route and route != "int32_data float16") or "16" in start


def runs_at_all(folder, model, source) -> bool:
    """False for files that onnxruntime refuses as they come, before anything was patched."""
    try:
        ids = next(iter(cases(source)))[0]
        runtime = Runtime(folder.rglob("*.onnx"), model.info)
        if model.info.num_decoder_layers and not runtime.is_beam_search:
            runtime.logits(ids, [0, 2])
    except unsay.UnsupportedError as refusal:
        assert "onnxruntime" in str(refusal), refusal
        return False
    return True


def loads(folder: Path) -> bool:
    """False for files that are no graphs: converters cut values off from those who read them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        for path in folder.rglob("*.onnx"):
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def every_case() -> list[tuple[str, str]]:
    committed = [(folder, "as exported") for folder in FOLDERS]
    derived = [
        (start, route)
        for start in COLUMNS.values()
        for route in export_routes.ROUTES
        if route != "as exported"
    ]
    return committed + derived


def run(start: str, route: str, path: Path) -> None:
    try:
        export_routes.make(FIXTURES / start, route, path / "model")
    except Exception as failure:
        # The tool cannot take this file: nothing to open.
        assert not type(failure).__module__.startswith("export_"), failure
        OUTCOMES[start, route] = "no such file"
        return
    (path / "work").mkdir()
    OUTCOMES[start, route] = outcome(start, path / "work", route)


@pytest.mark.parametrize("start, route", every_case())
def test_it_opens_is_patched_and_runs_in_onnxruntime(start, route, tmp_path):
    run(start, route, tmp_path)


def tables() -> str:
    lines = ["| folder | |", "| --- | --- |"]
    lines += [f"| {folder} | {OUTCOMES[folder, 'as exported']} |" for folder in FOLDERS]
    lines += ["", "| | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for route in export_routes.ROUTES:
        cells = [OUTCOMES[start, route] for start in COLUMNS.values()]
        lines.append(f"| {route} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


MARKED = re.compile(r"(?<=<!-- outcomes -->\n).*(?=\n<!-- end -->)", re.DOTALL)


def disagreements(written: str, found: str) -> list[str]:
    """The rows that differ, as written and as found.

    Bounds may lie one power of ten apart: an error that is close to a power of ten falls on
    either side of it, depending on the last bits, which differ between processors.
    """
    differing = []
    for old, new in itertools.zip_longest(written.splitlines(), found.splitlines(), fillvalue=""):
        words = zip(re.split(r"[|,]", old), re.split(r"[|,]", new))
        if re.sub(BOUND, "", old) != re.sub(BOUND, "", new) or any(
            abs(int(a.group(1)) - int(b.group(1))) > 1
            for a, b in ((BOUND.search(a), BOUND.search(b)) for a, b in words)
            if a and b
        ):
            differing.append(f"{old}\n{new}")
    return differing


BOUND = re.compile(r"<1e(-?\d+)")


def test_the_manual_holds_these_outcomes():
    if len(OUTCOMES) < len(every_case()):
        pytest.skip("only some of the cases ran")
    assert disagreements(MARKED.search(DOCUMENT.read_text()).group(), tables()) == []


def test_outcomes_differ_if_they_are_ten_times_apart_twice():
    assert disagreements("| a | <1e-6, - |", "| a | <1e-5, - |") == []
    assert disagreements("| a | <1e-6, - |", "| a | <1e-4, - |") != []
    assert disagreements("| a | <1e-6, - |", "| a | <1e-6, <1e-6 |") != []
    assert disagreements("| a | <1e-6 |", "| a | <1e-6 |\n| b | <1e-6 |") != []


if __name__ == "__main__":
    for case in every_case():
        with tempfile.TemporaryDirectory() as name:
            run(*case, Path(name))
        print(*case, OUTCOMES[case], file=sys.stderr)
    DOCUMENT.write_text(MARKED.sub(lambda _: tables(), DOCUMENT.read_text()))
