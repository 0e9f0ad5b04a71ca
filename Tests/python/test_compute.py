"""Weights in 16 and 8 bits: how close they stay, and that float32 is still there beneath."""

import pytest
import unsay
from conftest import DEBSUM, MODELS

numpy = pytest.importorskip("numpy")

# The least share of tokens that are those of float32 at equal prefixes.
AGREEMENT = {"bf16": 0.99, "int8": 0.97}


@pytest.mark.parametrize("compute", sorted(AGREEMENT))
def test_tokens_agree_with_float32_at_equal_prefixes(compute, debsum, held_out):
    outputs = debsum.generate(held_out, max_new_tokens=32)
    same = total = 0
    with unsay.open(DEBSUM, compute=compute) as model:
        for text, output in zip(held_out, outputs):
            best = numpy.asarray(model.logits(text, output.ids)).argmax(-1)
            same += int((best == numpy.asarray(output.ids)).sum())
            total += len(output.ids)
    assert same / total >= AGREEMENT[compute], f"{same} of {total}"
    assert same < total, "rounded weights leave a trace: are these float32?"


@pytest.mark.parametrize("compute", sorted(AGREEMENT))
def test_an_output_depends_on_its_own_input_alone(compute, held_out):
    options = {"max_new_tokens": 24, "num_alternatives": 2}
    with unsay.open(DEBSUM, compute=compute, threads=1) as model:
        alone = [model.generate(text, **options) for text in held_out[:6]]
    for threads in (1, 2, 3):
        with unsay.open(DEBSUM, compute=compute, threads=threads) as model:
            assert model.generate(held_out[:6], **options) == alone, f"{threads} threads"


@pytest.mark.parametrize("compute", sorted(AGREEMENT))
def test_a_patch_trains_float32_and_is_taken_back_to_the_bit(compute, model, flagged, tmp_path):
    text, _, _ = flagged
    with unsay.open(MODELS / "tiny-v10", compute=compute) as rounded:
        before = rounded.generate(text, max_new_tokens=8)
        assert rounded.fingerprint() == model.fingerprint()
        for tensor in model.tensors():
            assert bytes(rounded.tensor(tensor.name)) == bytes(model.tensor(tensor.name))
        with rounded.patch(learning_rate=3e-2) as patch:
            patch.add(text, before, marks=[-1] + [1] * (len(before.ids) - 1))
            patch.run(max_steps=20)
            patch.commit()
            delta = patch.delta()
        after = rounded.generate(text, max_new_tokens=8)
        assert after.ids != before.ids, "the patch is in what generates"
        rounded.save(tmp_path / "patched")
        with unsay.open(tmp_path / "patched", compute=compute) as again:
            assert again.fingerprint() == rounded.fingerprint()
            assert again.generate(text, max_new_tokens=8) == after
        rounded.revert(delta)
        assert rounded.fingerprint() == model.fingerprint()
        assert rounded.generate(text, max_new_tokens=8) == before


def test_gradients_in_bf16_are_those_of_float32_but_for_their_rounding(debsum):
    found = {}
    for compute in ("f32", "bf16"):
        with debsum.patch(
            scope="all", loss="likelihood", compute=compute, batch_size=4, max_guard_kl=1e9,
            on_gradients=lambda step, name=compute: found.update({name: numpy.array(step.values)}),
        ) as patch:  # fmt: skip
            for row in range(4):
                input = [5 + (37 * index + 11 * row) % 8000 for index in range(40)]
                patch.add([*input, 1], [5 + (53 * index + 17 * row) % 8000 for index in range(12)])
            patch.step()
    exact, rounded = found["f32"], found["bf16"]
    off = numpy.linalg.norm(exact - rounded) / numpy.linalg.norm(exact)
    # 8 bits of mantissa round by 0.2 %; sixteen layers of products add up to twenty times that.
    assert 0.002 < off < 0.06, f"{off:.4f} of the gradient's norm"


def test_a_bf16_patch_reaches_what_a_float32_one_does(debsum, held_out):
    outputs = debsum.generate(held_out[:24], max_new_tokens=12)
    found = {}
    for compute in ("f32", "bf16"):
        with debsum.patch(scope="all", learning_rate=1e-5, compute=compute, seed=1) as patch:
            for text, output in zip(held_out[:16], outputs):
                patch.add(text, output, marks=[1, 1, -1] + [1] * (len(output.ids) - 3))
            patch.guard(list(zip(held_out[16:24], outputs[16:])))
            for _ in range(20):
                patch.step()
            after = patch.evaluate()
            found[compute] = (after.avoid_p_after, after.keep_kl, after.guard_kl)
    assert found["bf16"] == pytest.approx(found["f32"], rel=0.05)


def test_bf16_training_moves_as_float32_does(debsum, held_out):
    losses = {}
    for compute in ("f32", "bf16"):
        with debsum.patch(scope="all", learning_rate=3e-5, compute=compute, seed=1) as patch:
            for text in held_out[:8]:
                output = debsum.generate(text, max_new_tokens=12)
                patch.add(text, output, marks=[-1] + [1] * (len(output.ids) - 1))
            losses[compute] = [patch.step().loss for _ in range(8)]
    # The reference is float32, so the loss counts the rounding of products as drift.
    assert losses["bf16"][0] == pytest.approx(losses["f32"][0], rel=2e-2)
    assert losses["bf16"] == pytest.approx(losses["f32"], rel=0.15)
    assert losses["bf16"] != losses["f32"], "rounding leaves a trace"
    assert losses["bf16"][-1] < 0.75 * losses["bf16"][0], losses
    with pytest.raises(unsay.ArgumentError, match="compute is int8; a patch trains in f32 or bf16"):
        debsum.patch(compute="int8")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_new_tokens": 20},
        {"suppress_tokens": [3, 5, 9], "begin_suppress_tokens": [87]},
        {"repetition_penalty": 1.3},
        {"prefix_ids": [87, 52]},
        {"prompt_lookup_num_tokens": 4},
        {"num_beams": 3},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_without_log_probabilities_the_ids_are_the_same(options, debsum, held_out):
    for text in held_out[:40]:
        known = debsum.generate(text, max_new_tokens=32, **options)
        found = debsum.generate(text, max_new_tokens=32, log_probs=False, **options)
        assert found.ids == known.ids and found.text == known.text
        assert found.log_probs == [] and len(known.log_probs) == len(known.ids)


@pytest.mark.parametrize("compute", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("batch", [1, 7, 32])
def test_a_batch_without_log_probabilities_has_the_same_ids(compute, batch, held_out):
    """The screened head: what is left out of the logits is never the likeliest."""
    with unsay.open(DEBSUM, compute=compute) as model:
        texts = held_out[:64]
        options = {"max_new_tokens": 32, "suppress_tokens": [3, 9]}
        known = [output.ids for output in model.generate(texts, **options)]
        for begin in range(0, len(texts), batch):
            found = model.generate(texts[begin : begin + batch], log_probs=False, **options)
            assert [output.ids for output in found] == known[begin : begin + batch]
