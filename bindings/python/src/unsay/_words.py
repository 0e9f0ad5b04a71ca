"""What the C interface calls things, in Python's words.

The library's sentences name parameters and constants as unsay.h does. A Python program has never
seen that header: what differs there is called here what it is called in Python.
"""

import re
from typing import Callable, List, Pattern, Tuple, Union

Words = Union[str, Callable[["re.Match[str]"], str]]

METHODS = {
    "unsay_session_add_held_out": "patch.hold_out()",
    "unsay_session_add_guard": "patch.guard()",
    "unsay_session_save": "patch.save_state()",
    "unsay_session_load": "patch.load_state()",
    "unsay_model_open": "unsay.open()",
    "unsay_model_open_buffers": "unsay.open_buffers()",
}
FIELDS = {
    "bad_words": "bad_words_ids",
    "force_words": "force_words_ids",
    "eos_token_ids": "eos_token_id",
    "tokenizer_path": "tokenizer",
    "allowed_tokens": "prefix_allowed_tokens_fn",
    "on_logits": "logits_processor",
    "sequence_bias_values": "the biases of sequence_bias",
}


def _method(match: "re.Match[str]") -> str:
    known = METHODS.get(match[0])
    parts = match[0].split("_", 2)
    owner = {"session": "patch", "token": "unsay"}.get(parts[1], parts[1])
    return known or (f"{owner}.{parts[2]}()" if len(parts) > 2 else f"{owner}()")


RULES: List[Tuple[Pattern[str], Words]] = [
    (re.compile(r"UNSAY_COMPUTE_INT8; a session trains in _F32 or _BF16"),
     "int8; a patch trains in f32 or bf16"),
    (re.compile(r"tensor_count is \d+; it must be above 0 with UNSAY_SCOPE_TENSORS, 0 without"),
     "scope names no tensor"),
    (re.compile(r"; it must be an? (one of )?unsay_\w+|, not one of unsay_\w+"),
     ", which is none of its choices"),
    (re.compile(r"one of unsay_\w+"), "one of its choices"),
    (re.compile(r"\bUNSAY_E_(\w+)\b"), lambda match: match[1].lower().replace("_", " ")),
    (re.compile(r"\bUNSAY_(LOSS|FORM|OPTIMIZER|SCHEDULE|SCOPE|SELECT|EXTENT|COMPUTE)_(\w+)\b"),
     lambda match: f'{match[1].lower()}="{match[2].lower()}"'),
    (re.compile(r"\bunsay_(?=[a-z])\w+"), _method),
    (re.compile(r"\boptions\.tensors\b"), "scope"),
    (re.compile(r"\boptions\.(generate\.|run\.)?"), ""),
    # Python adds one example at a time, but for pairs.
    (re.compile(r"\bexamples\[0\]\."), ""),
    (re.compile(r"\bexamples\[0\]"), "the output"),
    (re.compile(r"\bexamples\[(\d+)\]\."), r"pair \1's "),
    (re.compile(r"\bexamples\[(\d+)\]"), r"pair \1"),
    (re.compile(r"\bthe session\b"), "the patch"),
    (re.compile(r"\ba session\b"), "a patch"),
    (re.compile(rf"\b({'|'.join(FIELDS)})\b"), lambda match: FIELDS[match[1]]),
    (re.compile(r"\bNULL\b"), "None"),
]  # fmt: skip


def in_python(sentence: str) -> str:
    """A sentence of the library as a Python program is told it."""
    for pattern, words in RULES:
        sentence = pattern.sub(words, sentence)
    return sentence
