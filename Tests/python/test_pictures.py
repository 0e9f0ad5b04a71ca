"""The pictures of the documentation show what is true."""

import importlib.util
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


def test_every_room_of_the_building_is_there():
    rooms = {name for floor in pictures().FLOORS for name, _ in floor}
    assert rooms <= {path.name for path in (ROOT / "Sources").iterdir()}
