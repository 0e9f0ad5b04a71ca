"""Folders of any size, made from a small export: the graph stays, its weights grow.

Weights that are copies of each other stay copies, because every weight is tiled alike.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import onnx
from conftest import MODELS, ROOT
from onnx import TensorProto, numpy_helper

#: Encoder of two layers, decoder of three; a gated T5 1.1 with its own head.
SOURCE = MODELS / "tiny-v11"
FILES = ("encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx")


def grown(values, sizes):
    """Tiled to the shape in which every size that `sizes` knows is replaced."""
    shape = tuple(sizes.get(size, size) for size in values.shape)
    tiles = [-(-new // old) for new, old in zip(shape, values.shape)]
    return numpy.tile(values, tiles)[tuple(slice(0, size) for size in shape)]


def make(folder: Path, vocab_size: int, d_model: int, files=FILES) -> int:
    """Writes a folder whose weights lie in external data; returns its float32 bytes."""
    folder.mkdir(parents=True)
    config = json.loads((SOURCE / "config.json").read_text())
    sizes = {config["vocab_size"]: vocab_size, config["d_model"]: d_model}
    for name in files:
        model = onnx.load(SOURCE / name)
        del model.graph.value_info[:]
        for value in [*model.graph.input, *model.graph.output]:
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_value"):
                    dim.dim_value = sizes.get(dim.dim_value, dim.dim_value)
        with open(folder / f"{name}_data", "wb") as data:
            for tensor in model.graph.initializer:
                # Of 32 buckets, where d_model is 32, too.
                if "relative_attention_bias" in tensor.name:
                    continue
                if tensor.data_type != TensorProto.FLOAT or not tensor.dims:
                    continue
                values = grown(numpy_helper.to_array(tensor), sizes)
                offset = data.tell()
                values.tofile(data)
                tensor.ClearField("raw_data")
                tensor.ClearField("float_data")
                tensor.dims[:] = values.shape
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (
                    ("location", f"{name}_data"),
                    ("offset", offset),
                    ("length", values.nbytes),
                ):
                    tensor.external_data.add(key=key, value=str(value))
                del values
        (folder / name).write_bytes(model.SerializeToString())
    config.update(vocab_size=vocab_size, d_model=d_model)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("generation_config.json", "spiece.model"):
        shutil.copy(SOURCE / name, folder / name)
    inner, d_ff = config["num_heads"] * config["d_kv"], config["d_ff"]
    blocks = config["num_layers"] + config["num_decoder_layers"]
    attentions = blocks + config["num_decoder_layers"]
    return 4 * d_model * (2 * vocab_size + 4 * inner * attentions + 3 * d_ff * blocks)


OPEN = """
import json, re, sys, time
import unsay
def status(name):
    return 1024 * int(re.search(name + r":\\s*(\\d+)", open("/proc/self/status").read())[1])
before, started = status("VmRSS"), time.perf_counter()
model = unsay.open(sys.argv[1], threads=2)
print(json.dumps([time.perf_counter() - started, status("VmHWM") - before]))
"""


def opened(folder: Path) -> tuple[float, int]:
    """Opens a folder in a process of its own: seconds, and bytes by which the peak grew."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, folder],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src")),
        text=True,
        capture_output=True,
        check=True,
    )
    seconds, grown = json.loads(done.stdout)
    return seconds, grown
