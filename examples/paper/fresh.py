"""A model folder with random weights, in the graph and layout of a folder that exists.

Every initializer of the graph that is a weight, or a transposed copy of one, is replaced by
random numbers of T5's own initialisation; all copies of a weight stay copies. So onnxruntime
runs the folder as it ran the one it was made from, and the library trains it from nothing.

    python -m paper.fresh models/debsum build/fresh --seed 1
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Tuple

import numpy
import unsay


class Sizes(NamedTuple):
    """What the initialisation depends on, named as in config.json."""

    d_model: int
    d_kv: int
    d_ff: int
    num_heads: int

    @classmethod
    def of(cls, config: Any) -> "Sizes":
        """Of a config.json, or of what a model says about itself."""
        values = config if isinstance(config, dict) else vars(config)
        return cls(*(values[name] for name in cls._fields))


def spread(name: str, sizes: Sizes) -> float:
    """The standard deviation of a weight in transformers' T5, initializer_factor 1."""
    if name.endswith(("shared.weight", "lm_head.weight", "embed_tokens.weight")):
        return 1.0
    if name.endswith(".q.weight"):
        return float((sizes.d_model * sizes.d_kv) ** -0.5)
    if name.endswith(("SelfAttention.o.weight", "EncDecAttention.o.weight")):
        return float((sizes.num_heads * sizes.d_kv) ** -0.5)
    if name.endswith(".wo.weight"):
        return float(sizes.d_ff**-0.5)
    return float(sizes.d_model**-0.5)


def random_weights(
    model: unsay.Model, seed: int
) -> Iterator[Tuple[str, numpy.ndarray, numpy.ndarray]]:
    """(name, the model's values, random values) of every weight."""
    generator = numpy.random.default_rng(seed)
    for tensor in model.tensors():
        old = numpy.asarray(model.tensor(tensor.name))
        if tensor.name.endswith("layer_norm.weight"):
            yield tensor.name, old, numpy.ones(tensor.shape, numpy.float32)
            continue
        values = generator.standard_normal(tensor.shape, dtype=numpy.float32)
        yield tensor.name, old, values * numpy.float32(spread(tensor.name, Sizes.of(model.info)))


def make(source: Path, target: Path, seed: int) -> None:
    """Writes `target`, which must not exist, from the folder `source`."""
    import onnx
    from onnx import numpy_helper

    # Keyed by stored bytes, so that copies and transposed copies are found whatever an
    # exporter called them.
    replacement: Dict[Tuple[Tuple[int, ...], bytes], numpy.ndarray] = {}
    with unsay.open(source) as model:
        names = set()
        for name, old, new in random_weights(model, seed):
            for kind in (numpy.float32, numpy.float16):
                for values, fresh in ((old, new), (old.T, new.T)):
                    stored = numpy.ascontiguousarray(values.astype(kind))
                    key = (stored.shape, stored.tobytes())
                    if kind == numpy.float32 or numpy.array_equal(stored, values):
                        replacement.setdefault(key, fresh.astype(kind))
            names.add(name)
    target.mkdir(parents=True)
    replaced = 0
    for path in sorted(source.iterdir()):
        if path.suffix != ".onnx":
            if path.is_file():
                shutil.copy(path, target / path.name)
            continue
        graph = onnx.load(path)
        for values in _tensors(graph.graph):
            array = numpy_helper.to_array(values)
            key = (array.shape, array.tobytes())
            if key in replacement:
                fresh = replacement[key]
                values.CopyFrom(
                    numpy_helper.from_array(numpy.ascontiguousarray(fresh), values.name)
                )
                replaced += 1
        (target / path.name).write_bytes(graph.SerializeToString())
    with unsay.open(target) as model:
        wrong = [
            name
            for name, _, fresh in random_weights(model, seed)
            if not numpy.allclose(numpy.asarray(model.tensor(name)), fresh, rtol=2e-3, atol=1e-6)
        ]
    if wrong or not replaced:
        shutil.rmtree(target)
        raise SystemExit(f"{source}: its graphs do not hold {wrong or names} as stored numbers")


def _tensors(graph: Any) -> Iterator[Any]:
    """Initializers and constants of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
            elif node.op_type == "Constant" and attribute.HasField("t"):
                yield attribute.t


def container(config: Path, tokenizer: Path, target: Path, seed: int) -> None:
    """Writes `target` for a config.json of any size: a folder of one file that only holds
    initializers, under the names of the transformers state dict. The library opens, trains
    and saves it; having no graph, onnxruntime does not run it."""
    import onnx
    from onnx import helper, numpy_helper

    sizes = json.loads(config.read_text(encoding="utf-8"))
    generator = numpy.random.default_rng(seed)
    tensors = []
    for name, shape in shapes(sizes):
        values = numpy.ones(shape, numpy.float32)
        if not name.endswith("layer_norm.weight"):
            values = generator.standard_normal(shape, dtype=numpy.float32)
            values *= numpy.float32(spread(name, Sizes.of(sizes)))
        tensors.append(numpy_helper.from_array(values, name))
    target.mkdir(parents=True)
    graph = helper.make_graph([], "weights", [], [], initializer=tensors)
    (target / "model.onnx").write_bytes(onnx.ModelProto(
        ir_version=8, graph=graph, opset_import=[helper.make_opsetid("", 17)]
    ).SerializeToString())  # fmt: skip
    shutil.copy(config, target / "config.json")
    shutil.copy(tokenizer, target / tokenizer.name)


def shapes(config: Dict[str, Any]) -> Iterator[Tuple[str, Tuple[int, ...]]]:
    """Names and shapes of the transformers state dict of a T5."""
    width, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    is_gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")
    buckets = config.get("relative_attention_num_buckets", 32)
    yield "shared.weight", (config["vocab_size"], width)
    layers = config["num_layers"]
    for part, count in (("encoder", layers), ("decoder", config.get("num_decoder_layers", layers))):
        for block in range(count):
            kinds = ["SelfAttention"] + (["EncDecAttention"] if part == "decoder" else [])
            for layer, kind in enumerate(kinds):
                base = f"{part}.block.{block}.layer.{layer}"
                for matrix in ("q", "k", "v"):
                    yield f"{base}.{kind}.{matrix}.weight", (inner, width)
                yield f"{base}.{kind}.o.weight", (width, inner)
                if block == 0 and kind == "SelfAttention":
                    name = f"{base}.{kind}.relative_attention_bias.weight"
                    yield name, (buckets, config["num_heads"])
                yield f"{base}.layer_norm.weight", (width,)
            base = f"{part}.block.{block}.layer.{len(kinds)}"
            for matrix in ("wi_0", "wi_1") if is_gated else ("wi",):
                yield f"{base}.DenseReluDense.{matrix}.weight", (config["d_ff"], width)
            yield f"{base}.DenseReluDense.wo.weight", (width, config["d_ff"])
            yield f"{base}.layer_norm.weight", (width,)
        yield f"{part}.final_layer_norm.weight", (width,)
    if not config.get("tie_word_embeddings", True):
        yield "lm_head.weight", (config["vocab_size"], width)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, help="a model folder, or a config.json")
    parser.add_argument("target", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", type=Path, help="of a config.json: the vocabulary's file")
    options = parser.parse_args()
    if options.source.is_dir():
        make(options.source, options.target, options.seed)
    else:
        if options.tokenizer is None:
            raise SystemExit("a config.json needs --tokenizer, the file of the vocabulary")
        container(options.source, options.tokenizer, options.target, options.seed)


if __name__ == "__main__":
    main()
