#!/usr/bin/env python3
"""Compares the binary interface of include/unsay.h with that of the first release.

    check_abi.py [HEADER]       compare; exit 1 if a compiled caller would break
    check_abi.py --baseline     write Tests/abi/libunsay.abi anew, for a new ABI number

libabigail reads types from debug information, which of the library tells Swift's. So the header
itself is compiled: every function of it as C, with an empty body, under the library's own name.
What the library exports, scripts/check_exports.sh compares with the header; that its functions
have the header's types, the Swift compiler checks (@implementation).
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "Tests/abi/libunsay.abi"
SUPPRESSIONS = ROOT / "Tests/abi/allowed.abignore"
INCOMPATIBLE, CHANGED, BROKEN = 8, 4, 3


def stub(header: Path, folder: Path) -> Path:
    """A library of the header's functions, with debug information."""
    text = header.read_text(encoding="utf-8")
    text, count = re.subn(r"(^UNSAY_API[^;{]*\));", r"\1 { __builtin_trap(); }", text, flags=re.M)
    number = re.search(r"#define UNSAY_ABI_VERSION +(\d+)", text)
    if not count or not number:
        sys.exit(f"abi: {header} declares no function, or no UNSAY_ABI_VERSION")
    source, library = folder / "unsay.c", folder / "libunsay.so"
    source.write_text(text, encoding="utf-8")
    subprocess.run(
        ["gcc", "-std=c11", "-g", "-O0", "-fPIC", "-shared", "-w",
         "-Wl,--build-id=none", f"-Wl,-soname,libunsay.so.{number[1]}",
         source.name, "-o", library.name],
        cwd=folder, check=True,
    )  # fmt: skip
    return library


def describe(library: Path, out: Path) -> None:
    subprocess.run(
        ["abidw", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path",
         "--no-parameter-names", "--no-elf-needed", "--no-write-default-sizes",
         "--type-id-style", "hash", "--out-file", out, library],
        check=True,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the ABI with the first release's.")
    parser.add_argument("header", nargs="?", type=Path, default=ROOT / "include/unsay.h")
    parser.add_argument("--baseline", action="store_true", help="write the baseline anew")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        library = stub(arguments.header, Path(name))
        if arguments.baseline:
            describe(library, BASELINE)
            return 0
        done = subprocess.run(
            ["abidiff", "--no-show-locs", "--suppressions", SUPPRESSIONS,
             "--no-added-syms", BASELINE, library],
            text=True, capture_output=True,
        )  # fmt: skip
    if done.returncode & BROKEN:
        sys.exit(f"abi: abidiff failed: {done.stderr}{done.stdout}")
    if done.returncode & (INCOMPATIBLE | CHANGED):
        sys.stdout.write(done.stdout)
        print("abi: a program compiled with the first release's header would break")
        return 1
    print("abi: as in the first release, or larger by what compiled callers never see")
    return 0


if __name__ == "__main__":
    sys.exit(main())
