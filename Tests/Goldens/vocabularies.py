"""Folders of vocabularies in many configurations, and what transformers makes of texts there.

Used by make_vocabularies.py, which writes the goldens, and by fuzz_vocabularies.py, which
compares the library with transformers directly. Runs with transformers 4.57 and 5.
"""

import io
import json
import shutil
from pathlib import Path

import transformers

VERSION = int(transformers.__version__.split(".")[0])
SIZE = 300
#: Ids of the models that the vocabularies are tried with.
MODEL_SIZE = 900
CHARACTER_MAP = "the character map of spiece.model"

CONTENTS = [
    "<hl>", "<sep>", "<answer>", "[CTX]", "<hl", "hl>", "ing", " the", "lib", "\u2581a", "x y",
    "\u00e9", "\u65e5\u672c", "\u2603", "<", "A", "ab", "abc", "bcd", "b", "'s", ".", "\n", "  ",
    "\uff21", "\ufb01", "<extra_id_0>", "<extra_id_5>", "</s>", "<pad>", "<unk>", "\u2581", "t",
    "\u00fc", "e\u0301", "[SEP] ", "The", "\U0001f600", "<\u2603>", "<0xE2>", "s>",
]  # fmt: skip
ALPHABET = [
    *(" ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u2581", "\u2581\u2581", "\u0085", "\x1c"),
    *("</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_5>", "<extra_id_99>", "<", ">", "<s>"),
    *"aeinorstbcdxy.,-/:015AZ_'\"!?",
    *"\u00e9\u00df\u0301\ufb01\uff21\u00bd\u2026\u2603\u65e5\u0645\u200b\u00ad\u212b\u0000\u0001",
    *("\U0001f600", "simple", " the", " package", "GNU R", "lib", "do n't", " 's", " ' ", " ."),
    *(" 'm", " 've", " ,", "files", "\ufffd", "\uac00", "\u0327", "\u0915\u094d", "\r\n"),
]


def train(texts, **options) -> bytes:
    """A small SentencePiece model of T5's kind."""
    import sentencepiece

    buffer = io.BytesIO()
    settings = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": SIZE}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=buffer, minloglevel=2, **settings | options
    )
    return buffer.getvalue()


def models(texts) -> dict[str, bytes]:
    """spiece.model of T5, and those with other options of SentencePiece."""
    plain = {"normalization_rule_name": "identity"}
    return {
        "t5": train(texts),
        "identity": train(texts, remove_extra_whitespaces=False, **plain),
        "bytes": train(texts, vocab_size=500, byte_fallback=True, **plain),
        "symbols": train(
            texts, user_defined_symbols=["<hl>", "{"], control_symbols=["<ctl>"], **plain
        ),
    }


def flags(draw) -> dict:
    names = ("lstrip", "rstrip", "single_word", "normalized", "special")
    return {name: draw.random() < 0.35 for name in names}


def token(draw, content=None):
    """A token as files hold it: a string, or an object."""
    content = content or draw.choice(CONTENTS)
    if draw.random() < 0.6:
        return content
    return {"__type": "AddedToken", "content": content, **flags(draw)}


def added(draw, size) -> dict:
    """An added_tokens_decoder."""
    ids = [
        0,
        1,
        2,
        draw.randrange(3, SIZE),
        size,
        size + 1,
        size + 2,
        size + draw.randrange(3, 200),
    ]
    chosen = draw.sample(ids, draw.randint(1, len(ids)))
    tokens = {}
    for number, content in zip(sorted(set(chosen)), draw.sample(CONTENTS, len(chosen))):
        usual = {0: "<pad>", 1: "</s>", 2: "<unk>"}.get(number)
        if usual and draw.random() < 0.8:
            content = usual
        tokens[str(number)] = {"content": content, **flags(draw)}
    return tokens


def configuration(draw, size, is_bytes=False) -> dict[str, object]:
    """Side files: tokenizer_config.json, and sometimes the older ones."""
    config = {"tokenizer_class": "ByT5Tokenizer" if is_bytes else "T5Tokenizer"}
    for key, values in (
        ("extra_ids", [0, 0, 10, 100, -3]),
        ("legacy", [True, False, None]),
        ("add_prefix_space", [True, False, None]),
        ("clean_up_tokenization_spaces", [True, True, False]),
    ):
        if draw.random() < 0.5:
            config[key] = draw.choice(values)
    if draw.random() < 0.05:
        config["split_special_tokens"] = True
    for role, usual in (("eos", "</s>"), ("pad", "<pad>"), ("unk", "<unk>"), ("sep", None)):
        if draw.random() < 0.3:
            config[f"{role}_token"] = token(draw, usual if draw.random() < 0.6 else None)
    if draw.random() < 0.4:
        config["additional_special_tokens"] = [token(draw) for _ in range(draw.randint(0, 3))]
    if VERSION == 4 and draw.random() < 0.1:
        config["extra_special_tokens"] = {"image_token": draw.choice(CONTENTS)}
    files = {"tokenizer_config.json": config}
    kind = draw.random()
    if kind < 0.6:
        config["added_tokens_decoder"] = added(draw, size)
    elif kind < 0.8:
        if draw.random() < 0.7:
            plain = {"eos_token": "</s>", "pad_token": {"content": "<pad>", "lstrip": False}}
            if draw.random() < 0.5:
                # Not extra ids: those would take the place of the last pieces.
                plain["additional_special_tokens"] = draw.sample(CONTENTS[:12], 2)
            files["special_tokens_map.json"] = plain
        if draw.random() < 0.7:
            contents = draw.sample(CONTENTS, 3)
            files["added_tokens.json"] = {each: size + n for n, each in enumerate(contents)}
    return files


