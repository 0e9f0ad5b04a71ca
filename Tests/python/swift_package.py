"""The Swift package as a dependency: the example and every program of docs/swift.md.

Builds a package that depends on this one by path: minutes where nothing is built yet.
`make test-package` runs it; its name keeps it out of `make test`.
"""

import json
import re
import shutil
import subprocess

import pytest
from conftest import DEBSUM, ROOT

PACKAGE = ROOT / "build/swift-package"
DOCUMENT = ROOT / "docs/swift.md"


def programs():
    return re.findall(r"^```swift\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def run(command, folder):
    return subprocess.run(
        [str(part) for part in command], cwd=folder, text=True, capture_output=True, timeout=3000
    )


@pytest.fixture(scope="module")
def products():
    """The example's package with a target for each program of the document, built."""
    if shutil.which("swift") is None:
        pytest.skip("needs swift")
    shutil.rmtree(PACKAGE / "Sources", ignore_errors=True)
    # As deep in the checkout as examples/swift, so that ../.. is the same.
    shutil.copytree(ROOT / "examples/swift/Sources", PACKAGE / "Sources")
    manifest = (ROOT / "examples/swift/Package.swift").read_text()
    targets = ""
    for index, program in enumerate(programs()):
        source = PACKAGE / f"Sources/document{index}/main.swift"
        source.parent.mkdir()
        source.write_text(program)
        targets += (
            f',\n        .executableTarget(name: "document{index}", '
            'dependencies: [.product(name: "Unsay", package: "Unsay")])'
        )
    end = manifest.rindex("\n    ]")
    (PACKAGE / "Package.swift").write_text(manifest[:end] + targets + manifest[end:])
    done = run(["swift", "build", "-c", "release", "--disable-build-manifest-caching"], PACKAGE)
    if done.returncode != 0:
        pytest.fail(done.stdout[-3000:] + done.stderr[-3000:], pytrace=False)
    return PACKAGE / ".build/release"


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/debsum").symlink_to(DEBSUM)
    return tmp_path


@pytest.mark.parametrize("index", range(len(programs())))
def test_a_swift_program_of_the_documentation_runs(products, checkout, index):
    done = run([products / f"document{index}"], checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout and "false" not in done.stdout.splitlines()


def test_the_example_patches_a_model_and_writes_it(products, checkout):
    lines = (DEBSUM / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    shown = json.loads(lines[0])["input"]
    done = run([products / "patch", "models/debsum", shown, "simple", "patched"], checkout)
    assert done.returncode == 0, done.stderr
    before, after = re.search(r"before: (.*)(?s:.*)after:  (.*)", done.stdout).groups()
    assert "simple" in before.lower() and "simple" not in after.lower()
    assert (checkout / "patched/encoder_model.onnx").exists()


def test_the_example_reports_a_failure(products, checkout):
    done = run([products / "patch", "absent", "files", "simple", "patched"], checkout)
    assert done.returncode == 1 and done.stderr.startswith("notFound: ")
    assert "absent" in done.stderr
