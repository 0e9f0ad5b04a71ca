"""Reads the ONNX folders of this repository back into PyTorch, by the names of the exporter.

The golden files must describe the committed weights, so every script here starts from
the committed ONNX files rather than from whatever produced them. This reader knows only
what Optimum's classic exporter writes; the library's own reader does not share a line.
"""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import T5Config, T5ForConditionalGeneration

PARAMETER = re.compile(r"(shared|lm_head|embed_tokens|final_layer_norm|block)\b.*")
PRODUCT = re.compile(r"/(?:encoder/|decoder/)?(block\.\d+)/(layer\.\d+)/(\w+)/(\w+)/MatMul$")
TABLE_NAMES = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}


def graphs(graph):
    """The graph itself, then the graphs of its If branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def full_name(name, stack):
    """The state dict's name of an initializer or of a product, or None."""
    name = re.sub(r"_merged_\d+$", "", name)
    product = PRODUCT.search(name)
    if product:
        return f"{stack}.{'.'.join(product.groups())}.weight"
    if name.endswith("lm_head/MatMul"):
        return "lm_head.weight"
    match = PARAMETER.search(name)
    if not match or not match.group(0).endswith(".weight"):
        return None
    name = match.group(0)
    if name in ("shared.weight", "embed_tokens.weight"):
        return "shared.weight"
    return name if name == "lm_head.weight" else f"{stack}.{name}"


def state_dict(folder):
    """Every parameter stored under `folder`, as float32; copies must agree bit for bit."""
    found = {}

    def add(name, array):
        array = np.ascontiguousarray(array, dtype=np.float32)
        if name in found and not np.array_equal(found[name], array):
            raise ValueError(f"{folder}: the copies of {name} differ")
        found[name] = array

    for path in sorted(Path(folder).glob("*.onnx")):
        stack = "encoder" if path.stem.startswith("encoder") else "decoder"
        model = onnx.load(path)
        levels = list(graphs(model.graph))
        stored = {t.name: numpy_helper.to_array(t) for g in levels for t in g.initializer}
        cast = {n.output[0]: n.input[0] for g in levels for n in g.node if n.op_type == "Cast"}
        for name, array in stored.items():
            if full_name(name, stack) and array.ndim:
                add(full_name(name, stack), array)
        for node in (n for g in levels for n in g.node if n.op_type == "MatMul"):
            weight = stored.get(cast.get(node.input[1], node.input[1]))
            if weight is not None:
                add(full_name(node.name, stack), weight.T)
    return {name: torch.tensor(array) for name, array in found.items()}


def load(folder, dtype=torch.float32):
    """The model of `folder` in evaluation mode: no dropout."""
    config = T5Config.from_pretrained(folder)
    weights = state_dict(folder)
    if config.tie_word_embeddings:
        head = weights.pop("lm_head.weight", weights["shared.weight"])
        if not torch.equal(head, weights["shared.weight"]):
            raise ValueError(f"{folder}: config.json ties the head, but its weights differ")
    model = T5ForConditionalGeneration(config)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = TABLE_NAMES | ({"lm_head.weight"} if config.tie_word_embeddings else set())
    if set(missing) - tied or unexpected:
        raise ValueError(f"{folder}: missing {sorted(missing)}, unexpected {sorted(unexpected)}")
    model.tie_weights()
    return model.to(dtype).eval()


def load_lines(path):
    """The objects of a JSON lines file."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def cut_inputs(pieces, rows):
    """The first ids of the first eight inputs, an end after each: short, long, ragged."""
    lengths = (3, 8, 12, 20, 33, 48, 64, 90)  # across the 8 near and 24 far position buckets
    return [[*pieces.encode(r["input"])[: n - 1], 1] for r, n in zip(rows, lengths)]


def padded(rows, value=-1):
    """int32 [rows, longest], filled up with `value`; and the lengths, int32 [rows]."""
    out = np.full((len(rows), max(map(len, rows))), value, dtype=np.int32)
    for row, ids in zip(out, rows):
        row[: len(ids)] = ids
    return out, np.array([len(ids) for ids in rows], dtype=np.int32)
