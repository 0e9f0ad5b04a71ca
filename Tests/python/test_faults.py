"""A save that fails or is killed at any of its steps leaves the old folder or the new one."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import FIXTURES, MODELS, ROOT

SOURCES = {
    "float32, merged": MODELS / "tiny-v10",
    "float16": FIXTURES / "t5v10__f16_ort",
    "external data": FIXTURES / "t5v11__opt_ext",
    "tensors to split": FIXTURES / "t5v10__merged_norms",
    "quantised": FIXTURES / "t5v10__nb4",
}
#: Whether the destination exists, whether it is the source, whether its files are links.
DESTINATIONS = {
    "new": ("0", "0", "0"),
    "replaced": ("1", "0", "0"),
    "in place": ("0", "1", "0"),
    "over links": ("0", "1", "1"),
}
CASES = [
    (source, destination)
    for source in SOURCES
    for destination in DESTINATIONS
    if destination != "over links" or source == "external data"
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    target = tmp_path_factory.mktemp("faults") / "libfaults.so"
    source = ROOT / "Tests/Faults/faults.c"
    subprocess.check_call(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", source, "-o", target, "-ldl"]
    )
    return target


@pytest.fixture
def scratch(tmp_path):
    """A folder in memory where there is one: thousands of flushes wear a disk out."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.mark.parametrize(("source", "destination"), CASES)
def test_no_fault_leaves_a_mixture_or_a_leftover(shim, scratch, source, destination, capsys):
    environment = dict(
        os.environ,
        LD_PRELOAD=str(shim),
        PYTHONPATH=str(ROOT / "bindings/python/src"),
    )
    done = subprocess.run(
        [sys.executable, ROOT / "Tests/Faults/save.py", shim, scratch, SOURCES[source],
         *DESTINATIONS[destination]],
        env=environment, text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    points = int(done.stdout)
    assert points > 20
    with capsys.disabled():
        print(f"\n{source}, {destination}: {points} faults", end="")
