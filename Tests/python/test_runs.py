"""Runs, sweeps, plans, rounds and what a session saves."""

import math
import time

import numpy
import pytest
import unsay
from conftest import MODELS

FREE = {"scope": "all", "max_guard_kl": 1000.0, "max_guard_flips": 1.0}
PAIRS = [([5 + i, 9, 30 + i, 1], [7, 8 + i, 40 - i, 1]) for i in range(12)]


@pytest.fixture
def tiny():
    with unsay.open(MODELS / "tiny-v10", threads=2) as model:
        yield model


def add(patch, pairs=PAIRS[:8]):
    for input, output in pairs:
        patch.add(input, output, marks=[-1, 1, 1, 1])


def test_the_best_weights_are_kept_not_the_last(tiny):
    # A rate so high that what is held out gets worse sooner or later.
    with tiny.patch(learning_rate=0.03, loss="likelihood", seed=1, **FREE) as patch:
        for input, output in PAIRS[:4]:
            patch.add(input, output)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output)
        report = patch.run(max_steps=40, evaluate_every=4, select="loss")
        assert report.ending == "steps" and report.steps == 40
        best = patch.evaluate().held_out_loss
    with tiny.patch(learning_rate=0.03, loss="likelihood", seed=1, **FREE) as patch:
        for input, output in PAIRS[:4]:
            patch.add(input, output)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output)
        found = [patch.evaluate().held_out_loss]
        for step in range(1, 41):
            patch.step()
            if step % 4 == 0:
                found.append(patch.evaluate().held_out_loss)
    assert best == min(found), found
    assert best < found[-1], "the test needs a run that ends worse than its best"


def test_patience_ends_a_run_that_gets_no_better(tiny):
    with tiny.patch(learning_rate=0.03, loss="likelihood", seed=1, **FREE) as patch:
        for input, output in PAIRS[:4]:
            patch.add(input, output)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output)
        report = patch.run(max_steps=400, evaluate_every=4, patience=3, select="loss")
    assert report.ending == "patience" and report.steps < 400


def test_the_loss_cannot_choose_without_held_out_examples(tiny):
    with tiny.patch(**FREE) as patch:
        add(patch)
        with pytest.raises(unsay.StateError, match="held-out"):
            patch.run(max_steps=1, select="loss")


def test_a_loss_that_becomes_infinite_leaves_the_best_weights(tiny):
    calls = []

    def poison(gradients):
        calls.append(1)
        if len(calls) == 8:
            numpy.asarray(gradients.values)[0] = numpy.inf

    with tiny.patch(learning_rate=1e-3, max_avoid_p=0.0, on_gradients=poison, **FREE) as patch:
        add(patch)
        with pytest.raises(unsay.DivergedError, match="step 8"):
            patch.run(max_steps=20, evaluate_every=3)
        stopped = patch.evaluate().avoid_p_after
    with tiny.patch(learning_rate=1e-3, max_avoid_p=0.0, **FREE) as patch:
        add(patch)
        found = [patch.evaluate().avoid_p_after]
        for _ in range(2):
            for _ in range(3):
                patch.step()
            found.append(patch.evaluate().avoid_p_after)
        assert stopped == min(found) < found[0]


def test_a_sweep_tries_every_pair_and_keeps_the_best(tiny):
    with tiny.patch(seed=4, max_avoid_p=0.0, **FREE) as patch:
        add(patch)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output, marks=[-1, 1, 1, 1])
        sweep = patch.sweep(learning_rates=[1e-4, 1e-3], alphas=[1, 4], max_steps=6)
        pairs = [(trial.learning_rate, trial.alpha) for trial in sweep.trials]
        assert pairs == [(pytest.approx(r), a) for r in (1e-4, 1e-3) for a in (1, 4)]
        scores = [trial.evaluation.held_out_avoid_p_after for trial in sweep.trials]
        assert sweep.chosen == scores.index(min(scores))
        assert patch.evaluate() == sweep.best.evaluation
    # Each trial is what a patch of its own would be.
    alone = sweep.trials[3]
    with tiny.patch(seed=4, max_avoid_p=0.0, learning_rate=1e-3, alpha=4, **FREE) as patch:
        add(patch)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output, marks=[-1, 1, 1, 1])
        assert patch.run(max_steps=6).evaluation == alone.evaluation


