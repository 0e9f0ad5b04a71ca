"""What is trained, and how: scopes, factors, dropout, memory; each changes what it says it does
and nothing else."""

import json

import numpy
import pytest
import unsay
from conftest import GOLDENS, MODELS
from test_golden_training import OPEN, Case, distance

FREE = {"learning_rate": 1e-3, "max_guard_kl": 1000.0, "max_guard_flips": 1.0}
PARTS = {
    "all": lambda name: True,
    "decoder": lambda name: name.startswith("decoder."),
    "cross_attention": lambda name: ".EncDecAttention." in name,
    "feed_forward": lambda name: ".DenseReluDense." in name,
}


def part(model):
    """Gives a tied head a weight of its own, which differs from the table's by next to nothing."""
    if model.info.ties_head:
        with model.patch(**{**FREE, "scope": "head", "learning_rate": 1e-9}) as patch:
            patch.add([5, 9, 1], [7, 8, 1], marks=[-1, 1, 1])
            patch.step()
            patch.commit()
    assert not model.info.ties_head


def gradients_of(family, parts=False, **options):
    """The first step of the golden batch with its options: gradients, and the step."""
    case, flat = Case(family, "ff_reference"), []
    folder = MODELS / f"tiny-{family}"
    with unsay.open(folder) as model, unsay.open(f"{folder}-reference") as reference:
        if parts:
            part(model)
        with model.patch(
            loss="ff", alpha=case.alpha, reference=reference, batch_size=len(case.inputs),
            on_gradients=lambda g: flat.append(numpy.array(g.values)), **{**OPEN, **options},
        ) as patch:  # fmt: skip
            for pair in zip(case.inputs, case.outputs, case.marks):
                patch.add(pair[0], pair[1], marks=pair[2])
            step = patch.step()
        return model.tensors(), model.info, flat[0], step, case


def split(tensors, flat, chosen):
    parts, offset = {}, 0
    for tensor in tensors:
        if chosen(tensor.name):
            count = int(numpy.prod(tensor.shape))
            parts[tensor.name] = flat[offset : offset + count].reshape(tensor.shape)
            offset += (count + 15) // 16 * 16
    assert offset == flat.size
    return parts


@pytest.mark.parametrize("scope", PARTS)
@pytest.mark.parametrize("family", ["v10", "v11"])
def test_a_scope_has_exactly_the_gradients_of_all(family, scope):
    tensors, _, flat, step, _ = gradients_of(family)
    whole = split(tensors, flat, PARTS["all"])
    _, _, flat, narrow, _ = gradients_of(family, scope=scope)
    found = split(tensors, flat, PARTS[scope])
    assert found and narrow.loss == step.loss
    for name, gradient in found.items():
        assert distance(gradient, whole[name]) < 1e-5, name


@pytest.mark.parametrize("family", ["v10", "v11"])
def test_a_head_has_the_gradient_of_a_head_apart_from_its_table(family):
    tensors, info, flat, step, case = gradients_of(family, parts=True)
    whole = split(tensors, flat, PARTS["all"])["lm_head.weight"]
    _, _, flat, narrow, _ = gradients_of(family, scope="head")
    assert narrow.loss == pytest.approx(step.loss, rel=1e-6)
    assert distance(flat.reshape(whole.shape), whole) < 1e-5
    _, _, flat, narrow, _ = gradients_of(family, scope="tokens")
    assert narrow.loss == pytest.approx(step.loss, rel=1e-6)
    pairs = zip(case.outputs, case.marks)
    ids = sorted({i for ids, marks in pairs for i, mark in zip(ids, marks) if mark < 0})
    rows = flat[: len(ids) * info.d_model].reshape(len(ids), -1)
    assert distance(rows, whole[ids]) < 1e-5


def test_named_tensors_and_what_no_tensor_is_called(model, flagged):
    text, output, marks = flagged
    names = ["decoder.block.1.*.wo", "encoder.final_layer_norm.weight"]
    before = {t.name: numpy.array(model.tensor(t.name)) for t in model.tensors()}
    with model.patch(scope=names, **FREE) as patch:
        patch.add(text, output, marks=marks)
        patch.step()
        with patch.model() as trained:
            changed = [n for n, old in before.items() if (old != trained.tensor(n)).any()]
    assert changed == [
        "encoder.final_layer_norm.weight",
        "decoder.block.1.layer.2.DenseReluDense.wo.weight",
    ]
    with pytest.raises(unsay.ArgumentError, match=r"decoder\.block\.9"):
        model.patch(scope=["decoder.block.9.*"])
    with pytest.raises(unsay.ArgumentError, match="scope names no tensor"):
        model.patch(scope=[])
    with pytest.raises(unsay.ArgumentError, match="scope"):
        model.patch(scope="everything")


