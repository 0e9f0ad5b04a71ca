"""5,000 lines, odd and ordinary, are split as transformers splits them, and joined again.

Tests/Goldens/make_corpus.py wrote what transformers gives.
"""

from __future__ import annotations

import json
import lzma
import shutil

import pytest
import unsay
from conftest import DEBSUM, GOLDENS
from smallest import smallest_model

WAYS = ["spiece, legacy", "spiece"]
WAYS += [f"json, {name}" for name in ("never", "always", "first", "old", "added")]


@pytest.fixture(scope="module")
def corpus():
    return json.loads(lzma.decompress((GOLDENS / "corpus.json.xz").read_bytes()))


def variants() -> dict[str, dict]:
    """The layouts of tokenizer.json in public repositories, as in make_corpus.py."""
    text = lzma.decompress((GOLDENS / "tokenizer.json.xz").read_bytes())
    never = json.loads(text)
    always, first, old, added = (json.loads(text) for _ in range(4))
    for scheme, each in (("always", always), ("first", first), ("always", added)):
        each["pre_tokenizer"]["prepend_scheme"] = scheme
        each["decoder"]["prepend_scheme"] = scheme
    old["normalizer"] = old["normalizer"]["normalizers"][0]
    metaspace = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    split = {"type": "WhitespaceSplit"}
    old["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, metaspace]}
    old["decoder"] = metaspace
    for token in added["added_tokens"]:
        token["lstrip"] = token["rstrip"] = True
    pieces = {piece: id for id, (piece, _) in enumerate(added["model"]["vocab"])}
    for content, flags in (
        ("lib", {"lstrip": True, "rstrip": True}),
        ("GNU", {"single_word": True, "normalized": True}),
        ("ﬁ", {"normalized": True}),
        ("package", {"single_word": True, "special": True}),
    ):
        token = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
        number = pieces.setdefault(content, len(pieces))
        added["added_tokens"].append({"id": number, "content": content, **token, **flags})
    made = {"never": never, "always": always, "first": first, "old": old, "added": added}
    return {f"json, {name}": each for name, each in made.items()}


@pytest.fixture(params=WAYS, scope="module")
def way(request, tmp_path_factory):
    """A model whose vocabulary is read one way, and that way's name."""
    name = request.param
    folder = tmp_path_factory.mktemp("vocabulary")
    smallest_model(folder, 8128)
    if name.startswith("json"):
        (folder / "tokenizer.json").write_text(json.dumps(variants()[name]))
    else:
        shutil.copy(DEBSUM / "spiece.model", folder)
        about = {"legacy": name == "spiece, legacy"}
        (folder / "tokenizer_config.json").write_text(json.dumps(about))
    with unsay.open(folder) as model:
        yield name, model


def expected(corpus, name, part):
    base, own = corpus["spiece, legacy"][part], corpus[name][part]
    return [first if second is None else second for first, second in zip(base, own)]


def ended(ids, way):
    """The ids of an input: slow tokenizers do not repeat an end that the text has."""
    return ids if ids[-1:] == [1] and not way.startswith("json") else [*ids, 1]


def test_every_line_has_the_ids_of_transformers(way, corpus):
    name, model = way
    for text, ids in zip(corpus["texts"], expected(corpus, name, "ids")):
        assert list(model.encode(text).ids) == ended(ids, name), repr(text[:200])


def test_every_line_is_joined_as_transformers_joins_it(way, corpus):
    name, model = way
    pairs = zip(expected(corpus, name, "ids"), expected(corpus, name, "decoded"))
    for ids, text in pairs:
        assert model.decode(ids) == text, ids[:50]


def test_spans_follow_the_text_and_hold_what_their_pieces_say(way, corpus):
    _name, model = way
    for text in corpus["texts"]:
        tokens = model.encode(text)
        end = 0
        for id, (begin, stop) in zip(tokens.ids, tokens.spans):
            if id == 1:
                continue
            assert end <= begin <= stop <= len(text) or begin == end == stop, repr(text[:200])
            end = max(end, stop)
            piece = model.piece(id).replace("▁", "").strip()
            if piece.isascii() and piece.isalnum() and text.isascii():
                # Characters that normalising drops belong to the token before them.
                found = "".join(each for each in text[begin:stop] if each.isprintable())
                assert found.strip() == piece, (repr(text[:200]), piece)


def test_byt5_splits_into_bytes_and_special_tokens(corpus, tmp_path):
    smallest_model(tmp_path, 384, tokenizer_class="ByT5Tokenizer")
    with unsay.open(tmp_path) as model:
        for text, ids in zip(corpus["texts"], corpus["bytes"]["ids"]):
            found = list(model.encode(text).ids)
            ids = ids or [byte + 3 for byte in text.encode()]
            assert found == ended(ids, "bytes"), repr(text[:200])
