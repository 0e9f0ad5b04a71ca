"""Vocabularies in many configurations give the ids and texts of transformers, 4.57 and 5.

Tests/Goldens/make_vocabularies.py wrote what transformers gives: tokens added, flagged, renamed
and left out, in every file that may hold them, beside spiece.model, in tokenizer.json and for
ByT5's bytes.
"""

from __future__ import annotations

import base64
import ctypes
import json
import lzma
import shutil
from pathlib import Path

import pytest
import unsay
from conftest import DEBSUM, GOLDENS, MODELS
from sentencepiece_file import character_map
from smallest import smallest_model
from unsay._library import functions

#: Ids of the models, as in Goldens/vocabularies.py.
SIZE = 900
CHARACTER_MAP = "the character map of spiece.model"
WAYS = [
    (4, "slow"),
    (4, "slow, saved"),
    (4, "fast"),
    (4, "fast, saved"),
    (4, "bytes"),
    (4, "bytes, saved"),
    (5, "fast, saved"),
    (5, "bytes, saved"),
]


@pytest.fixture(scope="module")
def golden():
    return json.loads(lzma.decompress((GOLDENS / "vocabularies.json.xz").read_bytes()))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    smallest_model(folder, SIZE)
    return folder


def lay_out(golden, case, weights, folder):
    folder.mkdir()
    for name in ("model.onnx", "config.json"):
        (folder / name).symlink_to(weights / name)
    if case["spiece"]:
        (folder / "spiece.model").write_bytes(base64.b64decode(golden["spiece"][case["spiece"]]))
    for name, content in case["files"].items():
        text = json.dumps(content)
        if CHARACTER_MAP in text:
            map = character_map(base64.b64decode(golden["spiece"][case["map"]]))
            text = text.replace(CHARACTER_MAP, base64.b64encode(map).decode())
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(("version", "way"), WAYS)
def test_every_vocabulary_splits_and_joins_as_transformers_does(
    golden, weights, tmp_path, version, way
):
    cases = [each for each in golden["cases"] if (each["version"], each["way"]) == (version, way)]
    assert len(cases) >= 15
    wrong = []
    for number, case in enumerate(cases):
        folder = lay_out(golden, case, weights, tmp_path / str(number))
        with unsay.open(folder) as model:
            for text, ids, decoded in case["rows"]:
                found = ids if text is None else list(model.encode(text).ids)
                if found != ids:
                    wrong.append(f"{number}: {text!r} expected {ids}, found {found}")
                joined = model.decode(ids)
                if joined != decoded:
                    wrong.append(f"{number}: {ids} expected {decoded!r}, found {joined!r}")
        shutil.rmtree(folder)
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:10])


def test_spans_of_every_vocabulary_follow_the_text(golden, weights, tmp_path):
    for number, case in enumerate(golden["cases"][::4]):
        folder = lay_out(golden, case, weights, tmp_path / str(number))
        with unsay.open(folder) as model:
            for text, _ids, _decoded in case["rows"]:
                if text is None:
                    continue
                tokens = model.encode(text)
                # Ids of single bytes share the character that they are of.
                start = end = 0
                for begin, stop in tokens.spans:
                    assert start <= begin <= stop <= len(text), (number, text)
                    assert end <= stop, (number, text)
                    start, end = begin, stop


