"""Files of weights made to do harm: no path leaves the folder, no place lies outside its file."""

import os
import shutil

import onnx
import pytest
import unsay
from conftest import FIXTURES
from export_tools import graphs
from hostile import ENCODER, FORMAT, IO, NOT_FOUND, UNSUPPORTED, check
from onnx import TensorProto

DATA = "encoder_model.onnx_data"

#: Entries of a tensor's external data that are replaced, and whether that is refused.
ENTRIES = {
    "an absolute path": {"location": "/etc/passwd"},
    "a path upwards": {"location": "../outside"},
    "a path down and upwards": {"location": "a/../../outside"},
    "no path": {"location": None},
    "a missing file": {"location": "not-there"},
    "a folder": {"location": "."},
    "an offset past the end": {"offset": "99999999"},
    "an offset of 2^64": {"offset": str(1 << 64)},
    "a negative offset": {"offset": "-4"},
    "an offset that is no number": {"offset": "here"},
    "a length past the end": {"length": "99999999"},
    "a length of 2^63": {"length": str(1 << 63)},
    "a negative length": {"length": "-1"},
    "a length that does not fit": {"length": "4"},
}


@pytest.fixture
def external(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FIXTURES / "t5v11__opt_ext", folder)
    shutil.copy(folder / DATA, tmp_path / "outside")
    return folder


@pytest.mark.parametrize("name", ENTRIES)
def test_external_data_that_lies_is_refused(external, name):
    model = onnx.load(external / ENCODER, load_external_data=False)
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                continue
            entries = {entry.key: entry.value for entry in tensor.external_data}
            entries |= ENTRIES[name]
            del tensor.external_data[:]
            for key, value in entries.items():
                if value is not None:
                    tensor.external_data.add(key=key, value=value)
    (external / ENCODER).write_bytes(model.SerializeToString())
    place = ENTRIES[name].get("location") or ENCODER
    check(external, [FORMAT, NOT_FOUND, IO, UNSUPPORTED], [place])


@pytest.mark.parametrize("kind", ["symbolic", "pipe", "short"])
def test_external_data_that_is_no_whole_file_of_the_folder_is_refused(external, kind):
    content = (external / DATA).read_bytes()
    (external / DATA).unlink()
    if kind == "symbolic":
        (external / DATA).symlink_to("../outside")
    elif kind == "pipe":
        os.mkfifo(external / DATA)
    else:
        (external / DATA).write_bytes(content[: len(content) // 2])
    check(external, [FORMAT, IO, UNSUPPORTED], [DATA])


def test_a_hard_link_to_a_file_elsewhere_is_read_but_never_written_through(external):
    """No path tells it from the file itself; a save must not change what it shares."""
    outside = external.parent / "outside"
    (external / DATA).unlink()
    os.link(outside, external / DATA)
    before = outside.read_bytes()
    with unsay.open(external) as model:
        model.finetune([([5, 6, 1], [7, 1])], steps=1, learning_rate=1e-2)
        changed = model.fingerprint()
        model.save(external)
    assert outside.read_bytes() == before
    with unsay.open(external) as saved:
        assert saved.fingerprint() == changed


def test_weights_that_overlap_in_their_file_are_refused(external):
    """A save could not write both."""
    model = onnx.load(external / ENCODER, load_external_data=False)
    first, second = [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL and len(tensor.dims) == 2
    ][:2]
    places = {entry.key: entry.value for entry in first.external_data}
    for entry in second.external_data:
        if entry.key == "offset":
            entry.value = str(int(places.get("offset", 0)) + 64)
    (external / ENCODER).write_bytes(model.SerializeToString())
    check(external, [FORMAT], [ENCODER, DATA, "shares"])
