"""What people do to exported folders: each route makes another layout of the same model.

A route is a function of the .onnx files of a folder, which it changes in place. The tools are
those that users take: onnx's own helpers and onnxruntime's optimiser and quantisers.
"""

import shutil
from pathlib import Path

import export_layouts  # noqa: F401
import export_quantisers  # noqa: F401
from export_tools import ROUTES

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


def make(source: Path, name: str, target: Path) -> Path:
    """A copy of an exported folder, taken along a route."""
    shutil.copytree(source, target)
    ROUTES[name](target)
    return target
