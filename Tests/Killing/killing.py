"""Kills a process at random moments while it writes: what it leaves is old or new, never torn.

    killing.py SCRATCH_FOLDER KILLS [SEED]

A child of this process saves, or tunes, again and again until SIGKILL ends it; then whatever it
left is opened, compared to the bit, and gone on from. KILLS are shared out evenly among the
things that are written. Prints a line for each; ends with an assertion at the first mixture.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import unsay

TINY = Path(__file__).resolve().parents[1] / "Models/tiny-v10"
FREE: Dict[str, Any] = {
    "scope": "all",
    "max_guard_kl": 1000.0,
    "max_guard_flips": 1.0,
    "learning_rate": 1e-3,
}
PAIRS = [([5 + i, 9, 30 + i, 1], [7, 8 + i, 40 - i, 1]) for i in range(6)]
STEPS = 12


def kill_at_random(work: Callable[[], None], seconds: float, chance: random.Random) -> None:
    """Runs `work` in a child without end, and kills it within `seconds` of its beginning."""
    begun, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(ready, b"!")
            while True:
                work()
        finally:
            os._exit(1)
    os.read(begun, 1)
    time.sleep(chance.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(begun)
    os.close(ready)
    assert os.WIFSIGNALED(status), "the child failed by itself"


def seconds_of(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def session(model: unsay.Model) -> unsay.Patch:
    patch = model.patch(seed=1, **FREE)
    for input, output in PAIRS[:4]:
        patch.add(input, output, marks=[-1, 1, 1, 1])
    patch.guard(PAIRS[4:])
    return patch


def patched(model: unsay.Model, steps: int) -> unsay.Model:
    twin = model.clone()
    with session(twin) as patch:
        for _ in range(steps):
            patch.step()
        patch.commit()
    return twin


class Folder:
    """Two models saved in turn to one folder."""

    name = "save"

    def __init__(self, model: unsay.Model, scratch: Path):
        self.target = scratch / "saved"
        self.twins = [patched(model, steps) for steps in (1, 2)]
        self.known = [twin.fingerprint() for twin in self.twins]
        assert self.known[0] != self.known[1]
        self.work()

    def work(self) -> None:
        for twin in self.twins:
            twin.save(self.target)

    def check(self) -> str:
        with unsay.open(self.target, threads=1) as found:
            which = self.known.index(found.fingerprint())
        self.twins[which].save(self.target)
        left = [path.name for path in self.target.parent.glob("saved.new-*")]
        assert left == [], f"a save later there is still {left}"
        return f"the {'first' if which == 0 else 'second'} model"


class DeltaFile:
    """Two deltas saved in turn to one file."""

    name = "delta save"

    def __init__(self, model: unsay.Model, scratch: Path):
        self.path = scratch / "patch.unsay"
        self.deltas: List[unsay.Delta] = []
        with session(model) as patch:
            for _ in range(2):
                patch.step()
                self.deltas.append(patch.delta())
        self.known = []
        for delta in self.deltas:
            delta.save(self.path)
            self.known.append(self.path.read_bytes())
        assert self.known[0] != self.known[1]

    def work(self) -> None:
        for delta in self.deltas:
            delta.save(self.path)

    def check(self) -> str:
        which = self.known.index(self.path.read_bytes())
        unsay.Delta.open(self.path).close()
        return f"the {'first' if which == 0 else 'second'} delta"


class Commit:
    """A session that saves its state, commits, and saves the model it committed to: after
    each kill the state leads, to the bit, where it would have led without."""

    name = "commit with state"

    def __init__(self, model: unsay.Model, scratch: Path):
        self.model = model
        self.state = scratch / "commit.session"
        self.target = scratch / "committed"
        #: Fingerprints after so many steps, 0 the first.
        self.known = [model.fingerprint()]
        with session(model) as patch:
            for _ in range(STEPS):
                patch.step()
                with patch.model() as trained:
                    self.known.append(trained.fingerprint())
        with session(model) as patch:
            patch.step()
            patch.save_state(self.state)
        self.work()

    def work(self) -> None:
        twin = self.model.clone()
        with session(twin) as patch:
            done = patch.load_state(self.state)
            patch.rollback() if done == STEPS else patch.step()
            patch.save_state(self.state)
            if done < STEPS:
                patch.commit()
        twin.save(self.target)

    def check(self) -> str:
        with unsay.open(self.target, threads=1) as found:
            assert found.fingerprint() in self.known
        with session(self.model) as patch:
            done = patch.load_state(self.state)
            for _ in range(done, STEPS):
                patch.step()
            with patch.model() as trained:
                assert trained.fingerprint() == self.known[STEPS]
        return f"{done} steps"


class Tuning:
    """Fine-tuning that saves its state at every step: resumed, it ends where it would have."""

    name = "fine-tuning"

    def __init__(self, model: unsay.Model, scratch: Path):
        self.model = model
        self.state = scratch / "tuning.session"
        self.wanted: Optional[str] = None
        self.wanted = self.tune(resume=False)

    def tune(self, resume: bool, state: bool = False) -> str:
        twin = self.model.clone()
        twin.finetune(
            PAIRS, steps=STEPS, batch_size=2, optimizer="adafactor", dropout=0.1, seed=3,
            state_path=str(self.state) if state or resume else None,
            save_every=1 if state or resume else None, resume=resume,
        )  # fmt: skip
        return twin.fingerprint()

    def work(self) -> None:
        self.tune(resume=self.state.exists(), state=True)
        self.state.unlink()

    def check(self) -> str:
        resume = self.state.exists()
        assert self.tune(resume=resume) == self.wanted
        self.state.unlink(missing_ok=True)
        return "resumed" if resume else "before the first state"


def main(scratch: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    # One thread: threads do not survive a fork.
    with unsay.open(TINY, threads=1) as model:
        kinds = [kind(model, scratch) for kind in (Folder, DeltaFile, Commit, Tuning)]
        for number, kind in enumerate(kinds):
            mine = kills // len(kinds) + (number < kills % len(kinds))
            seconds = seconds_of(kind.work)
            found: Counter[str] = Counter()
            for _ in range(mine):
                kill_at_random(kind.work, seconds, chance)
                found[kind.check()] += 1
            told = ", ".join(f"{count} x {what}" for what, count in sorted(found.items()))
            print(f"{kind.name}: {mine} kills within {seconds * 1e3:.0f} ms: {told}", flush=True)
    for path in scratch.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(f"killing: {kills} kills, nothing torn")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
