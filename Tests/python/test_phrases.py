"""Phrases that outputs never hold, and phrases that all of them do."""

import json
import re
import shutil

import pytest
import unsay
from conftest import FIXTURES, GOLDENS

GOLDEN = json.loads((GOLDENS / "decoding.json").read_text())


def has(output, phrase):
    return bool(re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", str(output), re.IGNORECASE))


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 4}, {"do_sample": True, "seed": 3, "top_k": 20}]
)
def test_a_banned_phrase_is_never_written_in_any_case_or_spelling(debsum, held_out, options):
    texts = held_out[:45]
    plain = debsum.generate(texts, max_new_tokens=24, **options)
    words = {"library", "Perl module", "for", "C", "Tool", "data"}
    assert sum(has(output, word) for output in plain for word in words) > 15
    banned = debsum.generate(texts, max_new_tokens=24, banned_phrases=sorted(words), **options)
    for before, after in zip(plain, banned):
        assert not any(has(after, word) for word in words), after.text
        # A token that completes a phrase is refused, though a longer word could follow.
        beginnings = [debsum.decode(before.ids[:end]) for end in range(len(before.ids) + 1)]
        if not options and not any(has(text, word) for text in beginnings for word in words):
            assert before.ids == after.ids


def test_a_phrase_stays_away_from_words_that_only_contain_it(debsum):
    text = "summarize: a collection of libraries and utilities"
    plain = debsum.generate(text, max_new_tokens=24)
    parts = {word[:3] for word in plain.text.split() if len(word) > 4}
    assert (
        parts
        and debsum.generate(
            text,
            max_new_tokens=24,
            banned_phrases=[p for p in parts if p not in plain.text.split()],
        ).ids
        == plain.ids
    )


def test_bytes_never_spell_a_banned_phrase(tmp_path):
    folder = tmp_path / "byt5"
    shutil.copytree(FIXTURES / "byt5__opt", folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    model = unsay.open(folder)
    for letter, input in zip("abcdefgh", GOLDEN["models"]["byt5"]["inputs"]):
        prefix = [ord(c) + 3 for c in f"x {letter}"]
        output = model.generate(
            input, prefix_ids=prefix, max_new_tokens=10, banned_phrases=[letter, "é"]
        )
        assert output.text.startswith(f"x {letter}")
        assert not has(output, letter), output.text
        assert output.text[3:4].isalpha() or len(output.ids) == 3, output.text


@pytest.mark.parametrize("phrases", [["library"], ["Python", "fast"], ["a very small tool"]])
def test_forced_phrases_are_in_every_output_of_a_beam_search(debsum, held_out, phrases):
    runs = [debsum.encode(phrase).ids[:-1] for phrase in phrases]
    outputs = debsum.generate(
        held_out[:12], num_beams=4, num_return_sequences=2, max_new_tokens=24,
        force_words_ids=phrases,
    )  # fmt: skip
    for text, found in zip(held_out, outputs):
        for output in found:
            for run in runs:
                places = range(len(output.ids) - len(run) + 1)
                assert any(output.ids[at : at + len(run)] == run for at in places), output.text
        best = found[0]
        again = debsum.score(text, best)
        assert again.log_probs == pytest.approx(best.log_probs, abs=1e-4)
        assert best.score == pytest.approx(again.total / len(best.ids), abs=1e-4)
        assert best.score >= found[1].score
