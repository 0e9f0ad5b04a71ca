"""A process that may not have more memory is told so, and goes on."""

import os
import shutil
import struct
import subprocess
import sys

import pytest
from conftest import MODELS, ROOT

PIECES = 250_000

#: Opens a folder with so many bytes of address space more than there are by now.
OPEN = """
import resource, sys, unsay
bytes_left = int(sys.argv[2]) << 20
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + bytes_left
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    unsay.open(sys.argv[1], threads=1).close()
    print("opened")
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    unsay.open(sys.argv[1], threads=1).close()
    print("refused, then opened")
"""


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def piece(text, score, kind=1):
    content = text.encode()
    body = b"\n" + varint(len(content)) + content + b"\x15" + struct.pack("<f", score)
    body += b"\x18" + varint(kind)
    return b"\n" + varint(len(body)) + body


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with a vocabulary of mT5's size."""
    target = tmp_path_factory.mktemp("wide") / "model"
    shutil.copytree(MODELS / "tiny-v10", target)
    special = piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2)
    words = b"".join(piece(f"▁word{number}", -number) for number in range(PIECES))
    (target / "spiece.model").write_bytes(special + words)
    return target


@pytest.mark.parametrize("megabytes", [8, 14, 20, 26, 32, 48])
def test_a_large_vocabulary_in_little_memory_is_refused(folder, megabytes):
    done = subprocess.run(
        [sys.executable, "-c", OPEN, folder, str(megabytes)],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src")),
        text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-500:]}"
    assert done.stdout == "refused, then opened\n"
