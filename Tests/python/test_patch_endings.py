"""What a patch says that it did: the way back from a broken guard, runs and commits that change
nothing, and numbers that are no longer finite."""

import math

import numpy
import pytest
import unsay
from conftest import MODELS

OPEN = {"scope": "all", "max_guard_kl": 1000.0, "max_guard_flips": 1.0, "max_avoid_p": 0.0}
INPUTS = [[5 + i, 9, 30 + i, 1] for i in range(12)]
FAR = {"scope": "all", "learning_rate": 0.05, "max_guard_flips": 1.0, "max_avoid_p": 0.0}
"""A rate that breaks any sensible guard within five steps."""


@pytest.fixture
def tiny():
    with unsay.open(MODELS / "tiny-v10", threads=2) as model:
        yield model


def add(patch):
    """What the model writes: the first id of 8 outputs to avoid, 4 outputs to guard."""
    with patch.model() as model:
        outputs = [output.ids for output in model.generate(INPUTS, max_new_tokens=4)]
    for input, ids in zip(INPUTS[:8], outputs):
        patch.add(input, ids, marks=[-1] + [1] * (len(ids) - 1))
    patch.guard(zip(INPUTS[8:], outputs[8:]))


def weights(model):
    return {t.name: numpy.array(model.tensor(t.name), numpy.float32) for t in model.tensors()}


def trained(patch):
    with patch.model() as model:
        return weights(model), model.fingerprint()


# The guard


def test_a_guard_that_breaks_halves_the_way_back_to_the_best_weights(tiny):
    with tiny.patch(max_guard_kl=1000.0, **FAR) as patch:
        add(patch)
        for _ in range(5):
            patch.step()
        broken, far = trained(patch)[0], patch.evaluate()
    with tiny.patch(max_guard_kl=far.guard_kl / 50, **FAR) as patch:
        add(patch)
        report = patch.run(max_steps=20, evaluate_every=5)
        found = report.evaluation
        assert (report.ending, report.steps) == ("guard", 5)
        assert found.guard_held and found.changed and found.step == 5
        halvings = -math.log2(found.fraction)
        assert halvings == int(halvings) and 1 <= halvings <= 8, found.fraction
        assert found.avoid_p_after < found.avoid_p_before
        assert f"{found.fraction:g} of the way to step 5" in str(report)
        start, now = weights(tiny), trained(patch)[0]
        for name in start:
            expected = start[name] + found.fraction * (broken[name] - start[name])
            assert numpy.allclose(now[name], expected, rtol=1e-6, atol=1e-6), name
        patch.commit()
    # Twice as far, the guard is broken still.
    twice = {name: start[name] + 2 * (now[name] - start[name]) for name in start}
    assert kl(start, twice) > far.guard_kl / 50 > kl(start, now)


def kl(start, now):
    """The guard's KL of weights, by sessions whose gradients lead there from the first."""
    with unsay.open(MODELS / "tiny-v10", threads=2) as model:
        names = [tensor.name for tensor in model.tensors()]

        def lead(gradients):
            values, offset = numpy.asarray(gradients.values), 0
            for name in names:
                size = start[name].size
                values[offset : offset + size] = (start[name] - now[name]).ravel()
                offset += (size + 15) // 16 * 16

        options = {"optimizer": "sgd", "learning_rate": 1.0, "gradient_clip": 0.0}
        with model.patch(on_gradients=lead, **options, **OPEN) as patch:
            add(patch)
            patch.step()
            return patch.evaluate().guard_kl


def test_a_run_with_nothing_between_says_that_nothing_has_changed(tiny):
    before = tiny.fingerprint()
    with tiny.patch(max_guard_kl=0.0, **FAR) as patch:
        add(patch)
        report = patch.run(max_steps=20, evaluate_every=5)
        found = report.evaluation
        assert (report.ending, found.changed, found.step, found.fraction) == ("guard", False, 0, 1)
        assert "nothing has changed" in str(report)
        with pytest.raises(unsay.UnchangedError, match=r"nothing to commit.*guard broke"):
            patch.commit()
    assert tiny.fingerprint() == before and tiny.applied == []


def test_the_way_back_has_the_same_bits_on_any_number_of_threads():
    found = []
    for threads in (1, 2, 3):
        with (
            unsay.open(MODELS / "tiny-v10", threads=threads) as model,
            model.patch(max_guard_kl=0.01, **FAR) as patch,
        ):
            add(patch)
            report = patch.run(max_steps=5)
            assert 0 < report.evaluation.fraction < 1
            found.append((trained(patch)[1], report.evaluation))
    assert found[1] == found[0] and found[2] == found[0]


