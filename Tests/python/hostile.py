"""Opens a folder that was made to do harm, in a process of its own."""

import json
import os
import subprocess
import sys

from conftest import ROOT

FORMAT, UNSUPPORTED, NOT_FOUND, IO = -22, -23, -20, -21
ENCODER = "encoder_model.onnx"

#: Opens a folder alone in its process: the status, the sentence, and how many KiB the peak grew.
OPEN = """
import json, re, sys
import unsay
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
before, status, sentence = peak(), 0, ""
try:
    unsay.open(sys.argv[1], threads=1).generate([5, 6, 1], max_new_tokens=2)
except unsay.Error as error:
    status, sentence = error.status, str(error)
print(json.dumps([status, sentence, peak() - before]))
"""


def opened(folder):
    done = subprocess.run(
        [sys.executable, "-c", OPEN, folder],
        env=dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src")),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


def check(folder, statuses, words):
    status, sentence, grown = opened(folder)
    assert status in statuses, f"{status}: {sentence!r}, expected one of {statuses}"
    for word in words:
        assert word in sentence, f"{sentence!r} does not name {word!r}"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 10
    limit = 24 * 1024 + 8 * size
    assert grown < limit, f"the peak grew by {grown} KiB, the files have {size} KiB"
