"""Every small change of a graph: of each operation, each attribute, each constant, and of what
flows between. Each is a label, a kind, and a function that changes a model in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy
import onnx
from export_tools import graphs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array, to_array

Edit = Callable[[GraphProto, int], None]


@dataclass(frozen=True)
class Change:
    """One change of one node or initializer of the graph at `graph` among all of a model's."""

    kind: str
    what: str
    role: str
    graph: int
    index: int
    edit: Edit

    def apply(self, model: ModelProto) -> ModelProto:
        changed = ModelProto()
        changed.CopyFrom(model)
        self.edit(list(graphs(changed.graph))[self.graph], self.index)
        return changed


#: Operations that take the same inputs.
LIKE = {
    "Abs": ["Neg"],
    "Add": ["Sub", "Mul"],
    "And": ["Or"],
    "Div": ["Mul"],
    "Equal": ["Greater"],
    "Erf": ["Tanh"],
    "FastGelu": ["QuickGelu"],
    "Gelu": ["Relu"],
    "Greater": ["Less", "GreaterOrEqual"],
    "Less": ["Greater", "LessOrEqual"],
    "LessOrEqual": ["Less"],
    "Log": ["Sqrt"],
    "Max": ["Min"],
    "Min": ["Max"],
    "Mul": ["Div", "Add"],
    "Neg": ["Abs"],
    "Pow": ["Mul"],
    "Reciprocal": ["Sqrt"],
    "ReduceMean": ["ReduceSum", "ReduceMax"],
    "Relu": ["Tanh", "Sigmoid"],
    "Sigmoid": ["Tanh"],
    "Softmax": ["LogSoftmax"],
    "Sqrt": ["Exp"],
    "Sub": ["Add"],
    "Tanh": ["Relu"],
}
FLOATS = {TensorProto.FLOAT: numpy.float32, TensorProto.FLOAT16: numpy.float16}


def replaced(operation: str) -> Edit:
    def edit(graph: GraphProto, index: int) -> None:
        graph.node[index].op_type = operation

    return edit


def reordered(order: list[int]) -> Edit:
    """Inputs in another order."""

    def edit(graph: GraphProto, index: int) -> None:
        inputs = list(graph.node[index].input)
        graph.node[index].input[:] = [inputs[at] for at in order] + inputs[len(order) :]

    return edit


def bypassed(input_index: int) -> Edit:
    """The node's first output becomes one of its inputs."""

    def edit(graph: GraphProto, index: int) -> None:
        node = graph.node[index]
        kept = helper.make_node("Identity", [node.input[input_index]], [node.output[0]])
        kept.name = node.name
        graph.node[index].CopyFrom(kept)

    return edit


def inserted(operation: str, kind: type, number: float | None = None) -> Edit:
    """A node behind the first output, before all who read it."""

    def edit(graph: GraphProto, index: int) -> None:
        output = graph.node[index].output[0]
        graph.node[index].output[0] = before = output + "_before"
        inputs = [before]
        made = []
        if number is not None:
            value = from_array(numpy.array(number, kind), "")
            made.append(helper.make_node("Constant", [], [output + "_number"], value=value))
            inputs.append(output + "_number")
        made.append(helper.make_node(operation, inputs, [output], name="inserted"))
        for node in reversed(made):
            graph.node.insert(index + 1, node)

    return edit


def attribute_set(name: str, value: object) -> Edit:
    def edit(graph: GraphProto, index: int) -> None:
        node = graph.node[index]
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return edit


