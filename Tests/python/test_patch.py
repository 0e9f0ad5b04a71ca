"""Patches: adding, training, stopping, committing, rolling back."""

import os
import signal
import threading
import time

import numpy
import pytest
import unsay

FREE = {"scope": "all", "learning_rate": 1e-3, "max_guard_kl": 1000.0, "max_guard_flips": 1.0}


def test_a_patch_makes_the_flagged_token_unlikely_and_changes_nothing_before_commit(model, flagged):
    text, output, marks = flagged
    before = model.fingerprint()
    with model.patch(**FREE) as patch:
        patch.add(text, output, marks=marks)
        report = patch.run(max_steps=60)
        assert report.ending == "goal", report
        assert report.evaluation.goal_met and report.evaluation.avoid_p_worst < 0.01
        assert report.evaluation.avoid_p_before > report.evaluation.avoid_p_after
        assert report.steps == len(report.history) > 0
        assert model.fingerprint() == before
        patch.commit()
    assert model.fingerprint() != before
    assert model.generate(text, max_new_tokens=8).ids[0] != output.ids[0]


def test_leaving_without_commit_leaves_the_model_as_it_was(model, flagged):
    text, output, marks = flagged
    before = model.fingerprint()
    with model.patch(**FREE) as patch:
        patch.add(text, output, marks=marks)
        patch.step()
    assert model.fingerprint() == before
    with pytest.raises(ValueError, match="the patch is closed"):
        patch.commit()


def test_rolling_back_returns_to_the_original_and_keeps_the_examples(model, flagged):
    text, output, marks = flagged
    with model.patch(**FREE) as patch:
        patch.add(text, output, marks=marks)
        first = patch.step()
        patch.rollback()
        evaluation = patch.evaluate()
        assert evaluation.avoid_p_after == evaluation.avoid_p_before
        assert patch.step().loss == first.loss


def test_the_same_seed_trains_the_same_bits(model, flagged):
    text, output, marks = flagged
    fingerprints = []
    for _ in range(2):
        with model.clone() as twin, twin.patch(seed=7, **FREE) as patch:
            patch.add(text, output, marks=marks)
            patch.run(max_steps=3)
            patch.commit()
            fingerprints.append(twin.fingerprint())
    assert fingerprints[0] == fingerprints[1]


def test_phrases_ranges_and_a_better_text_mark_the_same_word(model):
    text, output = "summarize: files", "a small package for files"
    losses = []
    for flags in (
        {"avoid": ["small"]},
        {"avoid": "small"},
        {"avoid": [(2, 7)]},
        {"better": "a package for files"},
    ):
        with model.patch(**FREE) as patch:
            patch.add(text, output, **flags)
            losses.append(patch.step().avoid_p)
    assert losses[0] > 0
    assert losses[:3] == [losses[0]] * 3
    assert losses[3] > 0


def test_ranges_count_characters(model):
    with model.patch(**FREE) as patch:
        patch.add("files", "für kleine files", avoid=[(4, 10)])
        by_range = patch.step().avoid_p
    with model.patch(**FREE) as patch:
        patch.add("files", "für kleine files", avoid=["kleine"])
        assert patch.step().avoid_p == by_range


def test_avoiding_what_is_not_there_is_an_error(model):
    with model.patch() as patch:
        with pytest.raises(unsay.ArgumentError, match="nothing matches"):
            patch.add("files", "a small package", avoid=["absent"])
        with pytest.raises(unsay.ArgumentError, match="nothing matches"):
            patch.add("files", "a small package", better="a small package")
        with pytest.raises(unsay.ArgumentError, match="nothing matches"):
            patch.add("files", "a small package", avoid=[])
        with pytest.raises(unsay.ArgumentError, match="outside the output's 15 characters"):
            patch.add("files", "a small package", avoid=[(10, 40)])
        with pytest.raises(unsay.ArgumentError, match="not several"):
            patch.add("files", "a small package", avoid=["small"], better="a package")
        with pytest.raises(unsay.ArgumentError, match="extent"):
            patch.add("files", "a small package", avoid=["small"], extent="middle")
        with pytest.raises(unsay.StateError):
            patch.run()


