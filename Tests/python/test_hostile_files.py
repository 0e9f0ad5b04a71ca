"""Files made to do harm: each is refused by status and by name, or opens; none ends the process,
takes it for long, or makes it hold memory out of proportion to the file."""

import json
import math
import os
import shutil
import subprocess
import sys

import onnx
import pytest
import unsay
from conftest import FIXTURES, MODELS, ROOT
from export_routes import graphs
from onnx import TensorProto, helper

FORMAT, UNSUPPORTED, NOT_FOUND, IO = -22, -23, -20, -21
ENCODER = "encoder_model.onnx"

#: Opens a folder alone in its process: the status, the sentence, and how many KiB the peak grew.
OPEN = """
import json, re, sys
import unsay
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
before, status, sentence = peak(), 0, ""
try:
    unsay.open(sys.argv[1], threads=1).generate([5, 6, 1], max_new_tokens=2)
except unsay.Error as error:
    status, sentence = error.status, str(error)
print(json.dumps([status, sentence, peak() - before]))
"""


def opened(folder):
    done = subprocess.run(
        [sys.executable, "-c", OPEN, folder],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src")),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


def check(folder, statuses, words):
    status, sentence, grown = opened(folder)
    assert status in statuses, f"{status}: {sentence!r}, expected one of {statuses}"
    for word in words:
        assert word in sentence, f"{sentence!r} does not name {word!r}"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 10
    limit = 24 * 1024 + 8 * size
    assert grown < limit, f"the peak grew by {grown} KiB, the files have {size} KiB"


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(depth):
    """A graph in an attribute of a node of a graph in an attribute ..."""
    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


#: What stands in for, or is put behind (`+`), the encoder's bytes.
BYTES = {
    "empty": (b"", False),
    "a field cut off inside its length": (b"\x3a\x80", False),
    "a varint of eleven bytes": (b"\x08" + b"\x80" * 10 + b"\x01", True),
    "a length beyond the file": (b"\x3a\xff\xff\xff\xff\x7f", True),
    "a length beyond 64 bits": (b"\x3a" + b"\xff" * 9 + b"\x7f", True),
    "a graph that is a number": (b"\x38\x01", False),
    "a reserved wire type": (b"\x3e", True),
    "an end of a group that never began": (b"\x3c", True),
    "a field of number 0": (b"\x02\x00", True),
    "graphs 20000 deep": (nested(20000), False),
    "text": (b"<html>not found</html>" * 50, False),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_model_are_refused(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    content, is_appended = BYTES[name]
    path = folder / ENCODER
    path.write_bytes((path.read_bytes() if is_appended else b"") + content)
    check(folder, [FORMAT, UNSUPPORTED], [ENCODER])


def weight(model):
    """The encoder's first matrix that a product reads."""
    return next(t for t in model.graph.initializer if t.name.startswith("onnx::MatMul"))


def table(model):
    return next(t for t in model.graph.initializer if t.name == "embed_tokens.weight")


def dims(*values):
    def change(model):
        del weight(model).dims[:]
        weight(model).dims.extend(values)

    return change


def cut(model):
    weight(model).raw_data = weight(model).raw_data[:-4]


def lengthen(model):
    weight(model).raw_data += b"\0" * 4


def typed_too(model):
    weight(model).float_data.extend([1.0] * 32 * 24)


def of_type(number):
    def change(model):
        weight(model).data_type = number

    return change


def not_finite(value):
    def change(model):
        values = bytearray(weight(model).raw_data)
        values[:4] = onnx.numpy_helper.from_array(
            onnx.numpy_helper.to_array(weight(model))[:1, :1] * 0 + value
        ).raw_data
        weight(model).raw_data = bytes(values)

    return change


def twice(model):
    model.graph.initializer.append(weight(model))
    model.graph.initializer[-1].raw_data = bytes(len(weight(model).raw_data))


def cycle(model):
    nodes = model.graph.node
    reader = next(node for node in nodes if node.op_type == "MatMul")
    reader.input[0] = nodes[-1].output[0]


def calls_itself(model):
    call = helper.make_node("Again", ["x"], ["y"], domain="here")
    opset = [helper.make_opsetid("here", 1)]
    model.functions.append(helper.make_function("here", "Again", ["x"], ["y"], [call], opset))
    model.opset_import.extend(opset)
    output = model.graph.output[0].name
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output:
                node.output[index] = "inner"
    model.graph.node.append(helper.make_node("Again", ["inner"], [output], domain="here"))


def without_last_layer(model):
    kept = [t for t in model.graph.initializer if "block.1" not in t.name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


#: A change to the encoder, the statuses it may have, and what the sentence must name.
GRAPHS = {
    "a negative dimension": (dims(-32, 24), [FORMAT], [ENCODER, "MatMul"]),
    "dimensions whose product overflows": (
        dims(1 << 62, 24),
        [FORMAT],
        [ENCODER, "MatMul"],
    ),
    "a dimension of zero": (dims(0, 24), [FORMAT], [ENCODER, "MatMul"]),
    "a hundred dimensions": (
        dims(*[1] * 100),
        [FORMAT, UNSUPPORTED],
        [ENCODER, "MatMul"],
    ),
    "raw data too short": (cut, [FORMAT], [ENCODER, "MatMul"]),
    "raw data too long": (lengthen, [FORMAT], [ENCODER, "MatMul"]),
    "raw and typed data": (
        typed_too,
        [FORMAT, UNSUPPORTED],
        [ENCODER, "a tensor at byte"],
    ),
    "a type that does not exist": (of_type(99), [FORMAT, UNSUPPORTED], [ENCODER]),
    "strings for weights": (
        of_type(TensorProto.STRING),
        [FORMAT, UNSUPPORTED],
        [ENCODER],
    ),
    "a weight that is no number": (not_finite(math.nan), [FORMAT], ["nan"]),
    "an infinite weight": (not_finite(math.inf), [FORMAT], ["inf"]),
    "two initializers of one name": (twice, [FORMAT], [ENCODER, "MatMul"]),
    "a cycle": (cycle, [FORMAT, UNSUPPORTED], [ENCODER]),
    "a function that calls itself": (
        calls_itself,
        [FORMAT, UNSUPPORTED],
        [ENCODER, "Again"],
    ),
    "a layer without its norms": (without_last_layer, [FORMAT, UNSUPPORTED], [ENCODER]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_lies_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    change, statuses, words = GRAPHS[name]
    model = onnx.load(folder / ENCODER)
    change(model)
    (folder / ENCODER).write_bytes(model.SerializeToString())
    check(folder, statuses, words)


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


#: What a sentence names where it is not the value itself.
NAMED = {"another number of layers": "block.2"}

#: A whole config.json, or values that it gets.
CONFIGURATIONS = {
    "absurd layers": {"num_layers": 2000000000},
    "absurd width": {"d_model": (1 << 63) - 1},
    "a negative width": {"d_kv": -8},
    "no heads": {"num_heads": 0},
    "another number of layers": {"num_layers": 3},
    "an endless number": '{"d_model": 1e999999999}',
    "a number of a million digits": '{"d_model": ' + "9" * 1000000 + "}",
    "depth": '{"x": ' + "[" * 200000 + "]" * 200000 + "}",
    "a string without end": '{"model_type": "' + "t" * 1000000,
    "half a surrogate": '{"model_type": "\\ud800"}',
    "a list": "[]",
    "nothing": "",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_that_lies_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    content, path = CONFIGURATIONS[name], folder / "config.json"
    if isinstance(content, dict):
        word = NAMED.get(name, next(iter(content)))
        content = json.dumps(json.loads(path.read_text()) | content)
    else:
        word = "config.json"
    path.write_text(content)
    check(folder, [FORMAT, UNSUPPORTED], [word])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x0a\xff",
        b"\x0a\x02\x0a\x00",
        b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    ],
)
def test_a_vocabulary_that_is_none_is_refused(tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    (folder / "spiece.model").write_bytes(content)
    check(folder, [FORMAT, UNSUPPORTED], ["spiece.model"])


#: A whole tokenizer.json that is none, or lies.
TOKENIZERS = {
    "nothing": "",
    "a list": "[]",
    "cut off": '{"version": "1.0", "model": {"type": "Unigram", "vocab": [["a", 0',
    "depth": '{"model": ' * 100000 + "}" * 100000,
    "no model": '{"version": "1.0"}',
    "another model": '{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
    "no vocabulary": '{"model": {"type": "Unigram", "unk_id": 0}}',
    "an entry without a score": '{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a"]]}}',
    "a score that is no number": '{"model": {"type": "Unigram", "vocab": [["a", "b"]]}}',
    "an unknown id beyond the vocabulary": (
        '{"model": {"type": "Unigram", "unk_id": 99, "vocab": [["a", 0]]}}'
    ),
    "a million empty lists": '{"model": {"type": "Unigram", "vocab": [' + "[]," * 10**6 + "[]]}}",
    "a million keys": "{" + ",".join(f'"{n}": {{}}' for n in range(10**6)) + "}",
    "charsmap of garbage": (
        '{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="},'
        ' "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}}'
    ),
    "an added token beyond the table": (
        '{"added_tokens": [{"id": 2000000000, "content": "x", "special": true}],'
        ' "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}}'
    ),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_json_that_lies_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    (folder / "spiece.model").unlink()
    (folder / "tokenizer.json").write_text(TOKENIZERS[name])
    check(folder, [FORMAT, UNSUPPORTED, -30], ["tokenizer.json"])


def test_a_tokenizer_that_makes_texts_grow_without_end_is_refused(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    (folder / "spiece.model").unlink(missing_ok=True)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    vocabulary = [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["a", -1]]
    vocabulary += [[f"p{number}", -2] for number in range(4, size)]
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": {"type": "Sequence", "normalizers": [step] * 9},
                "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581"},
                "decoder": {"type": "Metaspace", "replacement": "\u2581"},
                "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary},
            }
        )
    )
    with unsay.open(folder) as model, pytest.raises(unsay.Error, match="64 times"):
        model.encode("a" * 100)
