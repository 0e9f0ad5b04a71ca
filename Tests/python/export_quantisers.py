"""Routes through the optimiser and the quantisers of onnxruntime and the like of others."""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
from export_tools import (
    ROUTES,
    Route,
    edited,
    every_model,
    graphs,
    replaced,
    route,
    stored,
    weights,
)
from onnx import TensorProto, helper, numpy_helper


def optimized(level: str) -> Route:
    def make(source: Path, target: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}"
        )
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    return lambda folder: replaced(folder, make)


for _level in ("basic", "extended", "all"):
    ROUTES[f"onnxruntime, {_level}"] = optimized(_level)


def dynamic(**options) -> Route:
    def make(source: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        kind = QuantType.QInt8 if options["signed"] else QuantType.QUInt8
        quantize_dynamic(
            source,
            target,
            weight_type=kind,
            per_channel=options["per_channel"],
            extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
        )

    return lambda folder: replaced(folder, make)


ROUTES["int8 per channel"] = dynamic(signed=True, per_channel=True)
ROUTES["uint8"] = dynamic(signed=False, per_channel=False)


def optimized_after(name: str) -> Route:
    """onnxruntime's fused operators for what a quantiser made."""

    def both(folder: Path) -> None:
        ROUTES[name](folder)
        ROUTES["onnxruntime, extended"](folder)

    return both


ROUTES["uint8, onnxruntime"] = optimized_after("uint8")


@route("8-bit products")
def _(folder: Path) -> None:
    """QLinearMatMul, as static quantisers write it: the data, too, are 8-bit integers."""
    for path in every_model(folder):
        with edited(path) as model:
            names = {tensor.name: tensor for _, tensor in weights(model)}
            for graph in graphs(model.graph):
                for index, node in reversed(list(enumerate(graph.node))):
                    weight = names.get(node.input[1]) if node.op_type == "MatMul" else None
                    if weight is None:
                        continue
                    values = numpy_helper.to_array(weight)
                    scale = numpy.float32(numpy.abs(values).max() / 127)
                    integers = numpy.round(values / scale).astype(numpy.int8)
                    stem = f"{node.output[0]}_{index}"
                    data, output = node.input[0], node.output[0]
                    constants = {
                        "scale": numpy.float32(0.1),
                        "zero": numpy.int8(0),
                        "weight": integers,
                        "weight_scale": scale,
                    }
                    for name, value in constants.items():
                        graph.initializer.append(
                            numpy_helper.from_array(numpy.asarray(value), f"{stem}_{name}")
                        )
                    scale_and_zero = [f"{stem}_scale", f"{stem}_zero"]
                    graph.node.remove(node)
                    made = [
                        helper.make_node(
                            "QuantizeLinear", [data, *scale_and_zero], [f"{stem}_data"]
                        ),
                        helper.make_node(
                            "QLinearMatMul",
                            [
                                f"{stem}_data",
                                *scale_and_zero,
                                f"{stem}_weight",
                                f"{stem}_weight_scale",
                                f"{stem}_zero",
                                *scale_and_zero,
                            ],
                            [f"{stem}_product"],
                        ),
                        helper.make_node(
                            "DequantizeLinear", [f"{stem}_product", *scale_and_zero], [output]
                        ),
                    ]
                    for each in reversed(made):
                        graph.node.insert(index, each)


@route("QDQ static")
def _(folder: Path) -> None:
    """Weights as integers behind DequantizeLinear, per channel; activations stay float."""
    for path in every_model(folder):
        with edited(path) as model:
            for graph, tensor in list(weights(model)):
                values = numpy_helper.to_array(tensor)
                axis = values.ndim - 1
                largest = numpy.abs(values).max(tuple(range(axis)) or None, keepdims=False)
                scale = numpy.asarray(numpy.maximum(largest, 1e-9) / 127, numpy.float32)
                if values.ndim == 1:
                    scale = numpy.float32(numpy.maximum(numpy.abs(values).max(), 1e-9) / 127)
                integers = numpy.clip(numpy.round(values / scale), -127, 127).astype(numpy.int8)
                graph.initializer.append(stored(tensor, integers, TensorProto.INT8))
                graph.initializer.append(
                    numpy_helper.from_array(numpy.asarray(scale), tensor.name + "_scale")
                )
                graph.node.insert(
                    0,
                    helper.make_node(
                        "DequantizeLinear",
                        [tensor.name + "_stored", tensor.name + "_scale"],
                        [tensor.name],
                        axis=axis,
                    ),
                )
                graph.initializer.remove(tensor)


def blocks(**options) -> Route:
    def make(source: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantFormat
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )

        model = onnx.load(source)
        config = DefaultWeightOnlyQuantConfig(
            block_size=16,
            is_symmetric=options.get("symmetric", True),
            bits=options.get("bits", 4),
            quant_format=QuantFormat.QDQ if options.get("qdq") else QuantFormat.QOperator,
        )
        quantizer = MatMulNBitsQuantizer(model, algo_config=config)
        quantizer.process()
        onnx.save(quantizer.model.model, target)

    return lambda folder: replaced(folder, make)


ROUTES["4 bits"] = blocks()
ROUTES["4 bits asymmetric"] = blocks(symmetric=False)
ROUTES["8 bits in blocks"] = blocks(bits=8)
ROUTES["4 bits QDQ"] = blocks(qdq=True)


@route("4 bits with g_idx")
def _(folder: Path) -> None:
    """Columns that name their scale, as in blocks that a GPTQ quantiser reordered."""
    ROUTES["4 bits"](folder)
    for path in every_model(folder):
        with edited(path) as model:
            for graph in graphs(model.graph):
                for node in graph.node:
                    if node.op_type != "MatMulNBits":
                        continue
                    sizes = {each.name: each.i for each in node.attribute}
                    groups = numpy.arange(sizes["K"], dtype=numpy.int32) // sizes["block_size"]
                    random = numpy.random.default_rng(sizes["K"])
                    name = node.input[1] + "_g_idx"
                    graph.initializer.append(
                        numpy_helper.from_array(random.permutation(groups), name)
                    )
                    node.input[:] = [*node.input[:3], "", name]


def bnb4(kind: int) -> Route:
    def make(source: Path, target: Path) -> None:
        from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer

        quantizer = MatMulBnb4Quantizer(onnx.load(source), kind, 64)
        quantizer.process()
        onnx.save(quantizer.model.model, target)

    return lambda folder: replaced(folder, make)


ROUTES["FP4"] = bnb4(0)
ROUTES["NF4"] = bnb4(1)