def test_a_guard_that_breaks_refuses_the_commit(model, flagged):
    text, output, marks = flagged
    before = model.fingerprint()
    with model.patch(learning_rate=0.05, max_guard_kl=1e-7, max_guard_flips=0.0) as patch:
        patch.add(text, output, marks=marks)
        patch.guard([(text, output), ("files", "a small package")])
        for _ in range(3):
            patch.step()
        assert not patch.evaluate().guard_held
        with pytest.raises(unsay.GuardError):
            patch.commit()
        assert model.fingerprint() == before
        patch.rollback()
        assert patch.evaluate().guard_kl == 0


def test_a_run_that_would_break_the_guard_returns_to_the_last_good_weights(model, flagged):
    text, output, marks = flagged
    with model.patch(learning_rate=0.01, max_guard_kl=1e-4) as patch:
        patch.add(text, output, marks=marks)
        patch.guard([(text, output)])
        report = patch.run(max_steps=20, evaluate_every=1)
        assert report.ending == "guard", report
        assert report.evaluation.guard_held


def test_progress_sees_every_step_and_may_stop_the_run(model, flagged):
    text, output, marks = flagged
    seen = []

    def watch(step):
        seen.append(step.step)
        return len(seen) < 3

    with model.patch(max_avoid_p=0.0, **FREE) as patch:
        patch.add(text, output, marks=marks)
        report = patch.run(max_steps=20, progress=watch)
    assert report.ending == "caller" and seen == [1, 2, 3]


def test_what_a_callback_raises_comes_out_of_the_run(model, flagged):
    text, output, marks = flagged

    def fail(_):
        raise LookupError("from the callback")

    with model.patch(**FREE) as patch:
        patch.add(text, output, marks=marks)
        with pytest.raises(LookupError, match="from the callback"):
            patch.run(progress=fail)
        patch.step()
    with model.patch(on_gradients=fail, **FREE) as patch:
        patch.add(text, output, marks=marks)
        with pytest.raises(LookupError, match="from the callback"):
            patch.step()


def test_gradients_pass_through_the_hook(model, flagged):
    text, output, marks = flagged
    sizes = []

    def erase(gradients):
        array = numpy.asarray(gradients.values)
        sizes.append(array.size)
        assert numpy.abs(array).max() > 0
        array[:] = 0

    with model.patch(on_gradients=erase, weight_decay=0.0, **FREE) as patch:
        patch.add(text, output, marks=marks)
        patch.step()
        with pytest.raises(unsay.UnchangedError, match="1 steps led back"):
            patch.commit()
    layout = 0
    for tensor in model.tensors():
        layout += (int(numpy.prod(tensor.shape)) + 15) // 16 * 16
    assert sizes == [layout]


def test_another_thread_cancels_a_run(model, flagged):
    text, output, marks = flagged
    with model.patch(max_avoid_p=0.0, learning_rate=1e-6) as patch:
        patch.add(text, output, marks=marks)
        started = threading.Event()

        def cancel():
            started.wait(10)
            patch.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(unsay.CancelledError):
            patch.run(max_steps=1_000_000, progress=lambda _: started.set())
        thread.join()
        patch.step()


@pytest.fixture
def ctrl_c():
    """Python's own handler, even where the shell started the tests with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_a_run(model, flagged, ctrl_c):
    text, output, marks = flagged
    with model.patch(max_avoid_p=0.0, learning_rate=1e-6) as patch:
        patch.add(text, output, marks=marks)
        started = threading.Event()

        def interrupt():
            started.wait(10)
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            patch.run(max_steps=1_000_000, progress=lambda _: started.set())
        thread.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        patch.step()


def test_finetuning_makes_the_given_outputs_likelier(model):
    pairs = [("summarize: a library", "a small package"), ("summarize: files", "for reading")]
    before = sum(scored.total for scored in model.score(*zip(*pairs)))
    report = model.finetune(pairs, steps=10, learning_rate=1e-3)
    after = sum(scored.total for scored in model.score(*zip(*pairs)))
    assert len(report.history) == 10 and after > before, (before, after)


def test_serving_goes_on_while_a_patch_trains(model, flagged):
    text, output, marks = flagged
    outputs = []
    with model.patch(**FREE) as patch:
        patch.add(text, output, marks=marks)
        patch.run(
            max_steps=3,
            progress=lambda _: outputs.append(model.generate(text, max_new_tokens=8)),
        )
    assert outputs and all(found == output for found in outputs)
