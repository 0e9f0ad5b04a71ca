"""Saves a model again and again while the file system fails it: run by test_faults.py under
the shim of faults.c, with the shim's path, a scratch folder, what to save, and flags: whether the
destination exists, whether it is the source, whether its files are links."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
from pathlib import Path

import unsay

ERROR, KILL, SHORT, NO_EXCHANGE = 1, 2, 3, 4


def digest(folder: Path) -> str | None:
    """Of every file's name and bytes; None if there is no folder."""
    if not folder.exists():
        return None
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        sha.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            sha.update(path.read_bytes())
    return sha.hexdigest()


class Scenario:
    """One way of saving: from `source`, patched, to `target`, which may be there already."""

    def __init__(
        self, shim: str, scratch: Path, source: Path, is_old: bool, in_place: bool, links: bool
    ):
        self.shim = ctypes.CDLL(shim)
        self.target = scratch / "snapshots/target"
        self.before = source if is_old or in_place else None
        self.start = scratch / "snapshots/start"
        self.blobs = scratch / "blobs"
        shutil.copytree(source, self.start)
        if links:
            # As in a model cache: the files are links, and lie elsewhere.
            self.blobs.mkdir()
            for path in [path for path in self.start.iterdir() if path.is_file()]:
                path.rename(self.blobs / path.name)
                path.symlink_to(f"../../blobs/{path.name}")
        self.content = digest(self.blobs)
        (self.start / "notes").mkdir()
        (self.start / "notes/kept.txt").write_text("kept")
        self.in_place = in_place
        self.reset()
        self.model = unsay.open(self.target if in_place else self.start)
        self.patch()
        self.old = digest(self.target)
        self.model.save(self.target, allow_rounding=True)
        self.new = digest(self.target)
        assert digest(self.blobs) == self.content
        assert self.new != self.old

    def patch(self) -> None:
        output = self.model.generate([5, 6, 1], max_new_tokens=4)
        with self.model.patch(loss="likelihood", learning_rate=1e-2) as patch:
            patch.add([5, 6, 1], output.ids)
            patch.run(max_steps=1)
            patch.commit()

    def reset(self) -> None:
        for path in self.target.parent.glob(self.target.name + "*"):
            shutil.rmtree(path)
        if self.before is not None:
            shutil.copytree(self.start, self.target, symlinks=True)

    def leftovers(self) -> list[Path]:
        return sorted(self.target.parent.glob(self.target.name + ".new-*"))

    def try_error(self, kind: int, number: int) -> bool:
        """One save with the n-th call failing; False once it has no such call."""
        self.reset()
        self.shim.faults_arm(kind, number)
        failure = None
        try:
            self.model.save(self.target, allow_rounding=True)
        except unsay.Error as error:
            failure = error
        seen = self.shim.faults_disarm()
        found = digest(self.target)
        assert digest(self.blobs) == self.content, f"call {number}: written through a link"
        if failure is None:
            assert found == self.new, f"call {number}: saved, but not the new folder"
        else:
            assert isinstance(failure, unsay.IOFailure), repr(failure)
            assert found == self.old, f"call {number}: refused, but not the old folder"
        self.model.save(self.target, allow_rounding=True)
        assert digest(self.target) == self.new
        assert self.leftovers() == [], f"call {number}: {self.leftovers()}"
        return seen >= number

    def try_kill(self, number: int) -> bool:
        self.reset()
        child = os.fork()
        if child == 0:
            self.shim.faults_arm(KILL, number)
            self.model.save(self.target, allow_rounding=True)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        found = digest(self.target)
        assert found in (self.old, self.new), f"killed at call {number}: a mixture"
        if found is not None:
            with unsay.open(self.target) as model:
                model.fingerprint()
        self.model.save(self.target, allow_rounding=True)
        assert digest(self.target) == self.new
        assert self.leftovers() == [], f"killed at call {number}: {self.leftovers()}"
        return status != 0

    def try_without_exchange(self) -> None:
        """A file system that cannot exchange two names: refused, and nothing is lost."""
        self.reset()
        self.shim.faults_arm(NO_EXCHANGE, 0)
        try:
            self.model.save(self.target, allow_rounding=True)
        except unsay.Error as error:
            assert isinstance(error, unsay.IOFailure) and self.before is not None, repr(error)
            assert digest(self.target) == self.old
        else:
            assert self.before is None
        self.shim.faults_disarm()


def main(shim: str, scratch: str, source: str, *flags: str) -> None:
    scenario = Scenario(shim, Path(scratch), Path(source), *(flag == "1" for flag in flags))
    points = 0
    for kind in (ERROR, SHORT):
        number = 1
        while scenario.try_error(kind, number):
            number += 1
        points += number - 1
    number = 1
    while scenario.try_kill(number):
        number += 1
    scenario.try_without_exchange()
    print(points + number - 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
