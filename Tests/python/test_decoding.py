"""Decoding is held to transformers: the same ids for every option, the same scores."""

import json
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import unsay
from conftest import FIXTURES, GOLDENS, MODELS

GOLDEN = json.loads((GOLDENS / "decoding.json").read_text())
FOLDERS = {
    "v10": MODELS / "tiny-v10",
    "v11": MODELS / "tiny-v11",
    "byt5": FIXTURES / "byt5__opt",
    "umt5": FIXTURES / "umt5__opt_custom",
}


@pytest.fixture(scope="module")
def opened():
    models = {
        name: unsay.open(folder, threads=2)
        for name, folder in FOLDERS.items()
        if (folder / "config.json").exists()
    }
    yield models
    for model in models.values():
        model.close()


def generate(model, inputs, options):
    """A list of hypotheses for each input."""
    outputs = model.generate(inputs, max_new_tokens=GOLDEN["max_new_tokens"], **options)
    return outputs if options.get("num_return_sequences", 1) > 1 else [[one] for one in outputs]


@pytest.mark.parametrize("name", sorted(FOLDERS))
@pytest.mark.parametrize("index", range(len(GOLDEN["options"])))
def test_ids_and_scores_are_those_of_transformers(opened, name, index):
    if name not in opened:
        pytest.skip(f"no folder {FOLDERS[name]}")
    options = GOLDEN["options"][index]
    entry = GOLDEN["models"][name]
    expected = entry["results"][str(index)]
    outputs = generate(opened[name], entry["inputs"], options)
    for row, (found, ids) in enumerate(zip(outputs, expected["ids"])):
        assert [output.ids for output in found] == ids, f"input {row} of {options}"
        if "scores" in expected:
            scores = [output.score for output in found]
            assert scores == pytest.approx(expected["scores"][row], abs=1e-4, rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 4, "num_return_sequences": 4},
        {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.7},
        {"do_sample": True, "seed": 5, "temperature": 1.3, "num_return_sequences": 3},
        {"do_sample": True, "seed": 5, "num_beams": 3, "top_k": 20},
    ],
)
def test_a_row_of_a_batch_has_the_bits_of_that_input_alone_on_any_threads(options):
    inputs = [[*range(3, 3 + length), 1] for length in (2, 9, 1, 30, 4, 17, 5)] * 4
    with unsay.open(MODELS / "tiny-v11", threads=3) as threaded:
        together = generate(threaded, inputs, options)
    with unsay.open(MODELS / "tiny-v11", threads=1) as model:
        for input, found in zip(inputs[:7], together):
            alone = generate(model, [input], options)[0]
            assert [o.ids for o in alone] == [o.ids for o in found]
            assert [o.log_probs for o in alone] == [o.log_probs for o in found]
            assert [o.score for o in alone] == [o.score for o in found]


@pytest.mark.parametrize(
    "name, value",
    [
        ("num_beams", 0), ("num_beam_groups", 3), ("num_return_sequences", 5), ("top_p", 0.0),
        ("top_p", 1.5), ("temperature", 0.0), ("temperature", math.nan), ("typical_p", 0.0),
        ("min_p", -0.1), ("top_k", -1), ("repetition_penalty", 0.0), ("epsilon_cutoff", 1.0),
        ("eta_cutoff", -1.0), ("encoder_repetition_penalty", -1.0), ("length_penalty", math.inf),
        ("no_repeat_ngram_size", -1), ("diversity_penalty", 0.5), ("forced_bos_token_id", 100000),
        ("eos_token_id", [100000]), ("suppress_tokens", [-1]), ("early_stopping", "always"),
        ("stop_strings", [""]), ("prefixes", [[3], [4]]), ("no_such_option", 1),
        ("num_alternatives", -1), ("cross_attention", 2), ("prompt_lookup_num_tokens", 5),
        ("banned_phrases", [" "]), ("force_words_ids", [[100000]]),
        ("max_matching_ngram_size", 0), ("max_batch_tokens", 0),
    ],
)  # fmt: skip
def test_an_impossible_value_is_an_error_that_names_the_option(model, name, value):
    with pytest.raises(unsay.ArgumentError, match=name.removesuffix("_ids")):
        model.generate([3, 4, 1], **{"num_beams": 4, name: value})