def constant_of(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant":
        return None
    return next((each.t for each in node.attribute if each.name == "value"), None)


def numbers_changed(body: Callable[[numpy.ndarray], numpy.ndarray], is_node: bool) -> Edit:
    def edit(graph: GraphProto, index: int) -> None:
        tensor = constant_of(graph.node[index]) if is_node else graph.initializer[index]
        assert tensor is not None
        values = to_array(tensor)
        tensor.CopyFrom(from_array(body(values).astype(values.dtype), tensor.name))

    return edit


# ---- Which changes there are --------------------------------------------------------------


def of_node(node: NodeProto, kind: int | None) -> Iterator[tuple[str, str, Edit]]:
    for operation in LIKE.get(node.op_type, []):
        yield "operation", f"becomes {operation}", replaced(operation)
    inputs = [name for name in node.input if name]
    if len(inputs) >= 2 and node.op_type not in ("Reshape", "Unsqueeze", "Expand", "Squeeze"):
        yield "operands", "swapped", reordered([1, 0])
    if node.op_type == "Where":
        yield "operands", "swapped", reordered([0, 2, 1])
    if node.op_type != "Constant":
        for at in range(min(len(node.input), 3)):
            if node.input[at]:
                yield "removed", f"gives input {at}", bypassed(at)
    for attribute in node.attribute:
        yield from of_attribute(attribute)
    if node.op_type == "Softmax":
        yield "attribute", "axis 1", attribute_set("axis", 1)
    if node.op_type == "Cast":
        yield "attribute", "to int64", attribute_set("to", TensorProto.INT64)
    if kind in FLOATS:
        number = FLOATS[kind]
        for operation in ("Neg", "Tanh", "Relu", "Identity"):
            yield "inserted", operation, inserted(operation, number)
        for operation, value in (("Mul", 0.5), ("Add", 0.25), ("Pow", 2.0)):
            yield "inserted", f"{operation} {value}", inserted(operation, number, value)
    elif kind == TensorProto.INT64:
        for operation, value in (("Add", 1), ("Mul", 2), ("Sub", 1)):
            yield "inserted", f"{operation} {value}", inserted(operation, numpy.int64, value)
        yield "inserted", "Identity", inserted("Identity", numpy.int64)
    elif kind == TensorProto.BOOL:
        yield "inserted", "Not", inserted("Not", numpy.bool_)


def of_attribute(attribute: AttributeProto) -> Iterator[tuple[str, str, Edit]]:
    name = attribute.name
    if attribute.type == AttributeProto.INT:
        for value in (attribute.i + 1, attribute.i - 1):
            yield "attribute", f"{name} {value}", attribute_set(name, value)
    elif attribute.type == AttributeProto.FLOAT:
        for value in (attribute.f * 2 + 0.1, attribute.f * 0.5, -attribute.f):
            yield "attribute", f"{name} {value}", attribute_set(name, float(value))
    elif attribute.type == AttributeProto.INTS:
        values = list(attribute.ints)
        if len(values) > 1:
            turned = values[1:] + values[:1]
            yield "attribute", f"{name} {turned}", attribute_set(name, turned)
            swapped = [*values[:-2], values[-1], values[-2]]
            yield "attribute", f"{name} {swapped}", attribute_set(name, swapped)
        yield "attribute", f"{name} + 1", attribute_set(name, [value + 1 for value in values])
    elif attribute.type == AttributeProto.STRING:
        yield "attribute", f"{name} tanh", attribute_set(name, "tanh")


def of_numbers(tensor: TensorProto, is_node: bool) -> Iterator[tuple[str, str, Edit]]:
    def change(what: str, body: Callable) -> tuple[str, str, Edit]:
        return "constant", what, numbers_changed(body, is_node)

    if tensor.data_type in FLOATS:
        yield change("times 1.5", lambda values: values * 1.5)
        yield change("times 0.9", lambda values: values * 0.9)
        yield change("negated", lambda values: -values)
        yield change("plus 0.5", lambda values: values + 0.5)
        yield change("zeroed", lambda values: values * 0)
    elif tensor.data_type in (TensorProto.INT64, TensorProto.INT32):
        yield change("plus 1", lambda values: values + 1)
        yield change("minus 1", lambda values: values - 1)
        yield change("doubled", lambda values: values * 2)
        yield change("negated", lambda values: -values)
    elif tensor.data_type == TensorProto.BOOL:
        yield change("negated", lambda values: ~values)
    elif tensor.data_type in (TensorProto.UINT8, TensorProto.INT8):
        yield change("plus 1", lambda values: values + 1)


def element_types(model: ModelProto) -> dict[str, int]:
    """The types of values, as far as ONNX's own inference knows them."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: value.type.tensor_type.elem_type
        for graph in graphs(inferred.graph)
        for value in [*graph.value_info, *graph.output]
    }


def every_change(model: ModelProto) -> Iterator[Change]:
    types = element_types(model)
    for number, graph in enumerate(graphs(model.graph)):
        for index, node in enumerate(graph.node):
            if any(each.type == AttributeProto.GRAPH for each in node.attribute):
                continue
            label = node.name or node.output[0]
            tensor = constant_of(node)
            found = (
                of_numbers(tensor, is_node=True)
                if tensor is not None
                else of_node(node, types.get(node.output[0]))
            )
            for kind, what, edit in found:
                yield Change(kind, f"{label} ({node.op_type}): {what}", label, number, index, edit)
        for index, tensor in enumerate(graph.initializer):
            for kind, what, edit in of_numbers(tensor, is_node=False):
                yield Change(
                    kind, f"{tensor.name} (initializer): {what}", tensor.name, number, index, edit
                )
