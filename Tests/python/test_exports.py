"""The shared library and the header agree with each other and with the Python structs."""

import ctypes
import re
import shutil
import subprocess

import pytest
import unsay
from conftest import ROOT
from unsay import _types
from unsay._functions import PROTOTYPES

LIBRARY = ROOT / "bindings/python/src/unsay/libunsay.so"
HEADER = ROOT / "include/unsay.h"


def declared():
    script = ROOT / "scripts/header_functions.py"
    return subprocess.check_output(["python3", script], text=True).split()


def compiled(tmp_path, body):
    """What a C program that includes the header prints."""
    source, program = tmp_path / "print.c", tmp_path / "print"
    source.write_text(f"#include <stdio.h>\n#include <unsay.h>\nint main(void) {{{body}}}\n")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    subprocess.check_call([compiler, f"-I{HEADER.parent}", source, "-o", program])
    return subprocess.check_output([program], text=True).split()


def test_the_library_exports_the_header_and_nothing_else():
    listed = subprocess.check_output(["nm", "-D", "--defined-only", LIBRARY], text=True)
    assert sorted(line.split()[-1] for line in listed.splitlines()) == sorted(declared())


def test_the_version_script_hides_everything_else():
    script = (ROOT / "Sources/UnsayLibrary/exports.map").read_text()
    assert re.fullmatch(r"\{ global: unsay_\*; local: \*; \};\s*", script)


def test_the_library_needs_no_swift_at_run_time():
    needed = subprocess.check_output(["readelf", "-d", LIBRARY], text=True)
    assert "libswift" not in needed and "SONAME" in needed and "libunsay.so.1" in needed


def test_python_knows_every_function():
    assert [f"unsay_{name}" for name in PROTOTYPES] == declared()


@pytest.mark.parametrize("name", _types.STRUCTS)
def test_a_struct_has_the_layout_of_the_header(tmp_path, name):
    kind = _types.STRUCTS[name]
    fields = [field[0] for field in kind._fields_]
    prints = "".join(
        f'printf("%zu %zu ", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));'
        for field in fields
    )
    found = compiled(tmp_path, f'printf("%zu ", sizeof({name}));{prints}')
    expected = [ctypes.sizeof(kind)]
    for field in fields:
        descriptor = getattr(kind, field)
        expected += [descriptor.offset, descriptor.size]
    assert [int(number) for number in found] == expected


def test_named_choices_have_the_numbers_of_the_header(tmp_path):
    choices = {f"UNSAY_COMPUTE_{name.upper()}": n for name, n in _types.COMPUTES.items()}
    choices |= {f"UNSAY_LOSS_{name.upper()}": n for name, n in _types.LOSSES.items()}
    choices |= {f"UNSAY_EXTENT_{name.upper()}": n for name, n in _types.EXTENTS.items()}
    choices |= {f"UNSAY_FINISH_{name.upper()}": n for n, name in enumerate(_types.FINISHES)}
    choices |= {f"UNSAY_ENDING_{name.upper()}": n for n, name in enumerate(_types.ENDINGS)}
    body = "".join(f'printf("%d ", (int){name});' for name in choices)
    assert [int(number) for number in compiled(tmp_path, body)] == list(choices.values())


def test_every_status_of_the_header_has_its_exception():
    statuses = dict(re.findall(r"(UNSAY_E_\w+)\s*=\s*(-\d+)", HEADER.read_text()))
    kinds = [getattr(unsay, name) for name in unsay.errors.__all__ if name != "Error"]
    assert {kind.status for kind in kinds} == {int(number) for number in statuses.values()}
    for name, number in statuses.items():
        assert type(unsay.errors.failure(int(number), "")).status == int(number), name
        assert unsay._library.functions.status_name(int(number)).decode() == name


def test_library_and_package_have_one_version():
    project = (ROOT / "bindings/python/pyproject.toml").read_text()
    assert unsay.version() == unsay.__version__
    assert f'version = "{unsay.__version__}"' in project
    assert len(unsay.build_info()) > 10
