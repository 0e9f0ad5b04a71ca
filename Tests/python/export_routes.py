"""What people do to exported folders: each route makes another layout of the same model.

A route is a function of the .onnx files of a folder, which it changes in place. The tools are
those that users take: onnx's own helpers and onnxruntime's optimiser and quantisers.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

Route = Callable[[Path], None]
ROUTES: dict[str, Route] = {}

#: Routes whose files hold rounded weights: what is read differs from the original.
LOSSY = {
    "float16",
    "cast float16",
    "int32_data float16",
    "cast bfloat16",
    "int8 per channel",
    "uint8",
    "uint8, onnxruntime",
    "8-bit products",
    "QDQ static",
    "4 bits",
    "4 bits asymmetric",
    "8 bits in blocks",
    "4 bits QDQ",
    "4 bits with g_idx",
    "NF4",
    "FP4",
}

#: Routes that change what the model is, not only how it is stored.
ANOTHER_MODEL = {"4 bits with g_idx"}


def route(name: str) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        ROUTES[name] = function
        return function

    return register


def every_model(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


@contextmanager
def edited(path: Path):
    """A model with its external data loaded; saved as one file."""
    model = onnx.load(path)
    yield model
    onnx.save(model, path)
    for data in path.parent.glob(path.name + "*data"):
        data.unlink()


def graphs(graph: onnx.GraphProto) -> Iterable[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def weights(model: onnx.ModelProto) -> Iterable[tuple[onnx.GraphProto, TensorProto]]:
    """Floating initializers of more than one element."""
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.FLOAT and numpy.prod(tensor.dims) > 1:
                yield graph, tensor


# ---- Where the bytes lie ----------------------------------------------------------------


@route("as exported")
def _(folder: Path) -> None:
    pass


@route("external, one file")
def _(folder: Path) -> None:
    for path in every_model(folder):
        with_data = onnx.load(path)
        location = path.name + "_data"
        (folder / location).unlink(missing_ok=True)
        onnx.save_model(
            with_data, path, save_as_external_data=True, location=location, size_threshold=64
        )


@route("external, a file a tensor")
def _(folder: Path) -> None:
    for path in every_model(folder):
        model = onnx.load(path)
        for data in folder.glob(path.name + "*data"):
            data.unlink()
        for number, (_, tensor) in enumerate(weights(model)):
            location = f"{path.stem}__{number}"
            (folder / location).write_bytes(tensor.raw_data)
            onnx.external_data_helper.set_external_data(tensor, location)
            # As torch writes them: a location and nothing else.
            del tensor.external_data[1:]
            tensor.ClearField("raw_data")
        onnx.save(model, path)


@route("float_data")
def _(folder: Path) -> None:
    for path in every_model(folder):
        with edited(path) as model:
            for _, tensor in weights(model):
                values = numpy_helper.to_array(tensor)
                tensor.ClearField("raw_data")
                tensor.float_data.extend(values.ravel().tolist())


@route("Constant nodes")
def _(folder: Path) -> None:
    for path in every_model(folder):
        with edited(path) as model:
            for graph, tensor in list(weights(model)):
                graph.initializer.remove(tensor)
                node = helper.make_node("Constant", [], [tensor.name], value=tensor)
                graph.node.insert(0, node)


@route("initializers as inputs")
def _(folder: Path) -> None:
    for path in every_model(folder):
        with edited(path) as model:
            for graph, tensor in weights(model):
                if graph.name == model.graph.name:
                    graph.input.append(
                        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                    )


def scramble(model: onnx.ModelProto) -> None:
    kept = {value.name for value in [*model.graph.input, *model.graph.output]} | {""}
    names: dict[str, str] = {}

    def scrambled(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"x{len(names)}")

    for graph in graphs(model.graph):
        del graph.value_info[:]
        for tensor in graph.initializer:
            tensor.name = scrambled(tensor.name)
        for value in graph.output if graph is not model.graph else []:
            value.name = scrambled(value.name)
        for node in graph.node:
            node.name = ""
            del node.metadata_props[:]
            node.input[:] = [scrambled(name) for name in node.input]
            node.output[:] = [scrambled(name) for name in node.output]
    del model.metadata_props[:]


@route("names scrambled")
def _(folder: Path) -> None:
    for path in every_model(folder):
        with edited(path) as model:
            scramble(model)


@route("local functions")
def _(folder: Path) -> None:
    """Every product with a matrix becomes the call of a function, as older torch wrote it."""
    for path in every_model(folder):
        with edited(path) as model:
            version = max(set_.version for set_ in model.opset_import if set_.domain == "")
            model.functions.append(
                helper.make_function(
                    "local",
                    "Linear",
                    ["x", "w"],
                    ["y"],
                    [
                        helper.make_node("Identity", ["w"], ["v"]),
                        helper.make_node("MatMul", ["x", "v"], ["y"]),
                    ],
                    [helper.make_opsetid("", version)],
                )
            )
            model.opset_import.append(helper.make_opsetid("local", 1))
            model.ir_version = max(model.ir_version, 8)
            names = {tensor.name for _, tensor in weights(model)}
            for graph in graphs(model.graph):
                for node in graph.node:
                    if node.op_type == "MatMul" and node.input[1] in names:
                        node.op_type, node.domain = "Linear", "local"


# ---- Other floating types ---------------------------------------------------------------


def stored(tensor: TensorProto, values: numpy.ndarray, data_type: int) -> TensorProto:
    other = TensorProto(name=tensor.name + "_stored", data_type=data_type, dims=tensor.dims)
    other.raw_data = values.tobytes()
    return other


def cast(folder: Path, kind, data_type: int) -> None:
    """Stores weights in another type, with a Cast to float before their use."""
    for path in every_model(folder):
        with edited(path) as model:
            for graph, tensor in list(weights(model)):
                values = numpy_helper.to_array(tensor).astype(kind)
                node = helper.make_node(
                    "Cast", [tensor.name + "_stored"], [tensor.name], to=TensorProto.FLOAT
                )
                graph.node.insert(0, node)
                graph.initializer.append(stored(tensor, values, data_type))
                graph.initializer.remove(tensor)


@route("cast float16")
def _(folder: Path) -> None:
    cast(folder, numpy.float16, TensorProto.FLOAT16)


@route("cast bfloat16")
def _(folder: Path) -> None:
    cast(folder, ml_dtypes.bfloat16, TensorProto.BFLOAT16)


@route("cast float64")
def _(folder: Path) -> None:
    cast(folder, numpy.float64, TensorProto.DOUBLE)


@route("int32_data float16")
def _(folder: Path) -> None:
    cast(folder, numpy.float16, TensorProto.FLOAT16)
    for path in every_model(folder):
        with edited(path) as model:
            for graph in graphs(model.graph):
                for tensor in graph.initializer:
                    if tensor.data_type == TensorProto.FLOAT16:
                        bits = numpy.frombuffer(tensor.raw_data, numpy.uint16)
                        tensor.ClearField("raw_data")
                        tensor.int32_data.extend(bits.tolist())


@route("float16")
def _(folder: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for path in every_model(folder):
        converted = convert_float_to_float16(onnx.load(path), keep_io_types=True)
        onnx.save(converted, path)
        for data in folder.glob(path.name + "*data"):
            data.unlink()


# ---- onnxruntime's optimiser and quantisers ---------------------------------------------


def replaced(folder: Path, make: Callable[[Path, Path], object]) -> None:
    """Runs a tool on each file, with its result in the file's place."""
    logging.disable(logging.WARNING)
    for path in every_model(folder):
        whole = path.with_suffix(".whole")
        onnx.save(onnx.load(path), whole)
        for data in folder.glob(path.name + "*data"):
            data.unlink()
        path.unlink()
        make(whole, path)
        whole.unlink()
    logging.disable(logging.NOTSET)


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


def make(source: Path, name: str, target: Path) -> Path:
    """A copy of an exported folder, taken along a route."""
    shutil.copytree(source, target)
    ROUTES[name](target)
    return target
