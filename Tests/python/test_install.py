"""What `make install` and `make deb` put down is found, built against and run."""

import gzip
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import MODELS, ROOT

TINY = MODELS / "tiny-v10"
EXAMPLE = ROOT / "examples/c/generate.c"


def run(command, folder=ROOT, **more):
    environment = {**os.environ, **more}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env=environment, text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def version():
    header = (ROOT / "include/unsay.h").read_text()
    return ".".join(re.findall(r"UNSAY_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))


def soname(library):
    return re.search(r"\(SONAME\).*\[(.+)\]", run(["readelf", "-d", library]))[1]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An installed tree, which nothing else of the machine knows."""
    prefix = tmp_path_factory.mktemp("installed") / "usr"
    run(["make", "install-files", f"PREFIX={prefix}"])
    return prefix


def test_the_installed_library_is_versioned_and_carries_the_number_of_its_abi(prefix):
    real = prefix / f"lib/libunsay.so.{version()}"
    assert not real.is_symlink() and soname(real) == "libunsay.so.1"
    assert os.readlink(prefix / "lib/libunsay.so.1") == real.name
    assert os.readlink(prefix / "lib/libunsay.so") == "libunsay.so.1"
    needed = run(["readelf", "-d", real])
    assert "RUNPATH" not in needed and "RPATH" not in needed


def test_destdir_stands_before_every_path_and_within_none(tmp_path):
    run(["make", "install-files", f"DESTDIR={tmp_path}", "PREFIX=/opt/x", "LIBDIR=lib64"])
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert "opt/x/include/unsay.h" in files and "opt/x/lib64/libunsay.so.1" in files
    described = (tmp_path / "opt/x/lib64/pkgconfig/unsay.pc").read_text()
    assert "prefix=/opt/x\nlibdir=${prefix}/lib64\n" in described
    assert not re.search("@[A-Z]+@", described) and str(tmp_path) not in described


def of_the_document(language):
    """The one block of docs/install.md in a language."""
    text = (ROOT / "docs/install.md").read_text()
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return block


@needs("pkg-config", "cc")
def test_a_c_program_builds_by_pkg_config(prefix, tmp_path):
    where = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    assert run(["pkg-config", "--modversion", "unsay >= 0.1"], **where).strip() == version()
    shutil.copy(EXAMPLE, tmp_path / "program.c")
    run(["bash", "-euc", of_the_document("sh")], tmp_path, **where)
    found = {"LD_LIBRARY_PATH": str(prefix / "lib")}
    assert "tokens, probability" in run([tmp_path / "program", TINY, "files"], **found)


LISTS = """\
cmake_minimum_required(VERSION 3.13)
project(client C)
add_executable(program "{source}")
{document}
target_link_libraries(program PRIVATE m)
"""


def configure(prefix, folder, wanted="0.1"):
    document = of_the_document("cmake").replace("unsay 0.1", f"unsay {wanted}")
    (folder / "CMakeLists.txt").write_text(LISTS.format(document=document, source=EXAMPLE))
    return subprocess.run(
        ["cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}"],
        text=True, capture_output=True, timeout=300,
    )  # fmt: skip


@needs("cmake")
def test_a_c_program_builds_by_cmake_even_from_a_tree_that_was_moved(prefix, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(prefix, moved, symlinks=True)
    done = configure(moved, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run(["cmake", "--build", tmp_path / "build"])
    program = tmp_path / "build/program"
    assert "tokens, probability" in run([program, TINY, "files"])
    assert "libunsay.so.1" in run(["readelf", "-d", program])


@needs("cmake")
@pytest.mark.parametrize("wanted", ["0.2", "1.0", "0.1.9 EXACT"])
def test_cmake_refuses_a_version_that_this_one_does_not_serve(prefix, tmp_path, wanted):
    done = configure(prefix, tmp_path, wanted)
    assert done.returncode != 0 and f"version: {version()}" in done.stderr


@needs("cmake")
def test_cmake_says_which_file_of_an_installed_tree_is_gone(prefix, tmp_path):
    torn = tmp_path / "torn"
    shutil.copytree(prefix, torn, symlinks=True)
    (torn / "include/unsay.h").unlink()
    done = configure(torn, tmp_path)
    assert done.returncode != 0 and "unsay.h is not there" in re.sub(r"\s+", " ", done.stderr)


def test_the_symbols_file_of_the_debian_package_lists_the_header_s_functions():
    listed = (ROOT / "packaging/debian/libunsay1.symbols").read_text()
    symbols = re.findall(r"^ (\w+)@Base \d", listed, re.MULTILINE)
    assert symbols == sorted(run([sys.executable, "scripts/header_functions.py"]).split())


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The Debian packages, unpacked into one root."""
    run(["scripts/make_deb.sh"])
    root = tmp_path_factory.mktemp("root")
    found = sorted((ROOT / "build/deb").glob("*.deb"))
    assert [path.name.split("_")[0] for path in found] == [
        "libunsay-dev", "libunsay1", "python3-unsay"
    ]  # fmt: skip
    for path in found:
        run(["dpkg-deb", "-x", path, root])
    return root


with_debian = needs("dpkg-buildpackage", "dh", "dh_python3")


@with_debian
def test_a_c_program_builds_and_runs_against_the_debian_packages(packages, tmp_path):
    folder = next(packages.glob("usr/lib/*/pkgconfig")).parent
    where = {
        "PKG_CONFIG_PATH": str(folder / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(packages)
    }  # fmt: skip
    flags = run(["pkg-config", "--cflags", "--libs", "unsay"], **where).split()
    assert f"-I{packages}/usr/include" in flags or "-I/usr/include" not in flags
    program = tmp_path / "generate"
    run(["gcc", "-std=c99", f"-I{packages}/usr/include", f"-L{folder}", EXAMPLE, "-o", program,
         "-lunsay", "-lm"])  # fmt: skip
    assert "tokens, probability" in run([program, TINY, "files"], LD_LIBRARY_PATH=str(folder))


@with_debian
def test_python_imports_the_debian_package_on_the_library_of_the_other(packages):
    folder = next(packages.glob("usr/lib/*/libunsay.so.1")).parent
    code = f"import unsay; print(unsay.__file__, unsay.open({str(TINY)!r}).generate('files'))"
    told = run(
        [sys.executable, "-c", code], folder,
        PYTHONPATH=str(packages / "usr/lib/python3/dist-packages"), LD_LIBRARY_PATH=str(folder),
    )  # fmt: skip
    assert told.startswith(str(packages))


@with_debian
def test_the_debian_package_of_python_brings_the_command_and_its_manual(packages):
    folder = next(packages.glob("usr/lib/*/libunsay.so.1")).parent
    told = run(
        [sys.executable, packages / "usr/bin/unsay", "generate", TINY, "files"], folder,
        PYTHONPATH=str(packages / "usr/lib/python3/dist-packages"), LD_LIBRARY_PATH=str(folder),
    )  # fmt: skip
    assert told.strip()
    manual = gzip.decompress((packages / "usr/share/man/man1/unsay.1.gz").read_bytes()).decode()
    for name in ("generate", "patch", "eval", "apply", "revert", "info", "verify"):
        assert f"\n.SH UNSAY {name.upper()}\n" in manual
    assert version() in manual


@with_debian
def test_each_debian_package_depends_on_what_it_loads(packages):
    def depends(name):
        path = next((ROOT / "build/deb").glob(f"{name}_*.deb"))
        return run(["dpkg-deb", "--field", path, "Depends"])

    library = depends("libunsay1")
    for name in ("libc6", "libonnx1", "libprotobuf32", "libzstd1", "libnettle8", "libcjson1"):
        assert re.search(rf"\b{name}\b", library), f"{name} is not in {library}"
    assert f"libunsay1 (= {version()}-1)" in depends("libunsay-dev")
    assert f"libunsay1 (>= {version()})" in depends("python3-unsay")


@with_debian
@needs("lintian")
def test_lintian_finds_nothing_in_the_debian_packages(packages):
    # The one tag is about an upload to Debian's own archive.
    changes = next((ROOT / "build/deb").glob("*.changes"))
    options = ["--fail-on", "error,warning", "--suppress-tags", "initial-upload-closes-no-bugs"]
    done = subprocess.run(
        ["lintian", *options, "--allow-root", changes], text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@with_debian
def test_the_maintainer_of_a_debian_package_is_who_makes_it(packages):
    """Last: it makes the packages anew."""
    run(["scripts/make_deb.sh"], DEBFULLNAME="Ann & Bob|Co", DEBEMAIL="ann@example.org")
    changes = next((ROOT / "build/deb").glob("*.changes")).read_text()
    for field in ("Maintainer", "Changed-By"):
        assert f"\n{field}: Ann & Bob|Co <ann@example.org>\n" in changes
    library = next((ROOT / "build/deb").glob("libunsay1_*.deb"))
    assert run(["dpkg-deb", "--field", library, "Maintainer"]).startswith("Ann & Bob|Co <ann@")
