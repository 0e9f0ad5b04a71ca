"""onnxruntime on a folder's own files, beside this library."""

import builtins
import json
import os
import re
import shutil

import export_routes
import numpy
import onnx
import pytest
import unsay
from conftest import DEBSUM, FIXTURES, MODELS
from test_links import cache
from unsay import Difference, Verification, VerifiedInput
from unsay.verification import difference
from zoo import Series

#: A fixture, the ways through its files, and the verdict.
LAYOUTS = {
    "t5v11__opt": ({"decoder", "with past"}, "equal"),
    "t5v11__opt_ext": ({"merged", "merged, cached"}, "equal"),
    "umt5__opt_custom": ({"merged", "merged, cached"}, "equal"),
    "t5v10__ts_whole": ({"whole"}, "equal"),
    "t5v10__dy23_whole": ({"whole"}, "equal"),
    "t5v10__ort": ({"cached"}, "equal"),
    "t5v10__ort_init": ({"init"}, "equal"),
    "t5v10__ort_beam": (set(), "equal"),
    "t5v10__nb4": ({"decoder"}, "rounded"),
    "t5v10__f16_ort": ({"decoder"}, "rounded"),
    "t5v10__q_xenova": ({"merged", "merged, cached"}, "rounded"),
    "t5v11__q_u8": ({"decoder"}, "rounded"),
    "encoder__dy23": (set(), "equal"),
}

#: No file of theirs gives the encoder's states.
WITHOUT_STATES = {"t5v10__ort", "t5v10__ort_beam", "t5v10__ts_whole", "t5v10__dy23_whole"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_run_by_every_way_through_its_files(name):
    ways, verdict = LAYOUTS[name]
    found = unsay.verify(FIXTURES / name)
    assert found.verdict == verdict, str(found)
    assert found and len(found.inputs) == 3
    for each in found.inputs:
        assert set(each.logits) == ways
        assert (each.states is None) == (name in WITHOUT_STATES)
    if verdict == "equal":
        assert found.worst <= 1e-4 and found.same_ids
        assert found.rounding is None
    else:
        assert found.worst < 0.2 and found.rounding


def test_texts_and_ids_are_compared_and_told(debsum):
    text = "summarize: A library for reading CSV files."
    found = unsay.verify(DEBSUM, [text, [5, 6, 7, 1]], max_new_tokens=4)
    assert [each.input for each in found.inputs] == [text, [5, 6, 7, 1]]
    assert found.inputs[0].ids == debsum.encode(text).ids
    assert all(len(each.output) == 4 for each in found.inputs)
    assert found.files == ["decoder_model_merged.onnx", "encoder_model.onnx"]
    assert repr(found).startswith(f"Verification({str(DEBSUM)!r}, {found.verdict!r}, 2 inputs")


def test_inputs_come_in_every_shape_and_wrong_ones_are_refused_before_they_are_run():
    folder = MODELS / "tiny-v10"

    def inputs(given):
        return [each.input for each in unsay.verify(folder, given, max_new_tokens=1).inputs]

    with unsay.open(folder) as model:
        encoding = model.encode("a")
    assert inputs("a b") == ["a b"]
    assert inputs([5, 6, 1]) == inputs(numpy.array([[5, 6, 1]])) == [[5, 6, 1]]
    assert inputs(encoding) == [encoding.ids]
    assert inputs(text for text in ("a", "b")) == inputs(Series(["a", "b"])) == ["a", "b"]
    assert inputs([{"input": "a"}]) == ["a"]
    for said, given in {
        "inputs: expected at least one, found none": [],
        r"inputs\[1\] has no ids": ["a", []],
        r"inputs\[1\]: expected a text or its token ids, found None": ["a", None],
        "300000": [300000],
    }.items():
        with pytest.raises(unsay.ArgumentError, match=said):
            unsay.verify(folder, given)
    with pytest.raises(unsay.ArgumentTypeError, match="tolerance: expected a number, found str"):
        unsay.verify(folder, tolerance="1e-4")
    with pytest.raises(unsay.ArgumentError, match="max_new_tokens: expected an integer from 1"):
        unsay.verify(folder, max_new_tokens=0)


def test_onnx_in_a_subfolder_and_a_variant_are_run(tmp_path):
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    for path in (FIXTURES / "t5v11__opt").iterdir():
        if path.suffix == ".onnx":
            shutil.copy(path, folder / "onnx" / path.name)
            (folder / "onnx" / path.name.replace(".onnx", "_q4.onnx")).write_bytes(b"\x08\x07")
    shutil.copy(FIXTURES / "t5v11__opt/config.json", folder)
    found = unsay.verify(folder, variant="")
    assert found.verdict == "equal"
    assert found.files == [
        f"onnx/{part}.onnx"
        for part in ("decoder_model", "decoder_with_past_model", "encoder_model")
    ]


def test_links_and_odd_paths_are_run_from_a_copy_if_need_be(tmp_path):
    folder = shutil.copytree(FIXTURES / "t5v11__opt_ext", tmp_path / os.fsdecode(b"bad-\xff"))
    assert unsay.verify(cache(tmp_path)).verdict == "equal"
    assert unsay.verify(folder).verdict == "equal"
    with pytest.raises(unsay.UnsupportedError, match="does not run") as found:
        unsay.verify(shutil.copytree(FIXTURES / "t5v10__ort_O", folder / "inner"))
    str(found.value).encode("utf-8")


def altered(folder, name, change):
    """A copy of a file that onnxruntime gets in its place."""
    model = onnx.load(folder / name)
    tensor = next(t for t in model.graph.initializer if t.name.startswith("onnx::MatMul"))
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0, 0] += change
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, folder / name)


