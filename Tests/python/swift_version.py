"""The Swift package as a dependency by version: fetched from a repository, resolved, built, run.

Minutes, for nothing is built yet. `make test-by-version` runs it; its name keeps it out of
`make test`.
"""

import re
import shutil

import pytest
from conftest import ROOT
from swift_package import run


def test_a_package_depends_on_it_by_version(tmp_path):
    """By the last commit, under a tag; the sources are fetched and built anew."""
    if shutil.which("swift") is None:
        pytest.skip("needs swift")
    repository, app = tmp_path / "unsay", tmp_path / "app"
    run(["git", "clone", "--quiet", ROOT, repository], tmp_path)
    run(["git", "-c", "tag.gpgSign=false", "tag", "7.5.3"], repository)
    manifest = (ROOT / "examples/swift/Package.swift").read_text()
    by_version = f'.package(url: "file://{repository}", from: "7.5.0")'
    manifest, count = re.subn(
        r"\.package\(name: .*\)(?=\n    \],\n    targets)", by_version, manifest
    )
    assert count == 1
    manifest, count = re.subn(r'package: "Unsay"', 'package: "unsay"', manifest)
    assert count == 1
    shutil.copytree(ROOT / "examples/swift/Sources", app / "Sources")
    (app / "Package.swift").write_text(manifest)
    done = run(["swift", "build", "-c", "release", "--disable-build-manifest-caching"], app)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert '"version" : "7.5.3"' in (app / "Package.resolved").read_text()
    done = run([app / ".build/release/patch", "absent", "files", "simple", "patched"], tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("notFound: ")
