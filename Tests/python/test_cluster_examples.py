"""Data parallel training over MPI, and a corpus marked on Ray, where those are installed."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import unsay
from conftest import DEBSUM, ROOT

STEPS = 6
needs_mpi = pytest.mark.skipif(
    not (shutil.which("mpirun") and shutil.which("mpicc")), reason="OpenMPI is not installed"
)


def missing(module):
    return importlib.util.find_spec(module) is None


def run(command):
    environment = dict(
        os.environ, PYTHONPATH=str(ROOT / "bindings/python/src"),
        # A test may run as root, on a machine with fewer processors than ranks.
        OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
        OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_btl="self,vader",
        RAY_DISABLE_DOCKER_CPU_WARNING="1",
    )  # fmt: skip
    done = subprocess.run(
        [str(part) for part in command], env=environment, text=True, capture_output=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def examples(debsum, held_out, tmp_path):
    """Five pairs, of unlike lengths, so that ranks get unlike numbers of tokens."""
    texts = sorted(held_out, key=len)[:: max(1, len(held_out) // 5)][:5]
    path = tmp_path / "examples.tsv"
    lines = []
    for index, text in enumerate(texts):
        output = "a simple tool" if index % 2 == 0 else "library for reading files"
        lines.append(f"{text}\t{output}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def losses(program, ranks, examples):
    told = run(["mpirun", "-np", ranks, *program, DEBSUM, examples, "simple", STEPS])
    return [float(loss) for loss in re.findall(r"loss (\S+)", told)]


def check(program, examples):
    alone, shared = (losses(program, ranks, examples) for ranks in (1, 2))
    assert len(alone) == STEPS and len(set(alone)) == STEPS
    assert shared == pytest.approx(alone, rel=1e-4)


@needs_mpi
def test_two_ranks_in_c_have_the_losses_of_one(examples, tmp_path):
    program, library = tmp_path / "data_parallel", ROOT / "build/lib"
    run(
        ["mpicc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}",
         ROOT / "examples/c/data_parallel.c", "-o", program, f"-L{library}", "-lunsay",
         f"-Wl,-rpath,{library}"]
    )  # fmt: skip
    check([program], examples)


@needs_mpi
@pytest.mark.skipif(missing("mpi4py"), reason="mpi4py is not installed")
def test_two_ranks_in_python_have_the_losses_of_one(examples):
    check([sys.executable, ROOT / "examples/python/data_parallel.py"], examples)


@pytest.mark.skipif(missing("ray"), reason="ray is not installed")
def test_a_corpus_marked_on_ray_is_what_one_process_makes(held_out, debsum, tmp_path):
    texts = [text.replace("\n", " ") for text in held_out[:10]]
    inputs, marked = tmp_path / "inputs.txt", tmp_path / "marked.jsonl"
    inputs.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    run(
        [sys.executable, ROOT / "examples/python/mark_corpus.py", DEBSUM, inputs, "simple",
         marked, "--workers", 2, "--batch-size", 3]
    )  # fmt: skip
    found = [json.loads(line) for line in marked.read_text(encoding="utf-8").splitlines()]
    outputs = debsum.generate(texts, max_new_tokens=32)
    assert [line["input"] for line in found] == texts
    assert [line["output"] for line in found] == [output.ids for output in outputs]
    for line, output in zip(found, outputs):
        marks = unsay.marks(debsum, output, avoid=["simple"])
        assert line["marks"] == (marks if -1 in marks else None)
