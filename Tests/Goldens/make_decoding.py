#!/usr/bin/env python3
"""Writes Tests/Goldens/decoding.json: what transformers generates, for every option.

Sixty combinations of options, four small models, eight inputs: greedy, beam and diverse beam
search. For each output its ids (the start id left out) and, with beams, its score. The models
are Tests/Models/tiny-v10 and tiny-v11 and two of the export fixtures, byt5 and umt5; their
weights are read back from the ONNX files by the library itself, so that the two sides
compute with the same numbers.

Beam search is that of transformers 4.57. Diverse beam search left the library in 4.52, so
that part is made by 4.49, the last version this script was run with that has it: run

    python3 make_decoding.py --part beams     # with transformers 4.57
    python3 make_decoding.py --part filters   # likewise: distributions to draw from
    python3 make_decoding.py --part attention # likewise: what each id looks at
    python3 make_decoding.py --part groups    # with transformers 4.49

with PYTHONPATH=bindings/python/src and torch. The parts are merged in one file.
"""

import argparse
import itertools
import json
import random
from pathlib import Path

import torch
import transformers
import unsay
from transformers import (
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

HERE = Path(__file__).resolve().parent
TARGET = HERE / "decoding.json"
FIXTURES = HERE.parent / "Fixtures"
FOLDERS = {
    "v10": HERE.parent / "Models/tiny-v10",
    "v11": HERE.parent / "Models/tiny-v11",
    "byt5": FIXTURES / "byt5__opt",
    "umt5": FIXTURES / "umt5__opt_custom",
}
MAX_NEW_TOKENS = 14


def combinations():
    """(part, options), named as in transformers."""
    single = [
        {},
        {"min_new_tokens": 9},
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.8},
        {"encoder_repetition_penalty": 1.5},
        {"encoder_repetition_penalty": 0.7},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3},
        {"encoder_no_repeat_ngram_size": 1},
        {"encoder_no_repeat_ngram_size": 2},
        {"bad_words_ids": [[7], [11, 12], [1]]},
        {"suppress_tokens": [5, 40, 77]},
        {"begin_suppress_tokens": [1, 9, 30]},
        {"forced_bos_token_id": 23},
        {"forced_eos_token_id": 1},
        {"eos_token_id": [1, 50, 60]},
        {"sequence_bias": [[[15], 4.0], [[15, 16], 9.0], [[3, 4], -5.0]]},
    ]
    beams = [
        {},
        {"length_penalty": 0.0},
        {"length_penalty": 2.0},
        {"length_penalty": -1.0},
        {"early_stopping": True},
        {"early_stopping": "never"},
        {"early_stopping": "never", "length_penalty": 1.8},
        {"early_stopping": True, "length_penalty": 0.6},
        {"num_return_sequences": 3},
        {"min_new_tokens": 6},
        {"repetition_penalty": 1.4},
        {"repetition_penalty": 0.9},
        {"encoder_repetition_penalty": 1.3},
        {"no_repeat_ngram_size": 2},
        {"encoder_no_repeat_ngram_size": 2},
        {"bad_words_ids": [[7], [11, 12], [20, 21, 22]]},
        {"suppress_tokens": [5, 40, 77]},
        {"begin_suppress_tokens": [1, 9]},
        {"forced_bos_token_id": 23},
        {"forced_eos_token_id": 1},
        {"eos_token_id": [1, 50, 60]},
        {"sequence_bias": [[[15], 2.0], [[15, 16], 3.0]]},
    ]
    groups = [
        {"diversity_penalty": 0.2},
        {"diversity_penalty": 0.5},
        {"diversity_penalty": 3.0},
        {"diversity_penalty": 1.0, "num_return_sequences": 4},
        {"diversity_penalty": 1.0, "early_stopping": True},
        {"diversity_penalty": 1.0, "early_stopping": "never"},
        {"diversity_penalty": 1.0, "length_penalty": 2.0},
        {"diversity_penalty": 1.0, "length_penalty": 0.0},
        {"diversity_penalty": 0.7, "no_repeat_ngram_size": 2},
        {"diversity_penalty": 0.7, "repetition_penalty": 1.4},
    ]
    table = [("beams", options) for options in single]
    for count, options in itertools.chain(
        ((4, options) for options in beams),
        ((2, options) for options in beams[:8]),
    ):
        table.append(("beams", {"num_beams": count, **options}))
    for options in groups:
        table.append(("groups", {"num_beams": 4, "num_beam_groups": 2, **options}))
    table += [
        ("groups", {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.8}),
        ("groups", {"num_beams": 3, "num_beam_groups": 3, "diversity_penalty": 0.8}),
    ]
    return table


def load(folder):
    """The model as transformers has it, on the weights that the library read."""
    values = json.loads((folder / "config.json").read_text())
    for name in ("architectures", "transformers_version", "dtype", "torch_dtype"):
        values.pop(name, None)
    is_umt5 = values.pop("model_type", "t5") == "umt5"
    config = (UMT5Config if is_umt5 else T5Config)(**values)
    made = (UMT5ForConditionalGeneration if is_umt5 else T5ForConditionalGeneration)(config)
    own = made.state_dict()
    with unsay.open(folder) as source:
        for info in source.tensors():
            tensor = torch.frombuffer(bytearray(source.tensor(info.name)), dtype=torch.float32)
            own[info.name].copy_(tensor.reshape(info.shape))
    return made.eval()


