"""A process that is killed while it writes leaves what was there, or what was to be."""

import os
import subprocess
import sys

from conftest import ROOT


def test_no_kill_leaves_anything_torn(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "Tests/Killing/killing.py", tmp_path, "10"],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src")),
        text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("killing: 10 kills, nothing torn\n")
