"""Writes a corpus of 5,000 odd and ordinary lines with the ids that transformers gives them.

    python make_corpus.py models/debsum Tests/Goldens

writes `tokenizer.json.xz`, the fast tokenizer converted from spiece.model, and
`corpus.json.xz`: the texts, and for each way of tokenising them the ids (null where they are
those of the first way) and what decoding gives. Needs transformers 4.57, sentencepiece and
tokenizers; the tests need only the results.
"""

import json
import lzma
import random
import sys
from pathlib import Path

from make_tokens import ODD
from tokenizers import Tokenizer
from transformers import ByT5Tokenizer, T5Tokenizer, T5TokenizerFast

LINES = 5000
SCRIPTS = {
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώϊϋΐΰς",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ",
    "CJK": "日本語文字列処理系統中文简体繁體資料庫檔案系統한국어패키지도구",
    "kana": "あいうえおかきくけこがぎぐげごパピプペポｱｲｳｴｵﾞﾟ",
    "Arabic": "مرحبابالعالمحزمةبرامجﻻﷺ",
    "Hebrew": "שלוםעולםחבילהּׁ",
    "Devanagari": "नमस्तेदुनियासंकुलक्षत्रज्ञ",
    "Thai": "สวัสดีชาวโลกแพ็กเกจน้ำ",
    "emoji": "😀😃👍🏽👩‍💻👨‍👩‍👧‍👦🇩🇪🇫🇷🏳️‍🌈❤️☃⚡️🫠",
    "marks": "\u0301\u0308\u0323\u0327\u20dd\u0489\u3099",
    "spaces": " \u00a0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000\t\n\r\v\f",
    "invisible": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u180e",
    "controls": "\u0001\u0007\u0008\u001b\u001c\u001f\u007f\u0080\u0085\u009f",
    "compatible": "ﬁﬂﬀﬃﬄ①②½¾™²³㎏㎡ⅧⅳＡＢｃ１２３～／ⓐ㈱℃Å",  # noqa: RUF001
    "punctuation": "!!!!!!??...,,;:-–—_‚‘’“”«»‹›¡¿§¶†‡•‰′″⁄@#$%^&*()[]{}<>|\\/~`",  # noqa: RUF001
}
SPECIAL = ["</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_7>", "<extra_id_99>", "▁"]


def lines(words):
    yield from ODD
    draw = random.Random(7)
    long = ["!" * 500, "x" * 10000, "日" * 2000, " " * 700, "a\u0301" * 900, "<extra_id_3>" * 40]
    yield from long
    names = list(SCRIPTS)

    def chunk(name):
        return "".join(draw.choice(SCRIPTS[name]) for _ in range(draw.randint(1, 9)))

    def word():
        text = draw.choice(words)
        kind = draw.random()
        if kind < 0.1:
            text = text.upper()
        elif kind < 0.2:
            text = text.capitalize()
        return text

    count = len(ODD) + len(long)
    while count < LINES:
        kind = draw.random()
        if kind < 0.35:
            yield " ".join(word() for _ in range(draw.randint(1, 16)))
        elif kind < 0.55:
            name = draw.choice(names)
            parts = [draw.choice([chunk(name), word()]) for _ in range(draw.randint(1, 8))]
            yield draw.choice(["", " "]).join(parts)
        elif kind < 0.7:
            parts = [draw.choice([*SPECIAL, word(), chunk("spaces"), " "]) for _ in range(8)]
            yield "".join(parts)
        elif kind < 0.9:
            yield "".join(chunk(draw.choice(names)) for _ in range(draw.randint(1, 5)))
        else:
            gaps = [" " * draw.randint(1, 4) for _ in range(6)]
            yield "".join(gap + word() for gap in gaps) + " " * draw.randint(0, 3)
        count += 1


def variants(json_text):
    """The layouts of tokenizer.json that public repositories have, from today's."""
    never = json.loads(json_text)
    always, first, old, added = (json.loads(json_text) for _ in range(4))
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
    return {"never": never, "always": always, "first": first, "old": old, "added": added}


def main(model, target):
    spiece = str(model / "spiece.model")
    fast = T5TokenizerFast(vocab_file=spiece, legacy=True)
    text = fast.backend_tokenizer.to_str()
    (target / "tokenizer.json.xz").write_bytes(lzma.compress(text.encode(), preset=9))
    held_out = (model / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    words = sorted({word for line in held_out for word in json.loads(line)["input"].split()})
    texts = list(lines(words))
    assert len(texts) == LINES

    def slow(tokenizer):
        ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        return ids, [
            tokenizer.decode(each, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for each in ids
        ]

    def quick(tokenizer):
        encodings = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        ids = [encoding.ids for encoding in encodings]
        return ids, [tokenizer.decode(each, skip_special_tokens=True) for each in ids]

    ways = {
        "spiece, legacy": slow(T5Tokenizer(spiece, legacy=True)),
        "spiece": slow(T5Tokenizer(spiece, legacy=False)),
    }
    for name, each in variants(text).items():
        ways[f"json, {name}"] = quick(Tokenizer.from_str(json.dumps(each)))
    base_ids, base_texts = ways["spiece, legacy"]
    result = {"texts": texts}
    for name, (ids, decoded) in ways.items():
        is_base = name == "spiece, legacy"
        result[name] = {
            "ids": [a if is_base or a != b else None for a, b in zip(ids, base_ids)],
            "decoded": [a if is_base or a != b else None for a, b in zip(decoded, base_texts)],
        }
    byt5 = ByT5Tokenizer()
    # ByT5's ids are bytes: only what its special tokens do to a text is worth a line.
    result["bytes"] = {
        "ids": [
            byt5(text, add_special_tokens=False).input_ids if "<" in text else None
            for text in texts
        ]
    }
    packed = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()
    (target / "corpus.json.xz").write_bytes(lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
