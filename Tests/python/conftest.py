"""Models that the tests share. Paths are relative to the checkout."""

import json
from pathlib import Path

import pytest
import unsay

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "Tests/Goldens"
MODELS = ROOT / "Tests/Models"
FIXTURES = MODELS.parent / "Fixtures"
DEBSUM = ROOT / "models/debsum"


@pytest.fixture
def model():
    """A tiny model of random weights, fresh for each test."""
    with unsay.open(MODELS / "tiny-v10", threads=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def debsum():
    """The embedded checkpoint; tests that change it take a clone."""
    with unsay.open(DEBSUM) as opened:
        yield opened


@pytest.fixture(scope="session")
def held_out():
    """Texts that the embedded checkpoint was not trained on."""
    lines = (DEBSUM / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["input"] for line in lines]


@pytest.fixture
def flagged(model):
    """An input, the tiny model's output for it, and marks that avoid its first token."""
    text = "summarize: a small library for reading files"
    output = model.generate(text, max_new_tokens=8)
    return text, output, [-1] + [1] * (len(output.ids) - 1)