def inputs_of(vocabulary, seed):
    """Eight inputs of mixed lengths."""
    numbers = random.Random(seed)
    return [
        [numbers.randrange(3, vocabulary) for _ in range(length)] + [1]
        for length in (1, 3, 5, 8, 13, 17, 24, 33)
    ]


def generate(model, ids, options):
    options = dict(options)
    if "sequence_bias" in options:
        options["sequence_bias"] = {tuple(run): bias for run, bias in options["sequence_bias"]}
    processors = []
    if "num_beams" in options and "encoder_repetition_penalty" in options:
        # transformers hands the processor the ids of one row, and torch then changes only the
        # first beam of each batch: give it those of every beam, as is meant.
        processors.append(
            transformers.EncoderRepetitionPenaltyLogitsProcessor(
                options.pop("encoder_repetition_penalty"),
                torch.tensor([ids] * options["num_beams"]),
            )
        )
    ends = options.get("eos_token_id", model.config.eos_token_id)
    ends = ends if isinstance(ends, list) else [ends]
    config = model.config
    with torch.no_grad():
        made = model.generate(
            torch.tensor([ids]),
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            logits_processor=processors,
            use_cache=config.num_layers == config.num_decoder_layers,
            **options,
        )
    outputs = []
    for row in made.sequences.tolist():
        row = row[1:]
        stop = next((i + 1 for i, id in enumerate(row) if id in ends), len(row))
        outputs.append(row[:stop])
    scores = getattr(made, "sequences_scores", None)
    return outputs, None if scores is None else [round(s, 6) for s in scores.tolist()]


FILTERS = [
    {},
    {"temperature": 0.6},
    {"top_k": 5},
    {"top_p": 0.7},
    {"min_p": 0.08},
    {"typical_p": 0.6},
    {"epsilon_cutoff": 0.01},
    {"eta_cutoff": 0.02},
    {"temperature": 1.4, "top_k": 12, "top_p": 0.85},
]


def filtered(model, ids):
    """For each set of filters, the probabilities left of the first token's distribution."""
    from transformers import GenerationConfig

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0]])).logits
    results = []
    for options in FILTERS:
        config = GenerationConfig(do_sample=True, **{"top_k": 0, **options})
        config._eos_token_tensor = None
        processors = model._get_logits_processor(
            config,
            input_ids_seq_length=1,
            encoder_input_ids=torch.tensor([ids]),
            prefix_allowed_tokens_fn=None,
            logits_processor=[],
        )
        scores = processors(torch.tensor([[0]]), logits[:, -1].clone())
        p = torch.softmax(scores.double(), -1)[0].tolist()
        results.append({str(id): round(value, 9) for id, value in enumerate(p) if value > 0})
    return results


def attention(model, ids):
    """The cross-attention of ten ids, the mean over layers and heads: [10, len(ids)]."""
    model.set_attn_implementation("eager")
    numbers = random.Random(len(ids))
    written = [numbers.randrange(3, model.config.vocab_size) for _ in range(10)]
    with torch.no_grad():
        found = model(
            input_ids=torch.tensor([ids]),
            decoder_input_ids=torch.tensor([[0, *written[:-1]]]),
            output_attentions=True,
        ).cross_attentions
    mean = torch.stack([layer[0].mean(0) for layer in found]).mean(0)
    weights = [[round(value, 7) for value in row] for row in mean.tolist()]
    return {"input": ids, "ids": written, "weights": weights}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--part", choices=["beams", "filters", "attention", "groups"], required=True
    )
    part = parser.parse_args().part
    torch.set_num_threads(1)
    golden = json.loads(TARGET.read_text()) if TARGET.exists() else {}
    table = combinations()
    golden["max_new_tokens"] = MAX_NEW_TOKENS
    golden["options"] = [options for _, options in table]
    golden.setdefault("made_by", {})[part] = f"transformers {transformers.__version__}"
    for name, folder in FOLDERS.items():
        model = load(folder)
        entry = golden.setdefault("models", {}).setdefault(name, {})
        entry["inputs"] = inputs_of(model.config.vocab_size, name)
        results = entry.setdefault("results", {})
        for index, (belongs, options) in enumerate(table):
            if belongs == part:
                rows = [generate(model, ids, options) for ids in entry["inputs"]]
                results[str(index)] = {"ids": [r[0] for r in rows]}
                if rows[0][1] is not None:
                    results[str(index)]["scores"] = [r[1] for r in rows]
        if part == "filters" and name == "v10":
            ids = entry["inputs"][3]
            golden["filters"] = {
                "input": ids,
                "options": FILTERS,
                "probabilities": filtered(model, ids),
            }
        if part == "attention":
            golden.setdefault("attention", {})[name] = attention(model, entry["inputs"][4])
        print(name, len(results), flush=True)
    TARGET.write_text(
        json.dumps(golden, separators=(",", ":")).replace('"results"', '\n"results"') + "\n"
    )


if __name__ == "__main__":
    main()