def added_by_hand(draw, tokenizer) -> None:
    """Adds tokens as users do."""
    if draw.random() < 0.8:
        tokenizer.add_tokens(draw.sample(CONTENTS[:12], draw.randint(1, 3)))
    if draw.random() < 0.5:
        flagged = transformers.AddedToken(draw.choice(CONTENTS), **flags(draw))
        tokenizer.add_tokens([flagged])
    if draw.random() < 0.6:
        key = "additional_special_tokens" if VERSION == 4 else "extra_special_tokens"
        option = {f"replace_{key}": draw.random() < 0.3}
        tokenizer.add_special_tokens({key: draw.sample(CONTENTS[:12], 2)}, **option)
    if draw.random() < 0.2:
        tokenizer.add_special_tokens({"eos_token": draw.choice(["<end>", "</s>"])})


def write(folder: Path, files: dict, spiece: bytes | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    if spiece is not None:
        (folder / "spiece.model").write_bytes(spiece)


def read(folder: Path) -> dict:
    """The JSON files of a folder, the character map of tokenizer.json named instead of held."""
    files = {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    normalizer = (files.get("tokenizer.json") or {}).get("normalizer") or {}
    for each in [normalizer, *normalizer.get("normalizers", [])]:
        if "precompiled_charsmap" in each:
            each["precompiled_charsmap"] = CHARACTER_MAP
    return files


WAYS = {
    4: ["slow", "slow", "slow, saved", "fast", "fast, saved", "bytes", "bytes, saved"],
    5: ["fast, saved", "bytes, saved"],
}


def case(draw, spieces: dict[str, bytes], folder: Path):
    """One vocabulary in `folder`: how it was made, and transformers' tokenizer of it; None where
    transformers refuses it."""
    way = draw.choice(WAYS[VERSION])
    kind = draw.choice(sorted(spieces))
    spiece = spieces[kind]
    size = 500 if kind == "bytes" else SIZE
    is_bytes = way.startswith("bytes")
    t5 = transformers.T5TokenizerFast if way.startswith("fast") else transformers.T5Tokenizer
    class_ = transformers.ByT5Tokenizer if is_bytes else t5
    try:
        if way == "slow" or way == "bytes":
            write(folder, configuration(draw, 259 if is_bytes else size, is_bytes), spiece)
            if is_bytes:
                (folder / "spiece.model").unlink()
            elif draw.random() < 0.1:
                made = transformers.T5TokenizerFast(str(folder / "spiece.model"), extra_ids=5)
                made.add_tokens(draw.sample(CONTENTS, 2))
                made.backend_tokenizer.save(str(folder / "tokenizer.json"))
        else:
            config = {}
            if draw.random() < 0.5:
                config["extra_ids"] = draw.choice([0, 10])
            if draw.random() < 0.5:
                config["clean_up_tokenization_spaces"] = True
            if VERSION == 4 and draw.random() < 0.5:
                config["legacy"] = draw.random() < 0.5
            files = {"tokenizer_config.json": config}
            if is_bytes:
                made = class_(extra_ids=125)
            else:
                write(folder, files, spiece)
                made = class_.from_pretrained(folder)
            added_by_hand(draw, made)
            shutil.rmtree(folder, ignore_errors=True)
            made.save_pretrained(folder)
            if way.startswith("fast"):
                (folder / "spiece.model").unlink(missing_ok=True)
            if way == "fast":
                own = configuration(draw, size)
                own["tokenizer_config.json"].pop("add_prefix_space", None)
                for name, content in own.items():
                    (folder / name).write_text(json.dumps(content))
        return way, kind, class_.from_pretrained(folder)
    except (TypeError, ValueError, AttributeError, AssertionError, OverflowError) as error:
        return way, kind, error


def has_empty_tokens(tokenizer) -> bool:
    """Whether an added token normalises to nothing: tokenizers then cuts a text at every
    character, or panics, and the library refuses the vocabulary."""
    normalizer = tokenizer.is_fast and tokenizer.backend_tokenizer.normalizer
    if not normalizer:
        return False
    tokens = tokenizer.added_tokens_decoder.values()
    return any(each.normalized and not normalizer.normalize_str(each.content) for each in tokens)


def texts(draw, tokenizer, count) -> list[str]:
    own = [str(each) for each in tokenizer.added_tokens_decoder.values()]
    own = [each for each in own if "extra_id" not in each] or ["a"]
    alphabet = ALPHABET + own * 4
    return ["".join(draw.choices(alphabet, k=draw.randint(1, 12))) for _ in range(count)]


def rows(draw, tokenizer, count):
    """Texts with their ids and what these decode to; and ids at random with their text."""
    for text in texts(draw, tokenizer, count):
        try:
            ids = tokenizer(text).input_ids
            if None in ids or any(id >= MODEL_SIZE for id in ids):
                continue
            yield text, ids, tokenizer.decode(ids, skip_special_tokens=True)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            continue
    known = sorted(tokenizer.added_tokens_decoder)[-8:] + list(range(6))
    for _ in range(count // 4):
        top = SIZE if not isinstance(tokenizer, transformers.ByT5Tokenizer) else 259
        ids = [draw.choice(known) if draw.random() < 0.4 else draw.randrange(top) for _ in range(8)]
        if max(ids) >= MODEL_SIZE:
            continue
        try:
            yield None, ids, tokenizer.decode(ids, skip_special_tokens=True)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            continue
