"""Every example runs, and so does every program in the documentation."""

import os
import re
import subprocess
import sys

import pytest
from conftest import DEBSUM, MODELS, ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "bindings/python/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def blocks(documents, language):
    """Every fenced block of the language, with the document and line it begins on."""
    for path in documents:
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text[: found.start()].count("\n") + 2
            yield pytest.param(found[1], id=f"{path.relative_to(ROOT)}:{line}")


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the checkout, for programs that write beside its models."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/debsum").symlink_to(DEBSUM)
    return tmp_path


def run(command, folder):
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "bindings/python/src"), PATH=path)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env=environment, text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source, folder):
    program = folder / "program"
    library = ROOT / "build/lib"
    run(
        ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}", source,
         "-o", program, f"-L{library}", "-lunsay", f"-Wl,-rpath,{library}", "-lm"],
        folder,
    )  # fmt: skip
    return program


@pytest.mark.parametrize("program", list(blocks(DOCUMENTS, "python")))
def test_a_python_program_of_the_documentation_runs(program, checkout):
    run([sys.executable, "-c", program], checkout)


@pytest.mark.parametrize("name", ["start.md", "cli.md"])
def test_the_commands_of_a_page_run_one_after_the_other(name, checkout):
    (checkout / "bin").mkdir()
    command = checkout / "bin/unsay"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m unsay "$@"\n')
    command.chmod(0o755)
    script = "\n".join(param.values[0] for param in blocks([ROOT / "docs" / name], "sh"))
    assert run(["bash", "-eu", "-o", "pipefail", "-c", script], checkout)


@pytest.mark.parametrize("program", list(blocks(DOCUMENTS, "c")))
def test_a_c_program_of_the_documentation_runs(program, checkout):
    source = checkout / "program.c"
    source.write_text(program)
    assert run([build(source, checkout)], checkout)


def test_generate_in_python(checkout):
    script = ROOT / "examples/python/generate.py"
    text = "summarize: A library for reading CSV files."
    assert "log-probability" in run([sys.executable, script, DEBSUM, text, "files"], checkout)


def test_patch_in_python(checkout, debsum, held_out):
    text, other = with_and_without(debsum, held_out)
    script = ROOT / "examples/python/patch.py"
    told = run(
        [sys.executable, script, DEBSUM, "patched", text, "--avoid", "simple", "--guard", other],
        checkout,
    )
    assert "simple" not in told.rsplit("after:", 1)[1]
    assert (checkout / "patched/encoder_model.onnx").exists()


def test_the_demo_on_a_few_inputs(checkout):
    script = ROOT / "examples/python/demo.py"
    sizes = ["--examples", 4, "--guard", 4, "--measure", 8, "--max-steps", 10]
    told = run([sys.executable, script, *sizes, "--save", checkout / "without"], checkout)
    assert "bit for bit as before: True" in told
    assert (checkout / "without/decoder_model_merged.onnx").exists()


def test_generate_in_c(checkout):
    program = build(ROOT / "examples/c/generate.c", checkout)
    assert "tokens, probability" in run([program, MODELS / "tiny-v10", "files"], checkout)


def test_patch_in_c(checkout, debsum, held_out):
    text, _ = with_and_without(debsum, held_out)
    program = build(ROOT / "examples/c/patch.c", checkout)
    told = run([program, DEBSUM, text, "simple", "patched"], checkout)
    assert "simple" not in told.rsplit("after:", 1)[1]


def test_an_example_reports_a_failure(checkout):
    program = build(ROOT / "examples/c/generate.c", checkout)
    done = subprocess.run([program, "absent", "files"], text=True, capture_output=True)
    assert done.returncode == 1 and "absent" in done.stderr


def with_and_without(model, texts):
    """An input whose output has the word "simple", and one whose output lacks it."""
    chosen = texts[:5] + texts[-5:]
    outputs = [output.text for output in model.generate(chosen, max_new_tokens=32)]
    pairs = list(zip(chosen, outputs))
    has = next(text for text, output in pairs if re.search(r"\bsimple\b", output, re.IGNORECASE))
    lacks = next(text for text, output in pairs if "simple" not in output.lower())
    return has, lacks
