#!/usr/bin/env python3
"""Writes Tests/Goldens/defaults.json: what transformers generates when nothing but the files of
a model says how.

Each case is Tests/Models/tiny-v10 with other members in config.json and generation_config.json:
options alone and together, and values as people write them by mistake. Its outcome is the ids of
`generate` without options (or with the case's own), the start id left out, for three inputs; or the
error with which transformers refuses to load or to generate. Where tokens are drawn, ids cannot
be compared, so only that transformers draws is stored.

    python3 make_defaults.py     # with torch, onnx and transformers 4.57
"""

import json
import logging
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from checkpoint import load

HERE = Path(__file__).resolve().parent
TARGET = HERE / "defaults.json"
FOLDER = HERE.parent / "Models/tiny-v10"
INPUTS = [
    [200, 218, 23, 135, 1], [119, 192, 195, 67, 101, 25, 46, 73, 129, 262, 110, 208, 1],
    [296, 44, 251, 136, 21, 3, 77, 243, 194, 166, 1],
]  # fmt: skip
IDS = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
NAN, INFINITY = float("nan"), float("inf")


def generation(**members):
    """A case with these members in generation_config.json; ... leaves one out."""
    file = {name: value for name, value in {**IDS, **members}.items() if value is not ...}
    return {"generation": file}


def legacy(**members):
    """A case with these members in config.json, and no generation_config.json."""
    return {"config": members, "generation": None}


def cases(first, second):
    """`first`, `second`: ids that the model likes to write."""
    beams = {"num_beams": 4}
    yield from (
        generation(), generation(max_new_tokens=7), generation(max_length=5),
        generation(max_length=20), generation(max_length=21),
        generation(max_length=9, max_new_tokens=6), generation(max_length=None, max_new_tokens=6),
        generation(min_length=9, max_length=16), generation(min_new_tokens=9, max_length=16),
        generation(min_length=20, max_length=6), generation(min_new_tokens=20, max_new_tokens=6),
        generation(**beams), generation(num_beams=4, length_penalty=0.6, no_repeat_ngram_size=2),
        generation(num_beams=3, length_penalty=2.0), generation(num_beams=3, length_penalty=-1),
        generation(num_beams=4, early_stopping=True), generation(early_stopping=True),
        generation(num_beams=4, early_stopping="never", length_penalty=1.8),
        generation(num_beams=4, early_stopping=1), generation(num_beams=4, early_stopping=0.0),
        generation(num_beams=4, num_return_sequences=3), generation(length_penalty=3.0),
        generation(no_repeat_ngram_size=2), generation(encoder_no_repeat_ngram_size=1),
        generation(repetition_penalty=2.5), generation(repetition_penalty=0.8),
        generation(encoder_repetition_penalty=1.6), generation(forced_bos_token_id=77),
        generation(forced_eos_token_id=1, max_length=9), generation(suppress_tokens=[first]),
        generation(begin_suppress_tokens=[first, second]),
        generation(forced_bos_token_id=77, begin_suppress_tokens=[first, 77]),
        generation(forced_bos_token_id=77, suppress_tokens=[77]),
        generation(bad_words_ids=[[first], [second, 9]]), generation(bad_words_ids=[[1], [first]]),
        generation(sequence_bias=[[[15], 9.5], [[first], -INFINITY]]),
        generation(eos_token_id=[1, first]), generation(eos_token_id=[298, first]),
        generation(eos_token_id=[first]), generation(eos_token_id=first),
        generation(eos_token_id=[1, first], min_new_tokens=4),
        generation(eos_token_id=[1, first, second], num_beams=4),
        generation(prompt_lookup_num_tokens=4), generation(num_beams=1, use_cache=False),
        generation(decoder_start_token_id=9),
        generation(decoder_start_token_id=None, bos_token_id=9),
        generation(decoder_start_token_id=..., bos_token_id=9),
        generation(decoder_start_token_id=9, bos_token_id=11), generation(pad_token_id=None),
        generation(temperature=0.3, top_p=0.5, top_k=3), generation(temperature=0.0),
        generation(top_k=-1, top_p=7, typical_p=-3, min_p=-1, temperature=-1),
        generation(num_beams=4, repetition_penalty=1.4, forced_bos_token_id=23, max_length=12),
        generation(num_beams=2, suppress_tokens=[first], min_length=6, max_new_tokens=10),
        generation(num_beams=4, bad_words_ids=[[7], [11, 12]], no_repeat_ngram_size=1),
    )  # fmt: skip
    # An option given wins.
    for options in (
        {"max_new_tokens": 6}, {"num_beams": 1}, {"no_repeat_ngram_size": 0},
        {"eos_token_id": [1, first]}, {"repetition_penalty": 1.0}, {"min_new_tokens": 0},
    ):  # fmt: skip
        yield {**generation(num_beams=4, length_penalty=0.6, no_repeat_ngram_size=2,
                            max_length=12, min_length=10, repetition_penalty=1.3),
               "options": options}  # fmt: skip
    yield {**generation(max_length=-1), "options": {"max_new_tokens": 5}}
    yield {**generation(max_length=None), "options": {"max_new_tokens": 5}}
    yield {**generation(suppress_tokens=[first]), "options": {"suppress_tokens": [second]}}
    yield {**generation(forced_bos_token_id=77), "options": {"forced_bos_token_id": 78}}
    # Without generation_config.json, config.json counts; beside it, not.
    yield from (
        legacy(), legacy(**beams, no_repeat_ngram_size=2), legacy(max_length=7, **beams),
        legacy(max_new_tokens=4), legacy(bad_words_ids=[[first]]), legacy(max_length=None),
        legacy(eos_token_id=[1, first]), legacy(eos_token_id=None, max_length=30),
        legacy(bos_token_id=9, decoder_start_token_id=None), legacy(pad_token_id=-1),
        legacy(decoder_start_token_id=9, pad_token_id=None), legacy(early_stopping=None, **beams),
        legacy(task_specific_params={"summarization": {"num_beams": 4, "max_length": 5}}),
        legacy(suppress_tokens=[first], forced_eos_token_id=1, max_length=8),
        {**generation(), "config": {"num_beams": 4, "max_length": 6}},
        {**generation(eos_token_id=..., max_length=30), "config": {"eos_token_id": [1, first]}},
        {**generation(_from_model_config=True), "config": {"num_beams": 4, "max_length": 6}},
        {**generation(_from_model_config=True, max_new_tokens=9), "config": {"top_k": 50}},
        {**generation(_from_model_config=True, max_new_tokens=9), "config": {"top_p": 0.5}},
        {**generation(decoder_start_token_id=7), "config": {"decoder_start_token_id": 5}},
    )  # fmt: skip
    # Numbers, and what stands in their place.
    for name in ("num_beams", "max_new_tokens", "max_length", "min_length", "min_new_tokens",
                 "no_repeat_ngram_size", "num_return_sequences"):  # fmt: skip
        for value in (None, 1.0, -1, 0, NAN, "4", [4], True, 2.5):
            # A longest length that is not a number would be endless.
            if value is not NAN or not name.startswith("max_"):
                yield generation(**{name: value})
    for name in ("repetition_penalty", "length_penalty", "encoder_repetition_penalty"):
        for value in (None, 2, 0, -1.5, NAN, "2", [2.0]):
            yield generation(**{name: value})
            if name == "length_penalty":
                yield generation(**{name: value}, **beams)
    for name in ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff",
                 "eta_cutoff"):  # fmt: skip
        for value in (None, 1, 0, -1, 2.0, NAN, "1"):
            yield generation(**{name: value})
            yield generation(**{name: value}, do_sample=True)
    for name in ("forced_bos_token_id", "forced_eos_token_id", "decoder_start_token_id",
                 "eos_token_id", "pad_token_id"):  # fmt: skip
        for value in (-1, 7.0, [7], [7, 9], NAN, "7", 100000, True, []):
            yield generation(**{name: value}, max_new_tokens=6)
    for name in ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids"):
        for value in (None, [], [-1], [first, 100000], [float(first)], [NAN], "7", first,
                      [[first]], [[]], [[-1]], [[first], [100000]], [[float(first)]]):  # fmt: skip
            yield generation(**{name: value}, max_new_tokens=6)
    for value in (None, 0, 1, "true", "", NAN):
        yield generation(do_sample=value)
    for value in (None, "yes", 2, NAN, [True]):
        yield generation(early_stopping=value)
        yield generation(early_stopping=value, **beams)


