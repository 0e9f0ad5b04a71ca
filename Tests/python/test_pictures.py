"""The pictures of the documentation show what is true."""

import importlib.util
import re
from xml.etree import ElementTree

import unsay
from conftest import ROOT


def pictures():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts/pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_draws():
    for path, drawing in pictures().drawings():
        ElementTree.fromstring(drawing)
        assert path.read_text(encoding="utf-8") == drawing, "run scripts/pictures.py"


def test_the_outputs_are_those_of_the_model_and_of_the_delta(debsum, held_out):
    pairs = pictures().PAIRS
    beginnings = [f"summarize: {given.removesuffix(' ...')}" for given, _, _ in pairs]
    texts = [
        next((text for text in held_out if text.startswith(beginning)), beginning)
        for beginning in beginnings
    ]
    patched = debsum.clone()
    patched.apply(unsay.Delta.open(ROOT / "examples/no-simple.unsay"))
    for model, place in ((debsum, 1), (patched, 2)):
        outputs = [output.text for output in model.generate(texts, max_new_tokens=32)]
        assert outputs == [pair[place] for pair in pairs]


def test_the_delta_is_as_small_as_it_says():
    delta = unsay.Delta.open(ROOT / "examples/no-simple.unsay")
    figures = pictures().figures()
    assert figures.changed == delta.info.changed_count == 512
    assert figures.size == (ROOT / "examples/no-simple.unsay").stat().st_size


def test_the_readme_counts_what_the_picture_counts():
    found = pictures().figures()
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    same = f"{found.same:.1f} % of the others"
    assert f"{found.before} to {found.after} of {found.inputs:,} outputs have it, {same}" in text
    assert f"{found.before} of {found.inputs:,} outputs to {found.after} and leave {same}" in text


def test_the_first_held_out_inputs_have_the_word_and_the_last_do_not(debsum, held_out):
    outputs = debsum.generate(held_out, max_new_tokens=32, log_probs=False)
    has = [bool(re.search(r"\bsimple\b", output.text, re.IGNORECASE)) for output in outputs]
    first = len(held_out) - 250
    assert f"the first {first} have the word" in (ROOT / "docs/start.md").read_text()
    assert (sum(has[:first]), sum(has[first:])) == (first, 0)


def test_every_room_of_the_building_is_there():
    rooms = {name for floor in pictures().FLOORS for name, _ in floor}
    assert rooms <= {path.name for path in (ROOT / "Sources").iterdir()}