@pytest.mark.parametrize("name", ["encoder_model.onnx", "decoder_model.onnx"])
def test_one_weight_that_differs_is_seen(tmp_path, monkeypatch, name):
    from unsay import _runtime

    folder = shutil.copytree(FIXTURES / "t5v11__opt", tmp_path / "model")
    other = shutil.copytree(folder, tmp_path / "other")
    altered(other, name, 0.5)
    original = _runtime.Session.__init__
    monkeypatch.setattr(
        _runtime.Session,
        "__init__",
        lambda self, path, *rest: original(self, other / path.name, *rest),
    )
    found = unsay.verify(folder)
    assert found.verdict == "different" and not found
    assert found.worst > 1e-3, found.worst
    assert "DIFFERENT" in str(found)
    states = max(each.states.relative for each in found.inputs)
    assert (states > 1e-4) == name.startswith("encoder"), states
    plain = max(each.logits["decoder"].relative for each in found.inputs)
    assert plain > 1e-4, plain


def test_a_container_and_files_that_onnxruntime_refuses_are_said_to_be():
    with pytest.raises(unsay.UnsupportedError, match=r"weights and no graph.*nothing"):
        unsay.verify(FIXTURES / "t5v10__raw")
    with pytest.raises(unsay.UnsupportedError, match=r"onnxruntime .* does not run .*\.onnx: "):
        unsay.verify(FIXTURES / "t5v10__ort_O")


def test_without_onnxruntime_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("onnxruntime") or (rest and "_runtime" in (rest[2] or ())):
            raise ModuleNotFoundError("No module named 'onnxruntime'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(unsay.ArgumentError, match="pip install onnxruntime"):
        unsay.verify(MODELS / "tiny-v10")


def test_numbers_that_are_no_numbers_differ_infinitely():
    ours = numpy.array([[0.0, 1.0]])
    assert difference([[0.0, numpy.nan]], ours) == (Difference(numpy.inf, numpy.inf), False)
    assert difference([[0.0, 1.5]], ours) == (Difference(0.5, 0.5), True)
    assert difference([[1.5, 1.0]], ours)[1] is False


def verification(worst, same, rounding=None):
    given = VerifiedInput([1], [1], [1], None, {"whole": Difference(worst, worst)}, same)
    return Verification("m", ["m.onnx"], "1.0", [given], 1e-4, rounding)


def test_the_verdict_is_by_the_tolerance_and_by_what_onnxruntime_rounds():
    assert verification(1e-4, True).verdict == "equal"
    assert verification(2e-4, True).verdict == "different"
    assert verification(2e-4, True, "computes in float16").verdict == "rounded"
    assert not verification(2e-4, True) and verification(2e-4, True, "computes in float16")
    assert "not judged" in str(verification(2e-4, True, "computes in float16"))
    assert "other ids" in str(verification(1e-5, False))


ROUTES = ["as exported", "external, a file a tensor", "local functions", "cast float16",
          "float16", "onnxruntime, all", "int8 per channel", "4 bits", "4 bits QDQ"]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_whatever_was_made_of_an_export_is_equal_or_said_to_be_rounded(tmp_path, route):
    folder = export_routes.make(FIXTURES / "t5v11__opt", route, tmp_path / "model")
    found = unsay.verify(folder)
    assert found, str(found)
    is_rounded = route in ("float16", "int8 per channel", "4 bits")
    assert (found.rounding is not None) == is_rounded, found.rounding


def test_the_command_tells_it_and_answers_by_its_status(command, tmp_path):
    folder = FIXTURES / "t5v11__opt"
    told = command("verify", folder)
    assert re.search(r"^  encoder states  \S+, \S+ of the range$", told, re.MULTILINE), told
    assert re.search(r"^  logits .* \(with past\)$", told, re.MULTILINE), told
    assert told.splitlines()[-1].startswith("equal: the largest difference is")
    facts = json.loads(command("verify", folder, "--json"))
    assert facts["verdict"] == "equal" and len(facts["inputs"]) == 3
    assert facts["worst"] == max(
        each["relative"]
        for given in facts["inputs"]
        for each in [given["states"], *given["logits"].values()]
    )
    assert "DIFFERENT" in command("verify", folder, "--tolerance", "0", status=1)
    command("verify", FIXTURES / "t5v10__raw", status=1)
    assert "nothing for onnxruntime to run" in command.err
    text = "summarize: files"
    assert text in command("verify", MODELS / "tiny-v10", text, "--max-new-tokens", 3)
