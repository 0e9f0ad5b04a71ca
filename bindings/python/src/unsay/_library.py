"""Finds, loads and checks libunsay.so."""

import ctypes
from pathlib import Path
from typing import Any, Tuple

from ._functions import Functions

ABI_VERSION = 1
FILE_NAME = "libunsay.so"


def _load() -> Tuple[ctypes.CDLL, str]:
    """Loads the library beside this file, else the installed one.

    Its symbols stay private (RTLD_LOCAL), so that it never meets another copy of
    protobuf in the process.
    """
    beside = Path(__file__).with_name(FILE_NAME)
    name = str(beside) if beside.exists() else f"{FILE_NAME}.{ABI_VERSION}"
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_LOCAL), name
    except OSError as error:
        raise ImportError(
            f"cannot load {name}: {error}; `make build` in a checkout puts it beside "
            f"{Path(__file__).parent}, `make install` where the system finds it"
        ) from error


def _bind() -> Functions:
    library, name = _load()
    library.unsay_abi_version.restype = ctypes.c_uint32
    found = library.unsay_abi_version()
    if found != ABI_VERSION:
        raise ImportError(f"{name} speaks ABI {found}, this package needs {ABI_VERSION}")
    return Functions(library)


functions = _bind()


def initialised(kind: Any, name: str) -> Any:
    """An options struct with the library's defaults: `initialised(RunOptions, "run")`."""
    options = kind()
    size = ctypes.sizeof(options)
    getattr(functions, f"{name}_options_init")(ctypes.byref(options), size)
    return options


def sized(kind: Any) -> Any:
    """An empty struct for the library to fill."""
    return kind(struct_size=ctypes.sizeof(kind))


def version() -> str:
    """The library's version, `major.minor.patch`."""
    text: bytes = functions.version()
    return text.decode()


def build_info() -> str:
    """One line on how the library was built, for bug reports."""
    text: bytes = functions.build_info()
    return text.decode()
