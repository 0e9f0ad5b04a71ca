"""Promises of docs/abi.md: structs are the same in every language, old callers are served."""

import ctypes
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import MODELS, ROOT
from unsay import _types

HEADER = ROOT / "include/unsay.h"
ABI = ROOT / "Tests/abi"


def run(command, folder):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def layouts(told):
    """Struct -> its size and the offset of each field, of lines `struct size field offset ...`."""
    found = {}
    for line in told.splitlines():
        name, size, *fields = line.split()
        found[name] = int(size), dict(zip(fields[::2], map(int, fields[1::2])))
    return found


def fields(kind):
    return [name for name, _ in kind._fields_]


def in_python():
    return {
        name: (ctypes.sizeof(kind), {field: getattr(kind, field).offset for field in fields(kind)})
        for name, kind in _types.STRUCTS.items()
    }


def in_c(folder):
    lines = "\n".join(
        f'printf("{name} %zu", sizeof({name}));'
        + "".join(f'printf(" {f} %zu", offsetof({name}, {f}));' for f in fields(kind))
        + 'printf("\\n");'
        for name, kind in _types.STRUCTS.items()
    )
    source = folder / "layout.c"
    source.write_text(f"#include <stdio.h>\n#include <unsay.h>\nint main(void) {{\n{lines}\n}}\n")
    run(["gcc", "-std=c99", f"-I{HEADER.parent}", source, "-o", folder / "in-c"], folder)
    return layouts(run([folder / "in-c"], folder))


def in_swift(folder):
    lines = "\n".join(
        f'print("{name}", MemoryLayout<{name}>.size'
        + "".join(f', "{f}", MemoryLayout<{name}>.offset(of: \\.{f})!' for f in fields(kind))
        + ")"
        for name, kind in _types.STRUCTS.items()
    )
    source = folder / "layout.swift"
    source.write_text(f"import CUnsay\n{lines}\n")
    run(["swiftc", f"-I{HEADER.parent}", source, "-o", folder / "in-swift"], folder)
    return layouts(run([folder / "in-swift"], folder))


def test_every_struct_of_the_header_is_known_to_python():
    defined = re.findall(r"^typedef struct (\w+) \{", HEADER.read_text(), re.MULTILINE)
    assert sorted(defined) == sorted(_types.STRUCTS)


@pytest.mark.parametrize("measure", [in_c, in_swift])
def test_sizes_and_offsets_agree(measure, tmp_path):
    if measure is in_swift and shutil.which("swiftc") is None:
        pytest.skip("needs swiftc")
    found, expected = measure(tmp_path), in_python()
    for name, layout in expected.items():
        print(f"{name}: {layout[0]} bytes in Python, {found[name][0]} {measure.__name__}")
        assert found[name] == layout, name
    assert found.keys() == expected.keys()


@pytest.mark.parametrize("header", sorted(ABI.glob("*/unsay.h")), ids=lambda path: path.parent.name)
def test_a_program_compiled_with_an_older_header_runs(header, tmp_path):
    program, library = tmp_path / "client", ROOT / "build/lib"
    run(["gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{header.parent}",
         ABI / "client.c", "-o", program, f"-L{library}", "-lunsay", f"-Wl,-rpath,{library}"],
        tmp_path)  # fmt: skip
    told = run([program, MODELS / "tiny-v10"], tmp_path)
    assert told.startswith(f"a caller of {header.parent.name} is served by ")


def compare(header):
    return subprocess.run(
        [sys.executable, ROOT / "scripts/check_abi.py", header],
        env=os.environ, text=True, capture_output=True, timeout=300,
    )  # fmt: skip


with_abigail = pytest.mark.skipif(
    shutil.which("abidiff") is None, reason="needs abidiff of abigail-tools"
)


@with_abigail
def test_the_header_keeps_the_promises_to_compiled_callers():
    done = compare(HEADER)
    assert done.returncode == 0, done.stdout + done.stderr


def changed(folder, pattern, replacement):
    text, count = re.subn(pattern, replacement, HEADER.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, pattern
    (folder / "unsay.h").write_text(text)
    return compare(folder / "unsay.h")


@with_abigail
@pytest.mark.parametrize(
    "pattern, replacement",
    [
        (r"^( +int32_t +)keep_examples;", r"\1keep_examples; int32_t newer, newest;"),
        (r"UNSAY_ENDING_PATIENCE = 4", "UNSAY_ENDING_PATIENCE = 4, UNSAY_ENDING_NEW = 5"),
        (r"^UNSAY_API void unsay_delta_close", r"UNSAY_API void unsay_new(int);\n\g<0>"),
    ],
    ids=["a field at the end of options", "an enumerator", "a function"],
)
def test_what_may_be_added_passes(tmp_path, pattern, replacement):
    done = changed(tmp_path, pattern, replacement)
    assert done.returncode == 0, done.stdout + done.stderr


@with_abigail
@pytest.mark.parametrize(
    "pattern, replacement, named",
    [
        (r"^( +float +)max_root_kl;", r"\1newer, newest, max_root_kl;", "unsay_session_options"),
        (r"^( +float +)weight;", r"\1weight, more, yet;", "unsay_example"),
        (r"= -21,", "= -25,", "UNSAY_E_IO"),
        (r"^UNSAY_API void unsay_delta_close\(.*\n", "", "unsay_delta_close"),
        (r"int32_t steps\);", "int64_t steps);", "unsay_finetune"),
    ],
    ids=["a field amid options", "a larger element", "a number", "a function gone", "an argument"],
)
def test_what_would_break_a_compiled_caller_is_found(tmp_path, pattern, replacement, named):
    done = changed(tmp_path, pattern, replacement)
    assert done.returncode == 1 and named in done.stdout, done.stdout + done.stderr
