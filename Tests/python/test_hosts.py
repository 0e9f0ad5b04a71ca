"""The hosts in Rust and Go build against the installed library, patch and report failures."""

import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import DEBSUM, ROOT

BUILD = ROOT / "build/hosts"


def run(command, folder, **more):
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder, env={**os.environ, **more}, text=True, capture_output=True, timeout=600,
    )  # fmt: skip


def built(command, folder, **more):
    done = run(command, folder, **more)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("installed")
    built(["make", "install-files", f"PREFIX={prefix}"], ROOT)
    return prefix


def rust(prefix):
    where = {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig", "CARGO_TARGET_DIR": str(BUILD / "rust")}
    built(["cargo", "build", "--release", "--offline", "--locked"], ROOT / "examples/rust", **where)
    return BUILD / "rust/release/unsay-example"


def go(prefix):
    program = BUILD / "go/unsay-example"
    where = {
        "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig",
        "CGO_LDFLAGS": f"-Wl,-rpath,{prefix}/lib",
        "GOCACHE": str(BUILD / "go/cache"),
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
    }
    built(["go", "vet", "."], ROOT / "examples/go", **where)
    built(["go", "build", "-o", program, "."], ROOT / "examples/go", **where)
    return program


@pytest.fixture(scope="module", params=[("cargo", rust), ("go", go)], ids=["rust", "go"])
def host(request, prefix):
    tool, build = request.param
    if shutil.which(tool) is None or shutil.which("pkg-config") is None:
        pytest.skip(f"needs {tool} and pkg-config")
    return build(prefix)


@pytest.fixture(scope="module")
def shown():
    """An input whose output has the word "simple"."""
    lines = (DEBSUM / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(lines[0])["input"]


def test_a_host_patches_a_model_and_writes_it(host, shown, tmp_path):
    done = run([host, DEBSUM, shown, "simple", "patched"], tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = re.search(r"before: (.*) \(.*?(?s:.*)after:  (.*)", done.stdout).groups()
    assert "simple" in before.lower() and "simple" not in after.lower()
    assert re.search(r"step  1: avoided p 0\.\d+", done.stdout)
    assert (tmp_path / "patched/encoder_model.onnx").exists()


def test_a_host_reports_the_library_s_sentence(host):
    done = run([host, "absent", "files", "simple", "patched"], ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("UNSAY_E_NOT_FOUND: ") and "absent" in done.stderr


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_the_rust_host_leaks_nothing(prefix, tmp_path):
    if shutil.which("cargo") is None:
        pytest.skip("needs cargo")
    done = run(
        ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite",
         "--errors-for-leak-kinds=definite", "--error-exitcode=9",
         rust(prefix), ROOT / "Tests/Models/tiny-v10", "files", "unheard", "patched"],
        tmp_path,
    )  # fmt: skip
    # Nothing is avoided, and the session says so: the way out by an error.
    assert done.returncode == 1 and "UNSAY_E_STATE" in done.stderr, done.stderr
