"""Configurations and vocabularies made to do harm: each is refused by status and by name."""

import json
import shutil

import pytest
import unsay
from conftest import MODELS
from hostile import FORMAT, UNSUPPORTED, check

#: What a sentence names where it is not the value itself.
NAMED = {"another number of layers": "block.2"}

#: A whole config.json, or values that it gets.
CONFIGURATIONS = {
    "absurd layers": {"num_layers": 2000000000},
    "absurd width": {"d_model": (1 << 63) - 1},
    "a negative width": {"d_kv": -8},
    "no heads": {"num_heads": 0},
    "another number of layers": {"num_layers": 3},
    "an endless number": '{"d_model": 1e999999999}',
    "a number of a million digits": '{"d_model": ' + "9" * 1000000 + "}",
    "depth": '{"x": ' + "[" * 200000 + "]" * 200000 + "}",
    "a string without end": '{"model_type": "' + "t" * 1000000,
    "half a surrogate": '{"model_type": "\\ud800"}',
    "a list": "[]",
    "nothing": "",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_that_lies_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    content, path = CONFIGURATIONS[name], folder / "config.json"
    if isinstance(content, dict):
        word = NAMED.get(name, next(iter(content)))
        content = json.dumps(json.loads(path.read_text()) | content)
    else:
        word = "config.json"
    path.write_text(content)
    check(folder, [FORMAT, UNSUPPORTED], [word])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x0a\xff",
        b"\x0a\x02\x0a\x00",
        b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    ],
)
def test_a_vocabulary_that_is_none_is_refused(tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    (folder / "spiece.model").write_bytes(content)
    check(folder, [FORMAT, UNSUPPORTED], ["spiece.model"])


#: A whole tokenizer.json that is none, or lies.
TOKENIZERS = {
    "nothing": "",
    "a list": "[]",
    "cut off": '{"version": "1.0", "model": {"type": "Unigram", "vocab": [["a", 0',
    "depth": '{"model": ' * 100000 + "}" * 100000,
    "no model": '{"version": "1.0"}',
    "no vocabulary": '{"model": {"type": "Unigram", "unk_id": 0}}',
    "an entry without a score": '{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a"]]}}',
    "a score that is no number": '{"model": {"type": "Unigram", "vocab": [["a", "b"]]}}',
    "an unknown id beyond the vocabulary": (
        '{"model": {"type": "Unigram", "unk_id": 99, "vocab": [["a", 0]]}}'
    ),
    "a million empty lists": '{"model": {"type": "Unigram", "vocab": [' + "[]," * 10**6 + "[]]}}",
    "a million keys": "{" + ",".join(f'"{n}": {{}}' for n in range(10**6)) + "}",
    "charsmap of garbage": (
        '{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="},'
        ' "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}}'
    ),
    "an added token beyond the table": (
        '{"added_tokens": [{"id": 2000000000, "content": "x", "special": true}],'
        ' "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}}'
    ),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_json_that_lies_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    (folder / "spiece.model").unlink()
    (folder / "tokenizer.json").write_text(TOKENIZERS[name])
    check(folder, [FORMAT, UNSUPPORTED, -30], ["tokenizer.json"])


def test_a_tokenizer_that_makes_texts_grow_without_end_is_refused(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "tiny-v10", folder)
    (folder / "spiece.model").unlink(missing_ok=True)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    vocabulary = [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["a", -1]]
    vocabulary += [[f"p{number}", -2] for number in range(4, size)]
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": {"type": "Sequence", "normalizers": [step] * 9},
                "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581"},
                "decoder": {"type": "Metaspace", "replacement": "\u2581"},
                "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary},
            }
        )
    )
    with unsay.open(folder) as model, pytest.raises(unsay.Error, match="64 times"):
        model.encode("a" * 100)