def test_a_sweep_whose_guard_never_holds_changes_nothing(tiny):
    with tiny.patch(max_guard_kl=0.0, max_guard_flips=1.0, max_avoid_p=0.0) as patch:
        add(patch)
        patch.guard(PAIRS[8:])
        sweep = patch.sweep(learning_rates=[1e-2], max_steps=5, evaluate_every=5)
        # The run itself went back to its start, where the guard holds.
        assert sweep.trials[0].ending == "guard" and sweep.chosen is None
        assert patch.evaluate().guard_kl == 0


def test_a_saved_session_goes_on_with_the_same_bits(tiny, tmp_path):
    options = {"learning_rate": 1e-3, "batch_size": 3, "dropout": 0.1, "seed": 6, **FREE}
    for optimizer in ("adamw", "adafactor", "sgd"):
        path = tmp_path / f"{optimizer}.session"
        with tiny.patch(optimizer=optimizer, **options) as patch:
            add(patch)
            for _ in range(5):
                patch.step()
            patch.save_state(path)
            expected = [patch.step() for _ in range(6)]
            with patch.model() as trained:
                fingerprint = trained.fingerprint()
        with tiny.patch(optimizer=optimizer, **options) as patch:
            add(patch)
            assert patch.load_state(path) == 5
            found = [patch.step() for _ in range(6)]
            with patch.model() as trained:
                assert trained.fingerprint() == fingerprint
        assert [step.loss for step in found] == [step.loss for step in expected]


def test_a_run_that_was_saved_ends_like_one_that_was_not(tiny, tmp_path):
    path = tmp_path / "run.session"
    options = {"learning_rate": 0.02, "batch_size": 3, "loss": "likelihood", "seed": 6, **FREE}

    def start():
        patch = tiny.patch(**options)
        for input, output in PAIRS[:6]:
            patch.add(input, output)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output)
        return patch

    run = {"evaluate_every": 3, "patience": 4, "select": "loss"}
    with start() as patch:
        whole = patch.run(max_steps=60, **run)
        with patch.model() as trained:
            fingerprint = trained.fingerprint()
    with start() as patch:
        # Killed in the middle: what was saved at step 9 is all there is.
        patch.run(max_steps=11, state_path=path, save_every=9, **run)
    with start() as patch:
        assert patch.load_state(path) == 9
        rest = patch.run(max_steps=60 - 9, **run)
        with patch.model() as trained:
            assert trained.fingerprint() == fingerprint
    assert (rest.ending, rest.steps + 9) == (whole.ending, whole.steps)


def test_a_session_of_something_else_is_refused(tiny, tmp_path):
    path = tmp_path / "state"
    with tiny.patch(**FREE) as patch:
        add(patch)
        patch.step()
        patch.save_state(path)
    with tiny.patch(seed=1, **FREE) as patch:
        add(patch)
        with pytest.raises(unsay.MismatchError, match="options"):
            patch.load_state(path)
    with tiny.patch(**FREE) as patch:
        add(patch, PAIRS[:3])
        with pytest.raises(unsay.MismatchError, match="examples"):
            patch.load_state(path)
    content = bytearray(path.read_bytes())
    with tiny.patch(**FREE) as patch:
        add(patch)
        before = patch.evaluate()
        for damaged in (content[:-1], content[:40], b"", content[:-9] + b"x" * 9):
            path.write_bytes(damaged)
            with pytest.raises(unsay.FormatError):
                patch.load_state(path)
        with pytest.raises(unsay.NotFoundError):
            patch.load_state(tmp_path / "absent")
        assert patch.evaluate() == before


def test_finetuning_keeps_the_best_and_resumes(tiny, tmp_path):
    options = {
        "optimizer": "adafactor", "learning_rate": 1e-2, "dropout": 0.1, "z_loss": 1e-4,
        "batch_size": 4, "validation": PAIRS[8:], "evaluate_every": 5, "seed": 2,
    }  # fmt: skip
    with tiny.clone() as twin:
        before = numpy.mean([twin.score(*pair).total for pair in PAIRS[8:]])
        report = twin.finetune(PAIRS[:8], steps=30, **options)
        assert report.steps == 30
        after = numpy.mean([twin.score(*pair).total for pair in PAIRS[8:]])
        assert after > before
        expected = twin.fingerprint()
    state = str(tmp_path / "state")
    with tiny.clone() as twin:
        twin.finetune(PAIRS[:8], steps=15, state_path=state, save_every=10, **options)
    with tiny.clone() as twin:
        twin.finetune(PAIRS[:8], steps=30, state_path=state, resume=True, **options)
        assert twin.fingerprint() == expected


