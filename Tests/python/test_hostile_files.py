"""Model files made to do harm: each is refused by status and by name, or opens; none ends the
process, takes it for long, or makes it hold memory out of proportion to the file."""

import math
import shutil

import onnx
import pytest
from conftest import MODELS
from hostile import ENCODER, FORMAT, UNSUPPORTED, check
from onnx import TensorProto, helper


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
    "a dimension of zero": (dims(0, 24), [FORMAT, UNSUPPORTED], [ENCODER, "MatMul"]),
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
