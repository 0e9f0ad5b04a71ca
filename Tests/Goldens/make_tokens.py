"""Writes the expected ids of TokenizersTests with transformers' slow tokenizers.

    python make_tokens.py models/debsum/spiece.model reference.jsonl tokens.json

`reference.jsonl` holds lines with `input` and `input_ids` (end included); its first 200 are
copied. The other texts are odd on purpose: white space, characters that NFKC changes,
literal special tokens, unknown characters. Needs transformers and sentencepiece; the tests
need only the result.
"""

import json
import random
import sys
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2
from transformers import ByT5Tokenizer, T5Tokenizer

ODD = [
    "", " ", "   ", "\t\n", "a", " a", "a ", "  two  spaces  ", "tab\tand\nline\r\nbreak",
    "non\u00a0breaking", "thin\u2009space", "zero\u200bwidth", "ideographic\u3000space",
    "caf\u00e9", "cafe\u0301", "\ufb01ne \ufb02ow", "\uff21\uff22\uff23 \uff11\uff12\uff13",
    "\u2460 \u00bd \u2122 \u00b2", "\u2026 \u201cquoted\u201d \u2018so\u2019 \u2013 \u2014",
    "\ufdfa", "\u00df \u0130 \u01c5", "\u2603 snowman", "\u2603\u2603\u2603",
    "a\u2603b\u2603\u2603c",
    "\U0001f600\U0001f600 emoji \U0001f1e9\U0001f1ea", "\u65e5\u672c\u8a9e", "\uac00\u1100\u1161",
    "\u0645\u0631\u062d\u0628\u0627", "control\u0001\u001f\u007fchars", "\ufeffbom",
    "\ufffd replacement", "\u2581under\u2581line", "\u2581 \u2581", "x\u2581\u2581y",
    "<pad>", "</s>", "<unk>", "a</s>b", "a </s> b", "  </s>  ", "<unk> at the start", "end <pad>",
    "</s></s>", "</s> </s>", "</S> <PAD>", "< /s>", "<<unk>>", "<extra_id_0>", "a <extra_id_0> b",
    "a<extra_id_1>b", "<extra_id_0> <extra_id_1>", "x  <extra_id_99>  y",
    "<extra_id_100> no such id",
    "<extra_id_00>", "\u3000<extra_id_3>\u00a0\u0085z", "simple", "Simple", "SIMPLE",
    "simple,simple",
    "http://example.org/a_b-c?d=e&f=%20#g", "int main(void) { return 0; }", "1234567890" * 5,
    "a" * 300, "- " * 100, "\u0301combining first", "e\u0301\u0301\u0301", "\u1e9b\u0323",
]  # fmt: skip
ALPHABET = [
    *(" ", "  ", "\u00a0", "\u3000", "\u2581", "</s>", "<pad>", "<unk>", "<extra_id_7>", "<", ">"),
    *"aeinorst.,-/:0159ABZ_'\"",
    *"\u00e9\u00df\u0301\ufb01\uff21\u00bd\u2026\u2603\u65e5\u0645\u200b\u00ad\u212b",
    *("\U0001f600", "simple", " the", " package", "GNU R", "lib"),
]
IDS = 24


def odd_texts():
    draw = random.Random(20240601)
    texts = list(ODD)
    for _ in range(200):
        texts.append("".join(draw.choice(ALPHABET) for _ in range(draw.randint(1, 30))))
    return texts


def cases(tokenizer, texts):
    rows = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        rows.append({"text": text, "ids": ids, "decoded": back})
    return rows


def random_ids(tokenizer, size):
    draw = random.Random(7)
    rows = []
    for _ in range(50):
        ids = [draw.randrange(size) for _ in range(draw.randint(1, IDS))]
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        rows.append({"ids": ids, "decoded": back})
    return rows


def byte_ids(tokenizer):
    """Runs of byte ids, some of which form no character, among other ids."""
    first = tokenizer.sp_model.piece_to_id("<0x00>")
    draw = random.Random(8)
    rows = []
    for _ in range(50):
        text = "".join(draw.choice("a\u00e9\u2603\U0001f600") for _ in range(6)).encode()
        ids = [first + byte for byte in text[draw.randrange(3) : len(text) - draw.randrange(3)]]
        ids.insert(draw.randrange(len(ids)), draw.choice([0, 1, 2, 100, 500, first + 0xFF]))
        back = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        rows.append({"ids": ids, "decoded": back})
    return rows


def derived_models(path, bytes_path, user_path):
    """Two more models from the same pieces: one splits unknown characters into bytes, one
    has user-defined and unused pieces. They are made again, byte for byte, by the tests."""
    source = Path(path).read_bytes()
    tail = sentencepiece_model_pb2.ModelProto()
    for byte in range(256):
        tail.pieces.add(piece=f"<0x{byte:02X}>", score=0, type=6)
    tail.trainer_spec.byte_fallback = True
    Path(bytes_path).write_bytes(source + tail.SerializePartialToString())
    tail = sentencepiece_model_pb2.ModelProto()
    for piece, kind in [("the pack", 4), ("\ufb01", 4), ("  ", 4), ("zzzq", 5), ("aaaaaaa", 5)]:
        tail.pieces.add(piece=piece, score=0, type=kind)
    Path(user_path).write_bytes(source + tail.SerializePartialToString())
    return bytes_path, user_path


def main(model, reference, out):
    slow = T5Tokenizer(model, extra_ids=100, legacy=True)
    modern = T5Tokenizer(model, extra_ids=100, legacy=False)
    texts = odd_texts()
    with open(reference, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:200]
    bytes_path, user_path = derived_models(model, "/tmp/bytes.model", "/tmp/user.model")
    result = {
        "reference": [
            {
                "text": row["input"],
                "ids": row["input_ids"],
                "greedy_ids": row["greedy_ids"],
                "greedy_text": row["greedy_text"],
            }
            for row in rows
        ],
        "legacy": cases(slow, texts),
        "modern": cases(modern, texts),
        "random_ids": random_ids(slow, len(slow)),
        "bytes": cases(T5Tokenizer(bytes_path, extra_ids=0, legacy=True), texts),
        "bytes_random_ids": byte_ids(T5Tokenizer(bytes_path, extra_ids=0, legacy=True)),
        "user": cases(T5Tokenizer(user_path, extra_ids=0, legacy=True), texts),
        "byt5": cases(ByT5Tokenizer(), texts),
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