def test_finetuning_keeps_no_states_of_its_examples(tiny):
    with tiny.patch(loss="likelihood", **FREE) as patch:
        for input, output in PAIRS[:4]:
            patch.add(input, output)
        patch.guard(PAIRS[8:])
        few = patch.plan()
        assert few.kept_count == 16 and few.avoided_count == 0 and few.marks == []
        for input, output in PAIRS[:4] * 50:
            patch.add(input, output)
        assert patch.plan().memory_bytes < few.memory_bytes + (1 << 20)
        patch.step()
        evaluation = patch.evaluate()
        assert evaluation.keep_kl == 0 and evaluation.guard_kl > 0


def test_a_plan_prices_every_mark_and_changes_nothing(tiny):
    with tiny.patch(**FREE) as patch:
        for input, output in PAIRS[:4]:
            patch.add(input, output, marks=[-1, 1, 1, 1], also_avoid={2: [17]})
        patch.add(PAIRS[4][0], [9, 8, 1], marks=[1, -1, 1])
        plan = patch.plan()
        assert patch.evaluate().keep_kl == 0
    assert (plan.avoided_count, plan.kept_count) == (9, 14)
    assert len(plan.marks) == 9 and plan.trained_count == tiny.info.parameter_count
    for mark in plan.marks[:1]:
        probability = math.exp(tiny.score(*PAIRS[0]).log_probs[0])
        assert mark.q == pytest.approx(probability, rel=1e-4)
        assert mark.price == pytest.approx(-math.log1p(-probability), rel=1e-4)
    # The 7 is avoided wherever it is written; the 8 is kept in the first output.
    free = {mark.id for mark in plan.marks if mark.is_context_free}
    assert free == {7}, plan.marks
    assert plan.context_free_count == 4
    assert plan.spellings[tiny.piece(7)] == 4
    assert "banned_phrases" in str(plan)
    assert plan.memory_bytes > 0 and plan.seconds_per_step > 0


def test_rounds_look_at_what_the_patched_model_writes(model):
    texts = ["summarize: a tool for files", "summarize: a library", "summarize: fonts"]
    first = model.generate(texts, max_new_tokens=12)
    unwanted = first[0].text.split()[0]

    def mark(_, output):
        return [unwanted] if unwanted in output.text.split() else None

    with model.patch(learning_rate=2e-4, **FREE) as patch:
        reports = patch.on_policy(texts, mark, rounds=4, max_new_tokens=12, max_steps=30)
        with patch.model() as patched:
            now = patched.generate(texts, max_new_tokens=12)
    assert 1 <= len(reports) <= 4
    assert mark("", first[0]) and not mark("", now[0]), now


def test_drift_from_a_root_adds_up_and_can_refuse(tiny):
    root = tiny.clone()
    kls = []
    for seed in range(3):
        options = {"learning_rate": 1e-3, "seed": seed, "root": root, "max_root_kl": 1e9}
        with tiny.patch(**options, **FREE) as patch:
            add(patch, PAIRS[2 * seed : 2 * seed + 2])
            patch.guard(PAIRS[8:])
            patch.step()
            kls.append(patch.evaluate().root_kl)
            patch.commit()
    assert 0 < kls[0] < kls[2]
    with tiny.patch(learning_rate=1e-4, root=root, max_root_kl=kls[2] / 2, **FREE) as patch:
        add(patch)
        patch.guard(PAIRS[8:])
        assert not patch.evaluate().guard_held
        with pytest.raises(unsay.GuardError, match="root KL"):
            patch.commit()


@pytest.mark.parametrize("side", ["negative", "corrective", "mixed"])
def test_triples_become_examples_as_the_published_converters_make_them(tiny, side):
    # (negative, corrected) -> marks of first, diff and full; T5Patches' own examples.
    negative, corrected = [3, 9, 5, 1], [3, 8, 5, 1]
    wanted = {
        "negative": [[1, -1, 1, 1], [1, -1, 1, 1], [-1] * 4],
        "corrective": [[0, 1, 0, 0], [0, 1, 0, 0], [1] * 4],
        "mixed": [[1, -1, 1, 1], [1, -1, 1, 1], [-1] * 4],
    }[side]
    from unsay import _types as t
    from unsay._marks import marks_of_triple

    for amount, marks in zip(("first", "diff", "full"), wanted):
        number = t.CONVERTERS[f"{side}-{amount}"]
        found = marks_of_triple(tiny, negative, corrected, number)
        assert found == (marks, side == "corrective"), amount
    # A corrected output with more tokens is learnt whole; one token more moves no other.
    longer = [3, 8, 9, 5, 1]
    found = marks_of_triple(tiny, negative, longer, t.CONVERTERS[f"{side}-diff"])
    assert (
        found
        == {
            "negative": ([1, -1, 1, 1], False),
            "corrective": ([0, 1, 0, 0, 0], True),
            "mixed": ([1] * 5, True),
        }[side]
    )
    with tiny.patch(**FREE) as patch:
        patch.add_triple([5, 1], negative, corrected, converter=f"{side}-diff")
        patch.step()
        with pytest.raises(unsay.ArgumentError, match="converter"):
            patch.add_triple([5, 1], negative, corrected, converter="negative")


