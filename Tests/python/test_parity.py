"""Outputs, log-probabilities and logits are those of transformers in float32."""

import json

import numpy
import pytest
import unsay
from conftest import GOLDENS, MODELS

RELATIVE = 1e-4  # of the largest value: what float32 itself leaves open


@pytest.fixture(scope="module")
def reference():
    lines = (GOLDENS / "debsum_reference.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def distance(found, expected):
    """The largest difference, relative to the largest value."""
    found, expected = numpy.asarray(found), numpy.asarray(expected)
    assert found.shape == expected.shape
    return float(numpy.abs(found - expected).max() / numpy.abs(expected).max())


def test_texts_become_the_ids_of_the_reference_tokenizer(debsum, reference):
    wrong = [
        row["input"] for row in reference if debsum.encode(row["input"]).ids[:-1]
        != row["input_ids"][:-1] and len(row["input_ids"]) < 128
    ]  # fmt: skip
    assert wrong == []


def test_greedy_ids_equal_the_reference_token_for_token(debsum, reference):
    outputs = debsum.generate([row["input_ids"] for row in reference], max_new_tokens=32)
    wrong = [
        (index, output.ids, row["greedy_ids"], min(row["margins"]))
        for index, (output, row) in enumerate(zip(outputs, reference))
        if output.ids != row["greedy_ids"]
    ]
    assert wrong == []
    largest = max(
        distance(output.log_probs, row["log_probs"]) for output, row in zip(outputs, reference)
    )
    assert largest < 1e-3, largest


def test_ids_of_four_beams_equal_the_reference_token_for_token(debsum, reference):
    inputs = [row["input_ids"] for row in reference]
    outputs = debsum.generate(inputs, max_new_tokens=32, num_beams=4)
    wrong = [
        (index, output.ids, row["beam4_ids"])
        for index, (output, row) in enumerate(zip(outputs, reference))
        if output.ids != row["beam4_ids"]
    ]
    assert wrong == []
    found = [output.total for output in outputs]
    assert distance(found, [row["beam4_log_prob"] for row in reference]) < 1e-4


def test_logits_and_encoder_states_equal_the_reference(debsum, reference):
    golden = numpy.load(GOLDENS / "debsum_logits.npz")
    for row in golden["rows"]:
        case = reference[row]
        logits = debsum.logits(case["input_ids"], case["greedy_ids"])
        states = debsum.encoder_states(case["input_ids"])
        found = distance(states, golden[f"{row}/encoder_output"])
        assert found < RELATIVE, f"encoder of row {row}: {found}"
        found = distance(logits, golden[f"{row}/logits"])
        assert found < RELATIVE, f"logits of row {row}: {found}"


def rows(padded, lengths):
    return [ids[:length].tolist() for ids, length in zip(padded, lengths)]


@pytest.mark.parametrize("family", ["v10", "v11"])
def test_a_tiny_model_of_each_family_equals_the_reference(family):
    golden = numpy.load(GOLDENS / f"outputs_{family}.npz")
    inputs = rows(golden["input_ids"], golden["input_lengths"])
    greedy = rows(golden["greedy_ids"], golden["greedy_lengths"])
    with unsay.open(MODELS / f"tiny-{family}") as model:
        outputs = model.generate(inputs, max_new_tokens=24)
        assert [output.ids for output in outputs] == greedy
        states = [numpy.asarray(model.encoder_states(ids)) for ids in inputs]
        logits = [numpy.asarray(model.logits(*pair)) for pair in zip(inputs, greedy)]
    assert distance(numpy.concatenate(states), golden["encoder_output"]) < RELATIVE
    assert distance(numpy.concatenate(logits), golden["logits"]) < RELATIVE
    log_probs = [value for output in outputs for value in output.log_probs]
    assert distance(log_probs, golden["log_probs"]) < RELATIVE