FILTERS = [
    {}, {"temperature": 0.6}, {"top_k": 5}, {"top_p": 0.7}, {"min_p": 0.08},
    {"typical_p": 0.6}, {"epsilon_cutoff": 0.01}, {"eta_cutoff": 0.02},
    {"temperature": 1.4, "top_k": 12, "top_p": 0.85},
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(FILTERS)))
def test_draws_follow_the_filtered_distribution_of_transformers(index):
    golden = GOLDEN["filters"]
    assert golden["options"][index] == FILTERS[index]
    probabilities = {int(id): p for id, p in golden["probabilities"][index].items()}
    drawn: Counter = Counter()
    rounds, each = 20, 1000
    with unsay.open(MODELS / "tiny-v10") as model:
        for seed in range(rounds):
            outputs = model.generate(
                golden["input"], do_sample=True, seed=seed, num_return_sequences=each,
                max_new_tokens=1, **FILTERS[index],
            )  # fmt: skip
            drawn.update(output.ids[0] for output in outputs)
    total = rounds * each
    assert set(drawn) <= set(probabilities), "drew what transformers filters out"
    # Rare ids share one cell, so that every cell expects at least five.
    cells, rest, rest_drawn = [], 0.0, 0
    for id, p in probabilities.items():
        if p * total >= 5:
            cells.append((p * total, drawn[id]))
        else:
            rest, rest_drawn = rest + p * total, rest_drawn + drawn[id]
    if rest >= 5:
        cells.append((rest, rest_drawn))
    statistic = sum((found - expected) ** 2 / expected for expected, found in cells)
    degrees = max(1, len(cells) - 1)
    # The 99.99th percentile, by Wilson and Hilferty.
    limit = degrees * (1 - 2 / (9 * degrees) + 3.72 * math.sqrt(2 / (9 * degrees))) ** 3
    assert statistic < limit, f"chi-square {statistic:.1f} of {degrees} degrees, limit {limit:.1f}"


def test_the_same_seed_draws_the_same_text_and_another_seed_another(model):
    def draw(seed):
        return [o.ids for o in model.generate(
            [3, 9, 1], do_sample=True, seed=seed, num_return_sequences=8, max_new_tokens=12
        )]  # fmt: skip

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert len({tuple(ids) for ids in draw(1)}) > 1


def test_only_allowed_tokens_are_written_with_and_without_beams(model):
    asked = []

    def allowed(input, prefix):
        asked.append((input, len(prefix)))
        return [10 + len(prefix), 11 + len(prefix)] if len(prefix) < 4 else [1]

    for options in ({}, {"num_beams": 3}):
        for output in model.generate(
            [[3, 4, 1], [5, 1]], prefix_allowed_tokens_fn=allowed, max_new_tokens=8, **options
        ):
            assert len(output.ids) == 5 and output.ids[-1] == 1
            assert all(id - place in (10, 11) for place, id in enumerate(output.ids[:4]))
    assert {input for input, _ in asked} == {0, 1}


def test_a_logits_processor_changes_the_librarys_own_memory(model):
    def force(view):
        assert view.logits.shape == (len(view.inputs), model.info.vocab_size)
        for row in range(len(view.inputs)):
            view.logits[row, 77] = 1000.0

    assert model.generate([3, 4, 1], logits_processor=force, max_new_tokens=3).ids == [77] * 3
    beams = model.generate([3, 4, 1], logits_processor=force, max_new_tokens=3, num_beams=2)
    assert beams.ids == [77] * 3


def test_an_exception_in_a_callback_is_raised_to_the_caller(model):
    def broken(*arguments):
        raise KeyError("mine")

    for name in ("logits_processor", "on_token", "prefix_allowed_tokens_fn"):
        with pytest.raises(KeyError, match="mine"):
            model.generate([3, 4, 1], **{name: broken})


def test_stream_yields_the_text_of_generate_and_can_be_left(model):
    text = "summarize: a small library"
    options = {"max_new_tokens": 20}
    assert "".join(model.stream(text, **options)) == model.generate(text, **options).text
    for _ in model.stream(text, do_sample=True, seed=3, max_new_tokens=100000):
        break


def test_an_output_stops_with_the_token_that_completes_a_stop_string(model):
    text = "summarize: a small library for reading files"
    whole = model.generate(text, max_new_tokens=20)
    wanted = whole.text[2:4]
    stopped = model.generate(text, max_new_tokens=20, stop_strings=[wanted])
    assert wanted in stopped.text
    assert stopped.ids == whole.ids[: len(stopped.ids)]
    assert wanted not in model.decode(stopped.ids[:-1])
    assert stopped.finish == "stopped"


@pytest.mark.parametrize("name", ["v10", "v11", "byt5"])
@pytest.mark.parametrize("guessed", [1, 4, 10])
def test_looking_ahead_in_the_input_changes_no_bit_of_an_output(opened, name, guessed):
    inputs = GOLDEN["models"][name]["inputs"] + [[9, 8, 9, 8, 9, 8, 9, 1]]
    rules = [{}, {"repetition_penalty": 1.4, "min_new_tokens": 5}, {"prefix_ids": [9, 8]}]
    for options in rules:
        plain = opened[name].generate(inputs, max_new_tokens=40, **options)
        ahead = opened[name].generate(
            inputs, max_new_tokens=40, prompt_lookup_num_tokens=guessed, **options
        )
        for one, other in zip(plain, ahead):
            assert (one.ids, one.log_probs, one.finish) == (
                other.ids,
                other.log_probs,
                other.finish,
            )
        assert sum(output.drafted for output in plain) == 0
        drafted = sum(output.drafted for output in ahead)
        accepted = sum(output.accepted for output in ahead)
        assert 0 <= accepted <= drafted
        if "prefix_ids" in options:
            assert accepted > 0, "8 follows 9 in one of the inputs and in the prefix"


