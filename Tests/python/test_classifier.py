"""Token classifiers: numbers beside NumPy's, characters, files, patches, progress, Ctrl-C."""

import random
import signal

import numpy
import pytest
import unsay
from conftest import DEBSUM, MODELS
from reference_classifier import Reference, marked_comments, shuffle, split_mix
from test_interrupts import interrupted, python_handler  # noqa: F401

COMMENTS = marked_comments(60)
TEXT = COMMENTS[50][0]


@pytest.fixture(scope="module")
def classifier(debsum):
    with unsay.Classifier.train(debsum, COMMENTS[:40]) as trained:
        yield trained


def of(classifier, text):
    return numpy.asarray(classifier.probabilities(text))


def f1(found, expected):
    ours, theirs = ({i for begin, end in ranges for i in range(begin, end)} for ranges in
                    (found, expected))  # fmt: skip
    return 2 * len(ours & theirs) / max(1, len(ours) + len(theirs))


@pytest.mark.parametrize(
    "options, named",
    [
        ({}, {}),
        (dict(batch_size=64, seed=7), {}),
        (dict(passes=5, weight_decay=0.1), dict(passes=5, decay=0.1)),
        (dict(learning_rate=0.1, max_ids=6), dict(rate=0.1, max_ids=6)),
    ],
    ids=["defaults", "batches", "decay", "rate"],
)
def test_what_is_learnt_is_what_numpy_learns(debsum, options, named):
    ours = unsay.Classifier.train(debsum, COMMENTS[:40], **options)
    theirs = Reference(debsum, COMMENTS[:40], **(named or options))
    worst = max(abs(of(ours, text) - theirs.probabilities(text)).max() for text, _ in COMMENTS)
    scores = [
        numpy.mean([f1(each.spans(text), ranges) for text, ranges in COMMENTS[40:]])
        for each in (ours, theirs)
    ]
    print(f"probabilities differ by {worst:.1e} at most; F1 {scores[0]:.4f} and {scores[1]:.4f}")
    assert worst < 1e-5 and scores[0] == scores[1]
    info = ours.info
    assert (info.token_count, info.marked_count) == (theirs.tokens, theirs.marked)
    assert info.loss == pytest.approx(theirs.loss, abs=1e-5) and info.d_model == 256


def test_marked_words_are_found_where_they_were_never_seen(classifier):
    scores = [f1(classifier.spans(text), ranges) for text, ranges in COMMENTS[40:]]
    assert numpy.mean(scores) > 0.9, scores
    counts = f"{classifier.info.marked_count} of {classifier.info.token_count}"
    assert str(classifier).startswith(f"Classifier(d_model=256, {counts} tokens marked, loss=0.0")


def test_the_order_of_tokens_is_that_of_the_documentation():
    order = list(range(8))
    shuffle(order, split_mix(0))
    assert order == [1, 2, 6, 5, 4, 0, 3, 7]  # as HeadTrainerTests.swift


def test_threads_and_the_texts_beside_change_no_bit(debsum, classifier):
    with unsay.open(DEBSUM, threads=3) as other:
        again = unsay.Classifier.train(other, COMMENTS[:40])
        assert (of(again, TEXT) == of(classifier, TEXT)).all()
    assert (of(classifier, TEXT) == of(classifier, debsum.encode(TEXT).ids)).all()


def test_spans_count_characters(debsum, classifier):
    """Beside those of the reference, on texts of letters and spaces of every width."""
    reference = Reference(debsum, COMMENTS[:40])
    rng = random.Random(3)
    alphabet = ["stupid", "é", "ü", "中", "😀", " ", "\u00a0", "\u3000", "\n", "a", ",", "\x1c"]
    several = 0
    for _ in range(150):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 14)))
        p = reference.probabilities(text)
        # Halfway between two probabilities, so that rounding decides nothing.
        levels = sorted({0.0, *p.tolist(), 1.0})
        threshold = rng.choice([(a + b) / 2 for a, b in zip(levels, levels[1:]) if b - a > 1e-4])
        found = classifier.spans(text, threshold=threshold)
        assert found == reference.spans(text, threshold), (text, threshold)
        several += len(found) > 1
    assert several > 10


def test_spans_of_an_output_mark_it(debsum, classifier):
    output = debsum.generate("summarize: A library for reading CSV files.", max_new_tokens=12)
    p = of(classifier, output)
    threshold = float(numpy.median(p[:-1]))
    found = classifier.spans(output, threshold=threshold)
    assert found == classifier.spans(output.text, threshold=threshold)
    marks = unsay.marks(debsum, output, avoid=found)
    texts = [output.text[begin:end].strip() for begin, end in debsum.encode(output.text).spans]
    assert [mark == -1 for mark in marks] == [
        bool(value >= threshold and text) for value, text in zip(p, texts)
    ]
    with pytest.raises(unsay.ArgumentError, match="found list"):
        classifier.spans(output.ids)


