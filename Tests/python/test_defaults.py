"""What a model's files say about generation is taken as transformers takes it."""

import json
import math
import re
import shutil

import pytest
import unsay
from conftest import GOLDENS, MODELS

GOLDEN = json.loads((GOLDENS / "defaults.json").read_text())
TINY = MODELS / "tiny-v10"
CONFIG = json.loads((TINY / "config.json").read_text())
IDS = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


FILES = {path.name: path.read_bytes() for path in TINY.iterdir()}


def opened(generation, config=None):
    """The tiny model with these members in its files; None: without generation_config.json."""
    files = {**FILES, "config.json": json.dumps({**CONFIG, **(config or {})}).encode()}
    del files["generation_config.json"]
    if generation is not None:
        files["generation_config.json"] = json.dumps(generation).encode()
    return unsay.open_buffers(files, threads=1)


def folder_of(path, generation):
    """The same in a folder."""
    shutil.copytree(TINY, path)
    (path / "generation_config.json").write_text(json.dumps(generation))
    return path


def title(case):
    """A case as a test's name tells it."""
    where = {"config": case["config"]} if case["generation"] is None else case["generation"]
    told = {name: value for name, value in where.items() if IDS.get(name, ()) != value}
    return re.sub(r"[\"{} ]", "", json.dumps({**told, **case.get("options", {})}))[:90]


def outcome(case):
    """The ids of every input; or what refused them."""
    try:
        with opened(case["generation"], case.get("config")) as model:
            options = dict(case.get("options", {}))
            # Where the files do not say, transformers writes 20 ids, and this library 128.
            if not case.get("longest", True):
                options["max_new_tokens"] = 20
            return [model.generate(ids, **options).ids for ids in GOLDEN["inputs"]]
    except unsay.FormatError as error:
        return error


def cases(kind):
    chosen = [case for case in GOLDEN["cases"] if kind in case]
    return pytest.mark.parametrize("case", chosen, ids=[title(case) for case in chosen])


def is_refused_here(case):
    """Values that transformers computes nonsense with, without saying so."""
    file = case["generation"] or {}
    penalty, forced = file.get("length_penalty"), file.get("forced_bos_token_id")
    is_no_penalty = isinstance(penalty, float) and math.isnan(penalty) and "num_beams" in file
    return is_no_penalty or forced in ([], True)


@cases("ids")
def test_ids_are_those_of_transformers_without_an_option(case):
    found = outcome(case)
    if is_refused_here(case):
        assert isinstance(found, unsay.FormatError), found
    else:
        assert found == case["ids"], f"{found} for {case}"


def is_meant(value):
    """Values that transformers refuses, and that can mean one thing only: null for nothing, 2.0
    for 2 and 2 for 2.0, a list of one for the one."""
    if isinstance(value, list):
        return value == [] or (len(value) == 1 and is_meant(value[0]))
    return value is None or (isinstance(value, (int, float)) and value > 0 and value % 1 == 0)


# Of these, Python reads no number of sequences, and nobody reads padding.
UNREAD = {"num_return_sequences", "pad_token_id"}
NEEDS_BEAMS, NEEDS_DRAWING = {"early_stopping"}, {"top_k"}


@cases("refused")
def test_what_transformers_refuses_is_refused_by_name_or_has_one_meaning(case):
    found = outcome(case)
    file = case["generation"] or case["config"]
    name, value = next((n, v) for n, v in file.items() if n not in IDS or IDS[n] != v)
    if isinstance(found, unsay.FormatError):
        assert f".json: {name} is " in str(found)
        return
    has_no_effect = (
        name in UNREAD
        or (name in NEEDS_BEAMS and "num_beams" not in file)
        or (name in NEEDS_DRAWING and "do_sample" not in file)
    )
    assert is_meant(value) or has_no_effect, f"{found} for {case}"


