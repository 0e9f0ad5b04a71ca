"""The wheel: what people install, in an empty environment and beside other libraries."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import DEBSUM, MODELS, ROOT
from test_examples import DOCUMENTS, blocks

SYSTEM = re.compile(r"(ld-linux|lib(c|m|z|stdc\+\+|gcc_s)\.so)")
FOREIGN = ("libprotobuf.so.32", "libonnx_proto.so.1", "libzstd.so.1", "libnettle.so.8")
USES = {
    "unsay": "import unsay",
    "onnx": "import onnx",
    "onnxruntime": "import onnxruntime",
    "torch": "import torch",
}
WORKS = {
    "unsay": "assert len(unsay.open(tiny).generate('files', max_new_tokens=4).ids) == 4",
    "onnx": "assert onnx.load(tiny + '/encoder_model.onnx').graph.node",
    "onnxruntime": "assert onnxruntime.InferenceSession(tiny + '/encoder_model.onnx').get_inputs()",
    "torch": "assert torch.ones(2, 2).matmul(torch.ones(2, 2)).sum() == 8",
}


def run(*command, folder=None, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env={**os.environ, "PYTHONPATH": "", **environment},
        text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel():
    return Path(run(sys.executable, ROOT / "scripts/wheel.py", "--if-older").split()[0])


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
    run(*pip, folder / "bin/python", "install", "--quiet", "--no-index", wheel)
    listed = run(*pip, folder / "bin/python", "list", "--format", "freeze")
    assert listed.split() == ["unsay==0.1.0"]
    return folder


def packages(environment):
    return next(environment.glob("lib/python*/site-packages"))


def test_the_tag_is_the_oldest_glibc_that_every_library_runs_on(wheel, environment):
    libraries = [path for path in packages(environment).rglob("*.so*") if path.is_file()]
    assert len(libraries) == 6
    versions = {
        (int(major), int(minor))
        for library in libraries
        for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", run("objdump", "-T", library))
    }
    tagged = re.fullmatch(r"unsay-.*-py3-none-manylinux_(\d+)_(\d+)_x86_64.whl", wheel.name)
    assert tagged and (int(tagged[1]), int(tagged[2])) == max(versions)


def test_the_licence_of_every_library_inside_is_there_in_full(wheel):
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            Path(name).name: archive.read(name).decode()
            for name in archive.namelist()
            if "/licenses/" in name
        }
        inside = [name for name in archive.namelist() if name.startswith("unsay.libs/")]
    assert len(inside) == 5
    for name in inside:
        library = re.match(r"unsay.libs/(lib[a-z]+)", name)[1]
        text = next(text for file, text in texts.items() if file.startswith(library))
        assert "Copyright" in text, library
        for referred in re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", text):
            assert len(texts[f"common-{referred}.txt"]) > 5000
    assert "Apache License" in texts["LICENSE"]
    assert "Runtime Library Exception" in texts["swift-runtime.txt"]


@pytest.mark.parametrize("program", list(blocks(DOCUMENTS[:1], "python")))
def test_the_lines_of_the_readme_run_in_an_empty_environment(program, environment, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/debsum").symlink_to(DEBSUM)
    run(environment / "bin/python", "-c", program, folder=tmp_path)
    assert (tmp_path / "models/debsum-patched/encoder_model.onnx").exists()


def test_its_command_is_installed(environment):
    assert "usage: unsay" in run(environment / "bin/unsay", "--help")
    assert "unsay 0.1.0" in run(environment / "bin/python", "-m", "unsay", "--version")


def orders():
    """Every order of what is installed; torch, slow to import, at every place of one order."""
    quick = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name)]
    yield from itertools.permutations(["unsay", *quick])
    if importlib.util.find_spec("torch"):
        others = [*quick[:1], "unsay", *quick[1:]]
        for place in range(len(others) + 1):
            yield (*others[:place], "torch", *others[place:])


@pytest.mark.parametrize("order", list(orders()), ids=" ".join)
def test_it_works_beside_other_libraries_in_any_order(order, environment):
    program = [
        *(USES[name] for name in order),
        f"tiny = {str(MODELS / 'tiny-v10')!r}",
        *(WORKS[name] for name in order),
        f"assert unsay.__file__.startswith({str(environment)!r})",
    ]
    run(sys.executable, "-c", "\n".join(program), PYTHONPATH=str(packages(environment)))


def test_it_works_where_the_symbols_of_onnx_are_global(environment):
    """They would otherwise stand for its own: opening a model then crashes."""
    program = [
        "import os, sys",
        "sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)",
        USES["onnx"],
        USES["unsay"],
        f"tiny = {str(MODELS / 'tiny-v10')!r}",
        WORKS["unsay"],
    ]
    run(sys.executable, "-c", "\n".join(program), PYTHONPATH=str(packages(environment)))


def test_its_libraries_use_nobody_elses_symbols(environment, tmp_path):
    """Even if the host has made another protobuf's symbols global."""
    program = f"""
import ctypes
for name in {FOREIGN}:
    ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
import unsay
unsay.open({str(MODELS / "tiny-v10")!r}).generate("files", max_new_tokens=2)
"""
    run(
        environment / "bin/python", "-c", program,
        LD_DEBUG="bindings", LD_DEBUG_OUTPUT=str(tmp_path / "bindings"),
    )  # fmt: skip
    bound = {
        Path(found[1]).name
        for log in tmp_path.glob("bindings.*")
        for found in re.finditer(
            rf"binding file {re.escape(str(environment))}\S+\.so\S* \[0\] to (\S+) ",
            log.read_text(errors="replace"),
        )
    }
    own = {path.name for path in packages(environment).rglob("*.so*")}
    assert own < bound, "the log names our libraries"
    assert not {name for name in bound - own if not SYSTEM.match(name)}
