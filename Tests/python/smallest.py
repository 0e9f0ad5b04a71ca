"""A model just large enough to open, for tests of what lies beside its weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import onnx


def smallest_model(folder: Path, vocab_size: int, **config) -> None:
    """A container of the weights of a T5 of one layer each, just large enough to open."""
    attention = {f"SelfAttention.{part}": (8, 8) for part in "qkvo"}
    blocks = {"encoder": [attention], "decoder": [attention, dict(attention)]}
    blocks["decoder"][1] = {f"EncDecAttention.{part}": (8, 8) for part in "qkvo"}
    shapes = {"shared": (vocab_size, 8)}
    for stack, layers in blocks.items():
        block = f"{stack}.block.0.layer"
        for index, layer in enumerate(layers):
            shapes |= {f"{block}.{index}.{part}": shape for part, shape in layer.items()}
        shapes[f"{block}.0.SelfAttention.relative_attention_bias"] = (32, 2)
        shapes[f"{block}.{len(layers)}.DenseReluDense.wi"] = (8, 8)
        shapes[f"{block}.{len(layers)}.DenseReluDense.wo"] = (8, 8)
        for index in range(len(layers) + 1):
            shapes[f"{block}.{index}.layer_norm"] = (8,)
        shapes[f"{stack}.final_layer_norm"] = (8,)
    tensors = [
        onnx.numpy_helper.from_array(numpy.ones(shape, numpy.float32), f"{name}.weight")
        for name, shape in shapes.items()
    ]
    graph = onnx.helper.make_graph([], "weights", [], [], tensors)
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")
    about = {"num_heads": 2, "d_kv": 4, "vocab_size": vocab_size, **config}
    (folder / "config.json").write_text(json.dumps(about))