def outcome(folder, case):
    """The ids for each input, "drawn", or why transformers refuses."""
    try:
        model = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
        rows = []
        for ids in INPUTS:
            torch.manual_seed(0)
            with torch.no_grad():
                made = model.generate(torch.tensor([ids]), **case.get("options", {}))
            rows.append(made[0].tolist()[1:])
        config = model.generation_config
    except Exception as error:
        text = str(error).split("\n")[0]
        return {"refused": f"{type(error).__name__}: {text[:70]}"}
    if config.do_sample:
        return {"drawn": True}
    # Without beams nothing is written behind an end, and with one input there is no padding.
    return {"ids": rows, "longest": longest(config, case)}


def longest(config, case):
    """Whether the files say how long an output is at most."""
    given = case.get("options", {}).get("max_new_tokens", config.max_new_tokens)
    return given is not None or config.max_length not in (20, None) or states(case, "max_length")


def states(case, name):
    file = case.get("config", {}) if case["generation"] is None else case["generation"]
    return file.get(name) is not None


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        load(FOLDER).save_pretrained(folder)
        config = json.loads((FOLDER / "config.json").read_text())

        def made(case):
            written = {**config, **case.get("config", {})}
            (folder / "config.json").write_text(json.dumps(written))
            path = folder / "generation_config.json"
            path.unlink(missing_ok=True)
            if case["generation"] is not None:
                path.write_text(json.dumps(case["generation"]))
            return outcome(folder, case)

        plain = made(generation())["ids"][0]
        found = [{**case, **made(case)} for case in cases(plain[1], plain[7])]
    head = {"made_by": f"transformers {transformers.__version__}", "inputs": INPUTS}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in found)
    TARGET.write_text(json.dumps(head)[:-1] + ',\n"cases": [\n' + lines + "\n]}\n")
    kinds = [next(key for key in ("ids", "drawn", "refused") if key in case) for case in found]
    print({kind: kinds.count(kind) for kind in sorted(set(kinds))})


if __name__ == "__main__":
    main()