def spent(call):
    """What a call returns, and the processor's seconds that it takes."""
    began = time.process_time()
    result = call()
    return result, time.process_time() - began


def test_weights_are_measured_once(tiny, tmp_path):
    """A run tells the evaluation that it ended with, and so do evaluate and commit after it.

    Mutations that this caught: measuring again after the run; keeping the evaluation of weights
    that were left for better ones, or that a step has changed since.
    """
    guard = [([5 + i % 90, 9, 30 + i % 70, 1], [7, 8, 40, 1] * 8) for i in range(600)]
    with tiny.patch(learning_rate=0.03, max_avoid_p=0.0, seed=1, **FREE) as patch:
        add(patch)
        patch.guard(guard)
        first, measuring = spent(patch.evaluate)
        again, asking = spent(patch.evaluate)
        assert again == first and asking < measuring / 10, (asking, measuring)
        # No step: nothing but what is known already.
        report, asking = spent(lambda: patch.run(max_steps=0))
        assert report.evaluation == first and asking < measuring / 10, (asking, measuring)
        report = patch.run(max_steps=12, evaluate_every=4)
        found, asking = spent(patch.evaluate)
        assert found == report.evaluation and asking < measuring / 10, (asking, measuring)
        # A saved session remembers no evaluation: this one is measured anew.
        patch.save_state(tmp_path / "state")
        patch.load_state(tmp_path / "state")
        found, measuring_anew = spent(patch.evaluate)
        assert found == report.evaluation and measuring_anew > asking * 10
        patch.step()
        changed = patch.evaluate()
        assert changed != found
        patch.guard(guard[:1] * 50)
        assert patch.evaluate().guard_kl != changed.guard_kl
        patch.rollback()
        assert patch.evaluate().guard_kl == 0


def test_the_best_weights_bring_their_own_evaluation(tiny, tmp_path):
    with tiny.patch(learning_rate=0.03, loss="likelihood", seed=1, **FREE) as patch:
        for input, output in PAIRS[:4]:
            patch.add(input, output)
        for input, output in PAIRS[8:]:
            patch.hold_out(input, output)
        losses = []
        report = patch.run(max_steps=40, evaluate_every=4, select="loss", progress=losses.append)
        patch.save_state(tmp_path / "state")
        patch.load_state(tmp_path / "state")
        assert patch.evaluate() == report.evaluation
        patch.run(max_steps=1, select="last")
        assert patch.evaluate() != report.evaluation


def test_a_plan_is_made_once_and_again_where_examples_were_added(tiny):
    """Mutation that this caught: to plan once for the number of marks and once for the marks."""
    with tiny.patch(**FREE) as patch:
        add(patch, PAIRS[:4])
        first = patch.plan()
        assert len(first.marks) == first.avoided_count == 4
        # The time of a step is measured: two plans would not agree on it.
        assert [patch.plan() for _ in range(3)] == [first] * 3
        patch.step()
        assert patch.plan() == first
        add(patch, PAIRS[4:8])
        more = patch.plan()
        assert len(more.marks) == more.avoided_count == 8
        patch.guard(PAIRS[8:])  # What is avoided is kept there: nothing is free any more.
        guarded = patch.plan()
        assert more.context_free_count == 8 and guarded.context_free_count == 0
        patch.run(max_steps=2)
        assert patch.plan() == guarded
        patch.rollback()
        assert patch.plan() == guarded


def test_a_state_that_cannot_be_written_is_told_before_training(tiny, tmp_path):
    steps = []
    with tiny.patch(**FREE) as patch:
        add(patch)
        with pytest.raises(FileNotFoundError, match="absent/state"):
            patch.run(state_path=tmp_path / "absent/state", save_every=50, progress=steps.append)
    with pytest.raises(OSError, match="Is a directory"):
        tiny.finetune(PAIRS, steps=3, state_path=tmp_path, save_every=2, progress=steps.append)
    assert steps == [] and list(tmp_path.iterdir()) == []