def described(folder, weights, **config):
    """A folder with debsum's spiece.model and a tokenizer_config.json."""
    shutil.copytree(weights, folder)
    shutil.copy(DEBSUM / "spiece.model", folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "weights"
    folder.mkdir()
    smallest_model(folder, 8200)
    return folder


ADDED = {
    "8100": {"content": "<hl>"},
    "8101": {"content": "<sep>", "lstrip": True, "rstrip": True},
    "8102": {"content": "<answer>", "special": True},
}


def test_phrases_are_found_in_added_tokens(large, tmp_path):
    folder = described(tmp_path / "model", large, added_tokens_decoder=ADDED)
    with unsay.open(folder) as model:
        ids = model.encode("a <hl> package <sep> library").ids
        assert [id for id in ids if id in (8100, 8101)] == [8100, 8101]
        marks = unsay.marks(model, ids, avoid=["<hl>", "<sep> library"])
        avoided = [model.piece(id) for id, mark in zip(ids, marks) if mark == -1]
        assert avoided[0] == "<hl>" and avoided[1] == "<sep>", avoided
        assert model.decode(ids) == "a <hl> package <sep> library"


def test_a_banned_phrase_holds_an_added_token_and_what_follows_it(large, tmp_path):
    folder = described(tmp_path / "model", large, added_tokens_decoder=ADDED)
    with unsay.open(folder) as model:
        for phrase in ("<hl>", "<sep>"):
            free = model.generate("a", max_new_tokens=6, do_sample=True, seed=3, top_k=0)
            held = model.generate("a", max_new_tokens=6, banned_phrases=[phrase])
            assert phrase not in held.text
            assert free.text is not None


def test_a_phrase_is_banned_in_the_text_that_is_shown(large, tmp_path):
    """With spaces cleaned up, "do n't" is shown as "don't", and that is what is refused."""
    config = {"added_tokens_decoder": ADDED, "clean_up_tokenization_spaces": True}
    with unsay.open(described(tmp_path / "model", large, **config)) as model:
        pieces = model.encode("do n't").ids[:-1]
        assert model.decode(pieces) == "don't"
        marks = unsay.marks(model, pieces, avoid=["don't"])
        assert set(marks) == {-1}, marks


def test_the_text_that_streams_adds_up_where_spaces_are_cleaned_up(large, tmp_path):
    config = {"clean_up_tokenization_spaces": True}
    with unsay.open(described(tmp_path / "model", large, **config)) as model:
        for seed in range(20):
            options = {"max_new_tokens": 24, "do_sample": True, "seed": seed, "top_k": 0}
            parts = list(model.stream("a", **options))
            assert "".join(parts) == model.generate("a", **options).text


BROKEN = {
    "a negative id": {"added_tokens_decoder": {"-1": {"content": "x"}}},
    "a huge id": {"added_tokens_decoder": {"99999999999999999999": {"content": "x"}}},
    "an id beyond every table": {"added_tokens_decoder": {"16777216": {"content": "x"}}},
    "no id": {"added_tokens_decoder": {"x": {"content": "x"}}},
    "no content": {"added_tokens_decoder": {"5": {"lstrip": True}}},
    "a flag that is none": {"added_tokens_decoder": {"5": {"content": "x", "lstrip": "yes"}}},
    "a list of added tokens": {"added_tokens_decoder": ["x"]},
    "a number for a token": {"eos_token": 1},
    "a number among tokens": {"additional_special_tokens": [1]},
    "a word for tokens": {"additional_special_tokens": "<hl>"},
    "a word for extra tokens": {"extra_special_tokens": "<hl>"},
    "huge extra_ids": {"extra_ids": 1 << 62},
    "half an extra id": {"extra_ids": 0.5},
    "extra_ids that contradict": {
        "extra_ids": 5,
        "additional_special_tokens": ["<extra_id_0>"],
    },
    "legacy that is none": {"legacy": "yes"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_tokenizer_config_that_lies_is_refused_by_name(large, tmp_path, name):
    key = next(iter(BROKEN[name]))
    folder = described(tmp_path / "model", large, **BROKEN[name])
    with pytest.raises(unsay.FormatError, match=r"tokenizer_config\.json") as error:
        unsay.open(folder)
    assert key in str(error.value)


def test_an_id_beyond_the_table_is_refused_when_a_text_names_it(large, tmp_path):
    folder = described(
        tmp_path / "model", large, added_tokens_decoder={"9000": {"content": "<far>"}}
    )
    with unsay.open(folder) as model:
        assert model.encode("a package").ids
        with pytest.raises(unsay.ArgumentError, match="9000"):
            model.encode("a <far> package")


def test_numbers_that_python_writes_by_name_keep_no_model_from_opening(tmp_path):
    text = "summarize: a small library"
    work = Path(shutil.copytree(MODELS / "tiny-v10", tmp_path / "model"))
    with unsay.open(work) as model:
        wanted = list(model.encode(text).ids)
    (work / "tokenizer_config.json").write_text(
        '{"model_max_length": Infinity, "added_tokens_decoder": {}, "x": [NaN, -Infinity]}'
    )
    with unsay.open(work) as model:
        assert list(model.encode(text).ids) == wanted


@pytest.mark.parametrize("end", [5, [5, 1]])
def test_the_vocabulary_ends_an_input_and_not_generation_config(large, tmp_path, end):
    folder = described(tmp_path / "model", large)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    with unsay.open(folder) as model:
        assert model.encode("a package").ids[-1] == 1
        assert model.encode("a package</s>").ids[-2:] != [1, 1]
        assert model.info.eos_token_id == 1


UNSUPPORTED = {
    "BPE": ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "BPE"),
    "Lowercase": ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
    "NFKC": ({"normalizer": {"type": "NFKC"}}, "NFKC"),
    "Nmt": ({"normalizer": {"type": "Nmt"}}, "Nmt"),
    "Digits": ({"pre_tokenizer": {"type": "Digits"}}, "Digits"),
    "an added token of nothing": (
        {
            "normalizer": {"type": "Strip", "strip_left": True, "strip_right": True},
            "added_tokens": [{"id": 2, "content": " ", "normalized": True}],
        },
        "normalises to nothing",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_vocabulary_that_is_not_supported_opens_on_ids(weights, tmp_path, name):
    changes, word = UNSUPPORTED[name]
    folder = tmp_path / "model"
    shutil.copytree(weights, folder)
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}
    content = {"version": "1.0", "model": model} | changes
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with unsay.open(folder) as model:
        assert model.generate([3, 4, 1], max_new_tokens=2).ids
        for call in (model.encode, lambda text: model.decode([3]), model.generate):
            with pytest.raises(unsay.UnsupportedError, match=f"tokenizer.json.*{word}"):
                call("text")
    # One that the caller names is refused at once.
    with pytest.raises(unsay.UnsupportedError, match=word):
        unsay.open(folder, tokenizer=folder / "tokenizer.json")


def test_a_vocabulary_of_words_and_merges_opens_on_ids(weights, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(weights, folder)
    (folder / "vocab.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    with (
        unsay.open(folder) as model,
        pytest.raises(unsay.UnsupportedError, match=r"vocab\.json, the vocabulary of a Roberta"),
    ):
        model.encode("text")


def test_what_transformers_5_wrote_is_followed_before_spiece_model(large, tmp_path):
    """Its tokenizer_config.json names a backend, and it has no slow tokenizer."""
    folder = described(tmp_path / "model", large, tokenizer_class="T5Tokenizer")
    text = lzma.decompress((GOLDENS / "tokenizer.json.xz").read_bytes())
    (folder / "tokenizer.json").write_bytes(text)
    with unsay.open(folder) as model:
        slow = model.encode("a</s>b").ids
    config = {"tokenizer_class": "T5Tokenizer", "backend": "tokenizers"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with unsay.open(folder) as model:
        fast = model.encode("a</s>b").ids
    with unsay.open(folder, tokenizer=folder / "tokenizer.json") as model:
        assert model.encode("a</s>b").ids == fast != slow


def test_a_warning_is_logged_where_a_model_opens_on_ids(weights, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(weights, folder)
    (folder / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    lines = []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    log = kind(lambda _context, level, line: lines.append((level, line.decode())))
    functions.set_log(ctypes.cast(log, ctypes.c_void_p), None, 2)
    try:
        unsay.open(folder).close()
    finally:
        functions.set_log(None, None, 2)
    assert lines == [
        (2, "opened on ids only: tokenizer.json: the model is of type BPE; T5's are supported")
    ]
