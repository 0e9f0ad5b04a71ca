"""Models that the tests share. Paths are relative to the checkout."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import unsay

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "Tests/Goldens"
MODELS = ROOT / "Tests/Models"
FIXTURES = MODELS.parent / "Fixtures"
DEBSUM = ROOT / "models/debsum"
ENVIRONMENT = dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src"))


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


def start(*arguments, folder, **options):
    """The command `unsay`, running in a folder; Ctrl-C reaches it, even where the shell started
    the tests with Ctrl-C ignored."""
    command = [sys.executable, "-m", "unsay", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


@pytest.fixture
def command(tmp_path):
    """Runs `unsay` in an empty folder; what it printed, if its status is as expected."""

    def run(*arguments, status=0, stdin=""):
        process = start(*arguments, folder=tmp_path)
        out, err = process.communicate(stdin, timeout=120)
        assert process.returncode == status, out + err
        assert "Traceback" not in err
        run.err = err
        return out

    return run