@cases("drawn")
def test_models_that_draw_draw_with_the_same_filters(case):
    with opened(case["generation"]) as model:
        assert model.generation.options["do_sample"] is True
        stated = case["generation"]
        for name in ("temperature", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"):
            value = stated.get(name)
            off = {"min_p": 0, "epsilon_cutoff": 0, "eta_cutoff": 0}.get(name, 1)
            is_off = value is None or not {
                "epsilon_cutoff": 0 < value < 1, "eta_cutoff": 0 < value < 1,
                "top_p": value < 1, "typical_p": value < 1,
            }.get(name, True)  # fmt: skip
            expected = off if is_off else value
            assert model.generation.options.get(name, off) == pytest.approx(expected, abs=1e-6)
        # Left out it is transformers' own; null is none.
        expected = stated["top_k"] or 0 if "top_k" in stated else 50
        assert model.generation.options.get("top_k", 0) == expected
        outputs = model.generate(GOLDEN["inputs"][1], num_return_sequences=5, max_new_tokens=8)
        narrow = stated.get("top_k") == 1 or stated.get("top_p") == 0 or stated.get("min_p") == 1
        assert (len({tuple(output.ids) for output in outputs}) == 1) == narrow


def test_an_option_given_wins_and_an_empty_list_takes_one_back():
    first, second, _ = GOLDEN["inputs"]
    stated = {**IDS, "suppress_tokens": [109], "num_beams": 3, "max_new_tokens": 9,
              "bad_words_ids": [[16], [62, 34]], "sequence_bias": [[[15], 9.5]],
              "forced_bos_token_id": 77, "stop_strings": ["x"]}  # fmt: skip
    with opened(stated) as model, unsay.open(TINY) as plain:
        assert model.generate(first).ids[0] == 77
        undone = {"suppress_tokens": [], "bad_words_ids": [], "sequence_bias": [],
                  "stop_strings": [], "forced_bos_token_id": -1}  # fmt: skip
        for beams in (1, 3):
            expected = plain.generate([first, second], num_beams=beams, max_new_tokens=9)
            assert model.generate([first, second], num_beams=beams, **undone) == expected


def test_options_of_the_model_leave_room_for_those_given(tmp_path):
    ids = GOLDEN["inputs"][1]
    stated = {**IDS, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5,
              "num_return_sequences": 4, "min_new_tokens": 12, "max_new_tokens": 16}  # fmt: skip
    with opened(stated) as model, unsay.open(TINY) as plain:
        assert model.generate(ids) == plain.generate(
            ids, num_beams=4, num_beam_groups=2, diversity_penalty=0.5, min_new_tokens=12,
            max_new_tokens=16,
        )  # fmt: skip
        greedy = plain.generate(ids, max_new_tokens=5, min_new_tokens=5)
        assert model.generate(ids, num_beams=1, max_new_tokens=5) == greedy
        assert "".join(model.stream(ids, max_new_tokens=5)) == greedy.text
        assert len(model.generate(ids, num_return_sequences=4)) == 4
    guesses = folder_of(tmp_path / "guesses", {**IDS, "prompt_lookup_num_tokens": 4})
    with unsay.open(guesses) as model, unsay.open(TINY) as plain:
        for options in ({"num_beams": 2}, {"do_sample": True, "seed": 3}):
            short = {**options, "max_new_tokens": 12}
            assert model.generate(ids, **short) == plain.generate(ids, **short)
        assert model.generate(ids, max_new_tokens=20).ids == GOLDEN["cases"][0]["ids"][1]


def test_files_in_memory_and_saved_copies_have_the_same_defaults(tmp_path):
    stated = {**IDS, "num_beams": 3, "length_penalty": math.nan, "max_length": 9}
    folder = folder_of(tmp_path / "model", stated)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with unsay.open(folder) as model, unsay.open_buffers(files) as held:
        assert held.generation == model.generation
        model.save(tmp_path / "copy")
    written = (tmp_path / "copy/generation_config.json").read_bytes()
    assert written == files["generation_config.json"]


def test_what_has_no_effect_is_told():
    stated = {**IDS, "temperature": 0.0, "penalty_alpha": 0.6, "guidance_scale": 1.5,
              "exponential_decay_length_penalty": [5, 1.1], "max_time": 3.0, "num_beams": 2,
              "renormalize_logits": True, "watermarking_config": {"bias": 2.0}}  # fmt: skip
    with opened(stated) as model:
        remarks = model.generation.remarks
    named = ("temperature", "guidance_scale", "exponential_decay_length_penalty", "max_time",
             "renormalize_logits", "watermarking_config")  # fmt: skip
    assert len(remarks) == len(named)
    for name in named:
        assert any(f"generation_config.json: {name} is " in remark for remark in remarks), name
    harmless = {**IDS, "penalty_alpha": 0, "guidance_scale": 1, "max_time": None,
                "renormalize_logits": True, "remove_invalid_values": True, "use_cache": False,
                "output_scores": True, "transformers_version": "4.57.6"}  # fmt: skip
    with opened(harmless) as model:
        assert model.generation.remarks == []


def test_a_number_that_no_search_can_use_is_refused_unless_replaced():
    ids = GOLDEN["inputs"][0]
    with opened({**IDS, "num_beams": "four"}) as model:
        with pytest.raises(unsay.FormatError, match=r'config.json: num_beams is "four", expected'):
            model.generate(ids)
        with unsay.open(TINY) as plain:
            replaced = {"num_beams": 2, "max_new_tokens": 9}
            assert model.generate(ids, **replaced) == plain.generate(ids, **replaced)


def test_sizes_may_be_null_or_named_numbers_where_nobody_reads_them():
    config = {"num_decoder_layers": None, "rope": math.nan, "x": -math.inf}
    with opened(IDS, config) as model:
        assert model.info.num_decoder_layers == 2
    with pytest.raises(unsay.FormatError, match=r"config\.json: num_heads should be a number"):
        opened(IDS, {"num_heads": math.nan})


def test_info_and_the_commands_go_by_the_files(command, tmp_path):
    stated = {**IDS, "num_beams": 3, "max_length": 7, "num_return_sequences": 2, "max_time": 1}
    folder = folder_of(tmp_path / "model", stated)
    told = command("info", folder)
    assert "num_beams 3" in told and "max_new_tokens 6" in told
    assert "(generation_config.json)" in told and "remark generation_config.json: max_time" in told
    found = json.loads(command("info", folder, "--json"))["generation"]
    assert found["options"]["num_return_sequences"] == 2 and found["options"]["num_beams"] == 3
    lines = command("generate", folder, "files", "--json").splitlines()
    with unsay.open(folder) as model:
        expected = [output.ids for output in model.generate("files", num_return_sequences=2)]
    assert [json.loads(line)["ids"] for line in lines] == expected
    one = json.loads(command("generate", folder, "files", "--json", "--num-beams", "1"))
    with unsay.open(TINY) as model:
        assert one["ids"] == model.generate("files", max_new_tokens=6).ids


def test_the_embedded_checkpoint_writes_32_ids_at_most(debsum, held_out):
    assert debsum.generation.file == "generation_config.json"
    assert debsum.generation.options == {"max_new_tokens": 32, "eos_token_id": [1]}
    assert debsum.generation.remarks == []
    assert debsum.generate(held_out[:8]) == debsum.generate(held_out[:8], max_new_tokens=32)
