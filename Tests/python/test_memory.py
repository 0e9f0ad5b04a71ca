"""What opening costs, whatever the number of copies in the files."""

import json
import shutil
import subprocess
import sys

import pytest
import sized_model
from conftest import DEBSUM


@pytest.mark.parametrize("files", [sized_model.FILES, sized_model.FILES[:2]])
def test_the_peak_is_little_above_the_weights_however_many_copies_the_files_hold(tmp_path, files):
    def opened(vocab_size):
        folder = tmp_path / str(vocab_size)
        weights = sized_model.make(folder, vocab_size=vocab_size, d_model=512, files=files)
        held = sum(path.stat().st_size for path in folder.glob("*_data"))
        assert held > (2 if len(files) == 3 else 1.4) * weights
        _, grown = sized_model.opened(folder)
        shutil.rmtree(folder)
        return weights, grown

    # Of 97 and 378 MiB: what grows with the weights, apart from what code, its buffers and
    # the pages that a machine maps ahead take whatever the size.
    small, of_small = opened(24000)
    large, of_large = opened(96000)
    per_byte = (of_large - of_small) / (large - small)
    assert per_byte < 1.15, f"{per_byte:.3f} bytes for each byte of weights"
    beside = of_small - small
    assert beside < (32 << 20), f"{beside >> 20} MiB beside {small >> 20} MiB of weights"


PATCH = """
import ctypes, json, random, sys
import unsay

def memory(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

options = json.loads(sys.argv[2])
model = unsay.open(sys.argv[1], threads=2)
number = random.Random(0)
ids = lambda size: [number.randrange(3, 8000) for _ in range(size)]
pairs = [(ids(128), ids(32)) for _ in range(24)]
# What opening has used and freed is the system's again, not there to be used once more.
ctypes.CDLL(None).malloc_trim(0)
before = memory("VmRSS")
options.update(max_avoid_p=0.0, max_guard_kl=1e9, max_guard_flips=1.0)
with model.patch(**options) as patch:
    for input, output in pairs:
        patch.add(input, output, marks=[-1] * 2 + [1] * 30)
    plan = patch.plan()
    patch.run(max_steps=3, evaluate_every=2)
    print(plan.memory_bytes, memory("VmHWM") - before)
"""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recompute": True},
        {"micro_batch_size": 2, "optimizer": "adafactor"},
        {"scope": "decoder"},
        {"scope": "tokens"},
        {"lora_rank": 8},
    ],
    ids=str,
)
def test_a_plan_predicts_the_peak_of_a_patch_within_a_tenth(options):
    found = subprocess.run(
        [sys.executable, "-c", PATCH, str(DEBSUM), json.dumps(options)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    predicted, measured = map(int, found.stdout.split())
    assert abs(predicted / measured - 1) < 0.1, f"{predicted >> 20} MiB for {measured >> 20} MiB"
