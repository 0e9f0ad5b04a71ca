"""What the routes of exported folders are made with; see export_routes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto

Route = Callable[[Path], None]
ROUTES: dict[str, Route] = {}


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


def stored(tensor: TensorProto, values: numpy.ndarray, data_type: int) -> TensorProto:
    other = TensorProto(name=tensor.name + "_stored", data_type=data_type, dims=tensor.dims)
    other.raw_data = values.tobytes()
    return other


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
