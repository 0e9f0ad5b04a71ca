"""Routes that keep every weight in floats: where the bytes lie, and of which type they are."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy
import onnx
from export_tools import edited, every_model, graphs, route, stored, weights
from onnx import TensorProto, helper, numpy_helper

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
