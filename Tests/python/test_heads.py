"""Whether the output head is the embedding table, a matrix of its own, or not there at all."""

import json
import shutil

import export_routes
import numpy
import onnx
import pytest
import unsay
from conftest import FIXTURES
from export_tools import edited
from onnx import numpy_helper

IDS = [5, 6, 7, 1]


def head_of(graph: onnx.GraphProto) -> onnx.TensorProto:
    """The matrix that makes the logits, [d_model, vocab_size]."""
    last = next(node for node in graph.node if "logits" in node.output)
    return next(tensor for tensor in graph.initializer if tensor.name == last.input[1])


@pytest.mark.parametrize("route", ["cast float16", "cast bfloat16", "QDQ static", "uint8"])
@pytest.mark.parametrize("tuned", [0, 0.1])
def test_a_tuned_head_is_its_own_however_it_is_stored(route, tuned, tmp_path):
    source = shutil.copytree(FIXTURES / "t5v10__ts_whole", tmp_path / "source")
    with edited(source / "model.onnx") as model:
        tensor = head_of(model.graph)
        values = numpy_helper.to_array(tensor)
        noise = numpy.random.default_rng(0).standard_normal(values.shape).astype(values.dtype)
        tensor.CopyFrom(numpy_helper.from_array(values + tuned * values.std() * noise, tensor.name))
    folder = export_routes.make(source, route, tmp_path / "stored")
    with unsay.open(folder) as model:
        assert bool(model.info.ties_head) == (tuned == 0)


def test_a_decoder_without_a_head_opens_for_its_states(tmp_path):
    folder = shutil.copytree(FIXTURES / "t5v10__dy23_whole", tmp_path / "model")
    with unsay.open(folder) as model:
        expected = numpy.asarray(model.encoder_states(IDS))
    with edited(folder / "model.onnx") as model:
        graph = model.graph
        norm = [node for node in graph.node if node.op_type == "RMSNormalization"][-1]
        behind = [node for node in graph.node if set(node.input) & {norm.output[0]}]
        behind += [node for node in graph.node if "logits" in node.output]
        for node in behind:
            graph.node.remove(node)
        norm.output[0] = "last_hidden_state"
        graph.output[0].name = "last_hidden_state"
        graph.output[0].type.tensor_type.shape.dim[2].dim_value = expected.shape[1]
    config = json.loads((folder / "config.json").read_text())
    config.update(architectures=["T5Model"], tie_word_embeddings=True)
    (folder / "config.json").write_text(json.dumps(config))
    with unsay.open(folder) as model:
        assert numpy.array_equal(numpy.asarray(model.encoder_states(IDS)), expected)
        for write in (
            lambda: model.generate(IDS),
            lambda: model.logits(IDS, IDS),
            lambda: model.patch(),
        ):
            with pytest.raises(unsay.UnsupportedError, match="no output head"):
                write()
