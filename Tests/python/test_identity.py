"""What a saved session belongs to, and what rebasing a delta keeps."""

import json
import math

import pytest
import unsay
from conftest import MODELS

PAIRS = [([5 + i, 9, 30 + i, 1], [7, 8 + i, 40 - i, 1]) for i in range(12)]
BASE = {"scope": "all", "learning_rate": 1e-3, "max_guard_kl": 1000.0, "max_guard_flips": 1.0}

DIFFERENT = {
    "loss": "rr", "form": "published", "optimizer": "sgd", "schedule": "inverse_sqrt",
    "scope": "decoder", "tensors": ["decoder.*"], "lora_rank": 2, "lora_alpha": 3.0,
    "batch_size": 3, "micro_batch_size": 2, "recompute": True, "compute": "bf16",
    "warmup_steps": 4, "decay_steps": 5, "alpha": 2.0, "retain": 0.25, "learning_rate": 1e-4,
    "momentum": 0.5, "weight_decay": 0.125, "z_loss": 0.5, "dropout": 0.25, "gradient_clip": 0.5,
    "max_avoid_p": 0.5, "max_guard_kl": 7.0, "max_guard_flips": 0.5, "max_root_kl": 3.0,
    "seed": 9, "keep_examples": True, "on_gradients": lambda gradients: None,
}  # fmt: skip
"""Another value for each option, under the names that a saved session has for them."""


@pytest.fixture
def tiny():
    with unsay.open(MODELS / "tiny-v10", threads=2) as model:
        yield model


def start(model, *, examples=8, held_out=2, guard=2, weight=1.0, **options):
    patch = model.patch(**{**BASE, **options})
    for input, output in PAIRS[:examples]:
        patch.add(input, output, marks=[-1, 1, 1, 1], weight=weight)
    for input, output in PAIRS[8 : 8 + held_out]:
        patch.hold_out(input, output, marks=[-1, 1, 1, 1])
    patch.guard(PAIRS[10 : 10 + guard])
    return patch


@pytest.fixture
def saved(tiny, tmp_path):
    path = tmp_path / "state"
    with start(tiny) as patch:
        patch.step()
        patch.save_state(path)
    with start(tiny) as patch:
        assert patch.load_state(path) == 1
    return path


def refused(patch, path, match):
    with patch:
        with pytest.raises(unsay.MismatchError, match=match):
            patch.load_state(path)
        assert patch.step().step == 1


def test_a_state_knows_every_option_that_there_is(tiny, saved):
    known = set(json.loads(metadata(saved))["identity"]["options"])
    assert known == set(DIFFERENT)


def metadata(path):
    content = path.read_bytes()
    size = int.from_bytes(content[12:20], "little")
    return content[20 : 20 + size]


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_a_state_of_other_options_is_refused_by_their_name(tiny, saved, name):
    options = {name: DIFFERENT[name]}
    if name == "tensors":
        options = {"scope": DIFFERENT[name]}
    if name == "lora_alpha":
        options["lora_rank"] = 0
    named = {"tensors": "scope|tensors"}.get(name, name)
    refused(start(tiny, **options), saved, rf"other options: ({named}) was .*, is ")


def test_a_state_of_other_examples_held_out_ones_or_guard_is_refused(tiny, saved):
    refused(start(tiny, examples=7), saved, "with other examples")
    refused(start(tiny, weight=2.0), saved, "with other examples")
    refused(start(tiny, held_out=1), saved, "with other held-out examples")
    refused(start(tiny, guard=1), saved, "with another guard")


def test_a_state_of_another_model_reference_or_root_is_refused(tiny, saved, tmp_path):
    with tiny.clone() as other:
        other.finetune(PAIRS[:2], steps=1, learning_rate=1e-3)
        refused(start(other), saved, "with another model")
        refused(start(tiny, reference=other), saved, "with another reference")
        refused(start(tiny, root=other), saved, "with another root")
        path = tmp_path / "rooted"
        with start(tiny, root=other) as patch:
            patch.save_state(path)
        refused(start(tiny), path, "with another root")
        with start(tiny, root=other) as patch:
            assert patch.load_state(path) == 0
    with start(tiny, reference=tiny.clone()) as patch:
        # The same weights are the same reference.
        assert patch.load_state(saved) == 1


def test_what_a_run_went_back_to_is_what_a_saved_session_says(tiny, tmp_path):
    with start(tiny, learning_rate=0.05, max_guard_kl=0.01, max_avoid_p=0.0) as patch:
        found = patch.run(max_steps=5).evaluation
        assert 0 < found.fraction < 1
        patch.save_state(tmp_path / "state")
    with start(tiny, learning_rate=0.05, max_guard_kl=0.01, max_avoid_p=0.0) as patch:
        patch.load_state(tmp_path / "state")
        assert patch.evaluate() == found


def test_rebasing_keeps_every_option(tiny):
    options = {
        name: value for name, value in DIFFERENT.items()
        if name not in ("tensors", "on_gradients", "scope")
    }  # fmt: skip
    options.update(scope=DIFFERENT["tensors"], max_guard_kl=math.inf)
    with start(tiny, root=tiny.clone(), **options) as patch:
        patch.step()
        delta = patch.delta()
    before = delta.metadata
    with tiny.clone() as other:
        other.finetune(PAIRS[:2], steps=1, learning_rate=1e-3)
        with other.rebase(delta) as patch:
            after = patch.delta().metadata
            assert after["root"] == other.fingerprint()
            patch.step()
    names = set(DIFFERENT) - {"on_gradients"} | {"examples", "held_out", "guard", "data_sha256"}
    assert names <= set(before)
    for name in names:
        assert after[name] == before[name], name