def test_tokens_follow_examples_that_are_added_later(model, flagged):
    text, output, marks = flagged
    other = next(i for i in range(10, 60) if i not in output.ids)
    with model.patch(scope="tokens", **FREE) as patch:
        patch.add(text, output)
        with pytest.raises(unsay.StateError, match="avoids"):
            patch.plan()
        patch.add(text, output, marks=marks)
        patch.step()
        with patch.model() as trained:
            first = numpy.array(trained.tensor("lm_head.weight"))
        patch.add(text, [other, 1], marks=[-1, 1])
        patch.evaluate()
        with patch.model() as trained:
            assert (first == trained.tensor("lm_head.weight")).all()
        patch.step()
        with patch.model() as trained:
            now = numpy.array(trained.tensor("lm_head.weight"))
    original = numpy.array(model.tensor("shared.weight"))
    changed = set(numpy.nonzero((now != original).any(axis=1))[0])
    assert changed == {other} | {i for i, mark in zip(output.ids, marks) if mark < 0}


@pytest.mark.parametrize("family", ["v10", "v11"])
def test_factors_are_trained_merged_and_kept_in_the_delta(family, tmp_path):
    with unsay.open(MODELS / f"tiny-{family}") as model:
        before = model.fingerprint()
        with model.patch(lora_rank=4, lora_alpha=8, scope=["*.q", "*.v"], **FREE) as patch:
            output = model.generate([5, 9, 1], max_new_tokens=3)
            patch.add([5, 9, 1], output, marks=[-1, 1, 1])
            first = patch.evaluate().avoid_p_after
            for _ in range(20):
                patch.step()
            trained = patch.evaluate()
            assert trained.avoid_p_after < first
            patch.commit()
            delta = patch.delta()
            # Factors beside the weights, and the same merged into them.
            merged = float(numpy.exp(model.score([5, 9, 1], output).log_probs[0]))
            assert merged == pytest.approx(trained.avoid_p_after, rel=1e-4)
        adapted = [t.name for t in model.tensors() if t.name.split(".")[-2] in ("q", "v")]
        assert delta.info.tensor_count == len(adapted) > 0
        delta.save(tmp_path / "factors.unsay")
        after = model.fingerprint()
        # Two factors and hardly anything else: far smaller than what changes.
        assert (tmp_path / "factors.unsay").stat().st_size < delta.info.changed_count * 2
        read = unsay.Delta.open(tmp_path / "factors.unsay")
        model.revert(read)
        assert model.fingerprint() == before
        model.apply(read)
        assert model.fingerprint() == after


@pytest.mark.parametrize("family", ["v10", "v11"])
def test_dropout_is_where_transformers_has_it(family):
    golden = json.loads((GOLDENS / "dropout.json").read_text())[family]
    _, _, _, step, _ = gradients_of(family, dropout=golden["dropout"], seed=golden["seed"])
    assert step.loss == pytest.approx(golden["loss"], rel=1e-4)
    assert step.gradient_norm == pytest.approx(golden["gradient_norm"], rel=1e-3)


def test_dropout_is_the_same_for_any_threads_and_differs_by_step_and_seed():
    losses = []
    for threads in (1, 2, 3):
        with (
            unsay.open(MODELS / "tiny-v10", threads=threads) as model,
            model.patch(dropout=0.2, learning_rate=1e-30, seed=3, **LOOSE) as patch,
        ):
            for i in range(4):
                patch.add([5 + i, 9, 30, 1], [7, 8 + i, 1], marks=[-1, 1, 1])
            losses.append([patch.step().loss for _ in range(3)])
    assert losses[0] == losses[1] == losses[2]
    assert len(set(losses[0])) == 3


LOOSE = {"scope": "all", "max_guard_kl": 1000.0, "max_guard_flips": 1.0}


@pytest.mark.parametrize(
    "options", [{"micro_batch_size": 1}, {"micro_batch_size": 3}, {"recompute": True}]
)
def test_saving_memory_changes_no_result(options):
    _, _, whole, step, _ = gradients_of("v11", dropout=0.1, seed=2)
    _, _, parts, other, _ = gradients_of("v11", dropout=0.1, seed=2, **options)
    largest = numpy.abs(whole).max()
    worst = numpy.abs(whole - parts).max()
    # Layers that run again: the same bits. Smaller batches add the same terms in another order.
    assert worst <= (0 if "recompute" in options else 1e-6 * largest), (worst, largest)
    assert other.loss == pytest.approx(step.loss, rel=1e-6)


def test_options_out_of_range_are_named(model):
    for name, value in {
        "dropout": 1.0, "momentum": 1.0, "lora_rank": -1, "lora_alpha": 0.0, "max_root_kl": -1.0
    }.items():  # fmt: skip
        with pytest.raises(unsay.ArgumentError, match=name):
            model.patch(**{name: value})
    for name in ("optimizer", "schedule", "loss", "form"):
        with pytest.raises(unsay.ArgumentError, match=name):
            model.patch(**{name: "none of them"})
    with pytest.raises(unsay.ArgumentError, match="lora_rank"):
        model.patch(scope="tokens", lora_rank=4)