def test_factors_and_rows_go_back_too(tiny):
    for options in ({"lora_rank": 2}, {"scope": "tokens", "learning_rate": 0.3}):
        with tiny.patch(**{**FAR, "max_guard_kl": 0.002, **options}) as patch:
            add(patch)
            report = patch.run(max_steps=5)
            assert report.ending == "guard", (options, report)
            assert report.evaluation.guard_held and report.evaluation.changed, (options, report)


def test_too_many_flips_break_the_guard_whatever_the_kl(tiny):
    with tiny.patch(**{**FAR, "max_guard_kl": 1e9, "max_guard_flips": 1.0}) as patch:
        add(patch)
        for _ in range(5):
            patch.step()
        far = patch.evaluate()
        assert far.guard_flips > 0.05 and far.guard_held
    with tiny.patch(**{**FAR, "max_guard_kl": 1e9, "max_guard_flips": 0.05}) as patch:
        add(patch)
        for _ in range(5):
            patch.step()
        assert patch.evaluate().guard_flips == far.guard_flips and not patch.evaluate().guard_held
        with pytest.raises(unsay.GuardError, match="flips"):
            patch.commit()
        patch.rollback()
        assert patch.run(max_steps=5).evaluation.guard_flips <= 0.05


# Goals and commits


def test_a_goal_that_is_met_already_trains_nothing_and_says_so(tiny):
    with tiny.patch(**{**OPEN, "max_avoid_p": 1.0}) as patch:
        add(patch)
        report = patch.run(max_steps=20)
        assert (report.ending, report.steps, report.history) == ("goal", 0, [])
        assert not report.evaluation.changed and report.evaluation.step == 0
        assert "nothing has changed" in str(report)
        with pytest.raises(unsay.UnchangedError, match="met before any step"):
            patch.commit()
        sweep = patch.sweep(learning_rates=[1e-3, 1e-2])
        assert [trial.steps for trial in sweep.trials] == [0, 0] and sweep.chosen == 0


def test_a_commit_needs_a_change_to_the_model(tiny):
    with tiny.patch(**OPEN) as patch:
        add(patch)
        with pytest.raises(unsay.StateError, match="nothing to commit"):
            patch.commit()
        patch.step()
        assert patch.evaluate().changed
        patch.commit()
        with pytest.raises(unsay.UnchangedError):
            patch.commit()
        # Back to what it was: that is a change again.
        before = tiny.fingerprint()
        patch.rollback()
        assert not patch.evaluate().changed
        patch.commit()
        assert tiny.fingerprint() != before
    report = tiny.finetune([("summarize: files", "a package")], steps=0)
    assert not report.evaluation.changed


def test_a_sweep_chooses_no_trial_that_changed_nothing(tiny):
    with tiny.patch(**{**FAR, "max_guard_kl": 0.0}) as patch:
        add(patch)
        sweep = patch.sweep(learning_rates=[0.05, 0.1], max_steps=5)
        assert sweep.chosen is None and [t.ending for t in sweep.trials] == ["guard", "guard"]
        assert not any(trial.evaluation.changed for trial in sweep.trials)
        assert not patch.evaluate().changed
    with tiny.patch(**{**FAR, "max_guard_kl": 0.01}) as patch:
        add(patch)
        sweep = patch.sweep(learning_rates=[0.05], max_steps=5)
        assert sweep.chosen == 0 and sweep.best.evaluation.fraction < 1
        assert patch.evaluate() == sweep.best.evaluation


def test_what_is_held_out_chooses_the_best_weights(tiny):
    def start():
        # What is kept is learnt by heart: the 9 becomes likely where it is held out, too.
        patch = tiny.patch(loss="ul", learning_rate=0.01, alpha=1, **OPEN)
        for input in INPUTS[:4]:
            patch.add(input, [7, 9, 1], marks=[-1, 1, 1])
        for input in INPUTS[4:8]:
            patch.hold_out(input, [7, 9, 1], marks=[-1, -1, 1])
        return patch

    with start() as patch:
        found = [patch.evaluate()]
        for _ in range(10):
            patch.step()
            found.append(patch.evaluate())
    held_out = [each.held_out_avoid_p_after for each in found]
    own = [each.avoid_p_after for each in found]
    assert held_out.index(min(held_out)) != own.index(min(own)), "the two have to disagree"
    with start() as patch:
        chosen = patch.run(max_steps=10, evaluate_every=1).evaluation
    assert chosen == found[held_out.index(min(held_out))]


# Numbers that are not finite