def test_long_texts_need_no_room_beforehand(classifier):
    text = "stupid, " * 200
    assert len(of(classifier, text)) > 512
    assert len(classifier.spans(text, threshold=0)) == 1
    assert len(classifier.spans("")) == 0


def test_a_classifier_is_kept_in_a_small_file(debsum, classifier, tmp_path):
    path = tmp_path / "toxic.classifier"
    classifier.save(path)
    assert path.stat().st_size == 76 + 8 * 256 + 32
    with unsay.Classifier.open(debsum, path) as again:
        assert again.info == classifier.info
        assert (of(again, TEXT) == of(classifier, TEXT)).all()
    with pytest.raises(ValueError, match="the classifier is closed"):
        again.spans(TEXT)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(unsay.FormatError, match=r"toxic\.classifier: damaged"):
        unsay.Classifier.open(debsum, path)
    with pytest.raises(FileNotFoundError, match="absent"):
        unsay.Classifier.open(debsum, tmp_path / "absent")


def test_it_belongs_to_its_encoder(debsum, classifier, tmp_path):
    path = tmp_path / "toxic.classifier"
    classifier.save(path)
    refused = pytest.raises(unsay.MismatchError, match=r"states of 256 numbers.* have 32")
    with unsay.open(MODELS / "tiny-v10") as tiny, refused:
        unsay.Classifier.open(tiny, path)
    before = of(classifier, TEXT)
    pair = [("summarize: A tool for mail.", "mail tool")]
    for scope, is_refused in (("decoder", False), ("all", True)):
        with debsum.clone() as model:
            opened = unsay.Classifier.open(model, path)
            model.finetune(pair, steps=1, scope=scope)
            assert (of(opened, TEXT) == before).all()
            if is_refused:
                with pytest.raises(unsay.MismatchError, match="was trained on the encoder"):
                    unsay.Classifier.open(model, path)
            else:
                assert (of(unsay.Classifier.open(model, path), TEXT) == before).all()
    assert (of(opened, TEXT) == before).all()  # its model is closed


@pytest.mark.parametrize("compute", ["bf16", "int8"])
def test_weights_in_fewer_bits_serve_as_well(classifier, compute, tmp_path):
    classifier.save(tmp_path / "head")
    with unsay.open(DEBSUM, compute=compute) as model:
        rounded = unsay.Classifier.open(model, tmp_path / "head")
        worst = max(abs(of(rounded, text) - of(classifier, text)).max() for text, _ in COMMENTS)
        print(f"{compute}: probabilities differ by {worst:.4f} at most")
        assert 0 < worst < 0.1


def test_what_cannot_be_learnt_from_is_named(debsum):
    def refused(texts, match, **options):
        with pytest.raises(unsay.ArgumentError, match=match):
            unsay.Classifier.train(debsum, texts, **options)

    refused([], "0 tokens")
    refused([("a good tool", [])], "of which 0 share")
    refused([("a", [(0, 1)]), ("a", [(0, 2)])], "text 1: range .0, 2. .*1 characters")
    refused([("a tool", [(3, 3)])], "text 0: range")
    refused([("a tool", [3, 4])], "text 0: ")
    refused([([5, 6], [])], "text 0: expected a str or an Output, found list .5, 6.")
    refused(COMMENTS[:3], "passes is 0", passes=0)
    refused(COMMENTS[:3], "learning_rate", learning_rate=-1.0)
    refused(COMMENTS[:3], "seed", seed=-1)
    with pytest.raises(unsay.TextError, match="text 0 holds a lone surrogate"):
        unsay.Classifier.train(debsum, [("\ud800", [])])


def test_progress_counts_texts_and_passes_and_may_end_them(debsum, capsys):
    seen = []
    unsay.Classifier.train(
        debsum, COMMENTS[:8], passes=3, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(8, 11), (9, 11), (10, 11), (11, 11)]
    with pytest.raises(unsay.CancelledError):
        unsay.Classifier.train(debsum, COMMENTS[:8], progress=lambda done, total: done < 10)

    def complain(done, total):
        raise KeyError(f"at {done}")

    with pytest.raises(KeyError, match="at 8"):
        unsay.Classifier.train(debsum, COMMENTS[:8], progress=complain)
    capsys.readouterr()
    unsay.Classifier.train(debsum, COMMENTS[:8], passes=3, progress=True)
    assert "11/11" in capsys.readouterr().err


def test_ctrl_c_ends_a_training(debsum, python_handler):  # noqa: F811
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert interrupted(lambda: unsay.Classifier.train(debsum, COMMENTS, passes=10**6)) < 5