def test_looking_ahead_saves_steps_where_outputs_repeat_their_input(debsum, held_out):
    texts = held_out[:90]
    plain = debsum.generate(texts, max_new_tokens=32)
    ahead = debsum.generate(texts, max_new_tokens=32, prompt_lookup_num_tokens=5)
    assert [o.ids for o in plain] == [o.ids for o in ahead]
    assert [o.log_probs for o in plain] == [o.log_probs for o in ahead]
    assert sum(o.accepted for o in ahead) > 20


def test_alternatives_are_the_likeliest_ids_of_each_position(model):
    inputs = [[3, 4, 5, 1], [9, 1]]
    for options in ({}, {"num_beams": 3}):
        for input, output in zip(
            inputs, model.generate(inputs, num_alternatives=4, max_new_tokens=8, **options)
        ):
            assert len(output.alternatives) == len(output.ids)
            logits = numpy.asarray(model.logits(input, output.ids)).astype(numpy.float64)
            log_p = logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))
            for row, found in zip(log_p, output.alternatives):
                best = numpy.argsort(-row, kind="stable")[:4]
                assert [id for id, _ in found] == best.tolist()
                assert [p for _, p in found] == pytest.approx(row[best].tolist(), abs=1e-4)


@pytest.mark.parametrize("name", sorted(GOLDEN["attention"]))
def test_cross_attention_is_the_mean_of_transformers(opened, name):
    golden = GOLDEN["attention"][name]
    for options in ({}, {"num_beams": 2}):
        output = opened[name].generate(
            golden["input"], prefix_ids=golden["ids"], cross_attention=True,
            max_new_tokens=len(golden["ids"]), **options,
        )  # fmt: skip
        assert output.ids == golden["ids"]
        found = numpy.asarray(output.cross_attention)
        assert found.shape == (len(golden["ids"]), len(golden["input"]))
        difference = numpy.abs(found - numpy.array(golden["weights"])).max()
        assert difference < 1e-5, difference


def test_many_inputs_run_in_small_parts_in_order_and_say_how_far_they_are(model):
    inputs = [[*range(3, 3 + length), 1] for length in range(1, 60)]
    whole = model.generate(inputs, max_new_tokens=6, num_beams=2)
    seen = []
    parts = model.generate(
        inputs, max_new_tokens=6, num_beams=2, max_batch_tokens=50,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert [o.ids for o in whole] == [o.ids for o in parts]
    assert [o.log_probs for o in whole] == [o.log_probs for o in parts]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(inputs), len(inputs)) and len(seen) > 10
    stopped = model.generate(
        inputs, max_new_tokens=6, max_batch_tokens=50, progress=lambda done, total: done < 20
    )
    assert all(o.ids for o in stopped[:20]) and not any(o.ids for o in stopped[40:])


def test_threads_generate_from_one_model_at_once_each_what_it_would_alone(model):
    inputs = [[*range(3, 3 + length), 1] for length in range(1, 13)]
    options = {"num_beams": 3, "max_new_tokens": 12}
    alone = [model.generate(input, **options) for input in inputs]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda input: model.generate(input, **options), inputs * 5))
    assert [o.ids for o in found] == [o.ids for o in alone] * 5
    assert [o.log_probs for o in found] == [o.log_probs for o in alone] * 5


def test_embeddings_are_means_of_the_encoders_states_for_encoders_alone_too():
    with unsay.open(FIXTURES / "encoder__dy23") as model:
        inputs = [[5, 6, 7, 1], [9, 1], list(range(3, 60))] * 40
        found = numpy.asarray(model.embed(inputs, normalize=False))
        unit = numpy.asarray(model.embed(inputs))
        for row, input in enumerate(inputs[:3]):
            expected = numpy.asarray(model.encoder_states(input)).mean(0)
            assert numpy.abs(found[row] - expected).max() < 1e-5
            assert (found[row] == found[row + 3]).all()
            expected /= numpy.linalg.norm(expected)
            assert numpy.abs(unit[row] - expected).max() < 1e-6


def test_each_input_begins_with_its_own_prefix(model):
    prefixes = [[17, 18], [], [40]]
    for options in ({}, {"num_beams": 3}, {"do_sample": True}):
        outputs = model.generate(
            [[3, 1], [4, 1], [5, 1]], prefixes=prefixes, max_new_tokens=6, **options
        )
        for prefix, output in zip(prefixes, outputs):
            assert output.ids[: len(prefix)] == prefix