@pytest.mark.parametrize("clip", [0.0, 1e30])
def test_weights_that_are_not_finite_are_given_up_by_name(tiny, clip):
    options = {"optimizer": "adafactor", "learning_rate": 3e38, "gradient_clip": clip}
    with tiny.patch(**options, **OPEN) as patch:
        add(patch)
        with pytest.raises(unsay.DivergedError, match=r"step 1: .*\.weight.* is not finite"):
            patch.step()
        assert trained(patch)[1] == tiny.fingerprint()
        assert math.isfinite(patch.evaluate().keep_kl) and not patch.evaluate().changed
        with pytest.raises(unsay.UnchangedError):
            patch.commit()
        assert patch.delta().info.changed_count == 0
        with pytest.raises(unsay.DivergedError):
            patch.run(max_steps=5)
        assert trained(patch)[1] == tiny.fingerprint()


@pytest.mark.parametrize("clip", [0.0, 1e30])
def test_a_step_that_went_too_far_returns_to_the_weights_before(tiny, clip):
    poisoned = []

    def poison(gradients):
        # At the third step, weights so large that the next backward pass is not finite.
        if len(poisoned) == 2:
            numpy.asarray(gradients.values)[:] = 1e30
        poisoned.append(1)

    options = {"optimizer": "sgd", "learning_rate": 1e-2, "momentum": 0.0, "gradient_clip": clip}
    with tiny.patch(on_gradients=poison, **options, **OPEN) as patch:
        add(patch)
        kept = []
        for _ in range(3):
            kept.append(trained(patch)[1])
            patch.step()
        with pytest.raises(unsay.DivergedError, match=r"step 4: .* is not finite"):
            patch.step()
        assert trained(patch)[1] == kept[2] and patch.evaluate().step == 2


def test_an_evaluation_that_is_not_finite_meets_no_goal_and_goes_back(tiny):
    def poison(gradients):
        # Rows of the head so large that logits are infinite, and avoided ids have p 0.
        numpy.asarray(gradients.values)[:] = 3e38

    options = {"optimizer": "sgd", "learning_rate": 1.0, "gradient_clip": 0.0, "scope": "tokens"}
    options = {**OPEN, **options, "max_avoid_p": 0.9, "on_gradients": poison}
    with tiny.patch(**options) as patch:
        add(patch)
        patch.step()
        with pytest.raises(unsay.DivergedError, match=r"step 1: .* is -?(nan|inf)"):
            patch.evaluate()
        assert not patch.evaluate().changed
    with tiny.patch(**{**options, "max_avoid_p": 1e-9}) as patch:
        add(patch)
        with pytest.raises(unsay.DivergedError):
            patch.run(max_steps=4, evaluate_every=1)
        assert trained(patch)[1] == tiny.fingerprint()


def test_a_gradient_that_is_not_finite_is_named_and_moves_nothing(tiny):
    def poison(gradients):
        numpy.asarray(gradients.values)[3] = numpy.nan

    with tiny.patch(on_gradients=poison, **OPEN) as patch:
        add(patch)
        named = "step 1: .*the gradient of shared.weight is not finite: lower the learning rate"
        with pytest.raises(unsay.DivergedError, match=named):
            patch.step()
        assert trained(patch)[1] == tiny.fingerprint()


def test_a_trial_that_diverges_is_not_chosen(tiny):
    with tiny.patch(optimizer="adafactor", gradient_clip=0.0, **OPEN) as patch:
        add(patch)
        sweep = patch.sweep(learning_rates=[3e38, 1e-3], max_steps=3)
        assert [trial.diverged for trial in sweep.trials] == [True, False] and sweep.chosen == 1
        assert all(math.isfinite(trial.evaluation.keep_kl) for trial in sweep.trials)


# What is avoided


def test_an_id_to_avoid_counts_once(tiny):
    found = []
    for more in ({1: [17, 18]}, {1: [17, 18, 17, 8, 18]}):
        with tiny.patch(**OPEN) as patch:
            patch.add(INPUTS[0], [7, 8, 9, 1], marks=[1, -1, 1, 1], also_avoid=more)
            plan, step = patch.plan(), patch.step()
            found.append((plan.avoided_count, plan.marks, plan.mean_price, step.loss))
    assert found[1] == found[0] and found[0][0] == 3


def test_avoiding_at_an_ignored_place_is_an_error_that_names_it(tiny):
    named = r"also_avoid avoids 17 at position 2"
    with tiny.patch(**OPEN) as patch, pytest.raises(unsay.ArgumentError, match=named):
        patch.add([5, 1], [7, 8, 9, 1], marks=[-1, 1, 0, 1], also_avoid={2: [17]})
