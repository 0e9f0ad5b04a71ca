"""The parts of examples/paper: tasks, annotators, random weights, its files."""

import collections
import csv
import gzip
import json
import os
import subprocess
import sys

import numpy
import pytest
import unsay
from conftest import MODELS, ROOT
from reference_classifier import marked_comments
from unsay._runtime import Runtime

sys.path.insert(0, str(ROOT / "examples"))

from paper import annotators, debsum, fresh, tasks, token_classifier
from paper.settings import Settings
from paper.store import Progress, append_lines, read_lines

ARTICLES = [
    {"document": "A tabby cat\tsat.\nIt slept.", "summary": "A cat, “Tom”, slept.", "id": "1"},
    {"document": "Rain fell, \"hard\".", "summary": "It rained.", "id": "2"},
]  # fmt: skip
EXPECTED = [
    {"input": f"summarize: {row['document']}", "target": row["summary"]} for row in ARTICLES
]


# Tasks


def write_split(folder, split, ending, rows):
    path = folder / f"{split}{ending}"
    if ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif ending == "-00000-of-00001.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, list(rows[0]), delimiter="\t" if ending == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.parametrize("ending", [".jsonl", ".tsv", ".csv", "-00000-of-00001.parquet"])
def test_xsum_is_read_from_every_format_it_comes_in(tmp_path, ending):
    for split in ("train", "validation", "test"):
        write_split(tmp_path, split, ending, ARTICLES)
    found = list(tasks.xsum(tmp_path))
    assert [pair for split, pair in found if split == "validation"] == EXPECTED
    assert len(found) == 6


def test_xsum_is_read_as_its_authors_download_it(tmp_path):
    folder = tmp_path / "xsum-extracts-from-downloads"
    folder.mkdir()
    (folder / "7.data").write_text(
        "[XSUM]URL[XSUM]\nhttp://a.b/7\n[XSUM]INTRODUCTION[XSUM]\nA cat slept.\n"
        "[XSUM]RESTBODY[XSUM]\nShare this with\nEmail\nA tabby cat sat.\n\nIt slept.\n",
        encoding="utf-8",
    )
    splits = {"train": ["7", "gone"], "validation": [], "test": ["7"]}
    (tmp_path / tasks.XSUM_SPLITS).write_text(json.dumps(splits))
    pair = {"input": "summarize: A tabby cat sat.\nIt slept.", "target": "A cat slept."}
    assert list(tasks.xsum(tmp_path)) == [("train", pair), ("test", pair)]


COMMENTS = [
    {"comment_text": "You fool, stop.", "parent_text": "I like it.", "split": "train",
     "spans_split": "train", "spans": "[4, 5, 6, 7]"},
    {"comment_text": "Me too.", "parent_text": "", "split": "train",
     "spans_split": "", "spans": ""},
    {"comment_text": "Well said.", "parent_text": "Trees are good.", "split": "test_public",
     "spans_split": "test_private", "spans": "[]"},
    {"comment_text": "Indeed, \"so\".", "parent_text": "Rain,\nagain.", "split": "test_private",
     "spans_split": "train", "spans": "[0, 1, 8, 9, 10, 11]"},
]  # fmt: skip


def test_civil_comments_are_replies_in_the_publishers_one_file(tmp_path):
    write_split(tmp_path, "civil_comments", ".csv", COMMENTS)
    assert list(tasks.civil(tmp_path)) == [
        ("train", {"input": "reply: I like it.", "target": "You fool, stop."}),
        ("validation", {"input": "reply: Trees are good.", "target": "Well said."}),
        ("test", {"input": "reply: Rain,\nagain.", "target": 'Indeed, "so".'}),
    ]
    assert list(tasks.spans(tmp_path / "civil_comments.csv")) == [
        ("You fool, stop.", [(4, 8)]), ("Indeed, \"so\".", [(0, 2), (8, 12)]),
    ]  # fmt: skip


def test_splits_of_another_size_than_the_published_ones_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "validation", "test"):
        write_split(tmp_path / "data", split, ".jsonl", ARTICLES)
    settings = {"model": "", "behaviours": {}, "protocols": {}, "data": str(tmp_path / "data")}
    with pytest.raises(SystemExit, match="203577"):
        tasks.prepare(Settings("xsum", **settings), tmp_path)
    tasks.prepare(Settings("xsum", **settings, check_counts=False, inputs={"test": 1}), tmp_path)
    assert tasks.load(tmp_path, "test") == EXPECTED[:1]
    with pytest.raises(SystemExit, match="no column 'parent_text'"):
        list(tasks.civil(tmp_path / "data"))


GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu"


def package(name, source, synopsis, text):
    return (
        f"Package: {name}\nSource: {source}\n",
        f"Package: {name}\nDescription-en: {synopsis}\n {text}\n .\n More of it.\n",
    )


@pytest.mark.skipif(not os.path.exists(debsum.HELPER), reason="needs apt")
def test_debsum_hides_names_drops_duplicates_and_splits_by_source(tmp_path):
    words = GREEK.split()
    text = "reads {0} files and writes {0} tables for people who like {0}."
    made = [
        package(f"lib{word}{number}", f"lib{word}-{number}.0", f"{kind} {word} reader",
                f"The lib{word}{number} library {text.format(f'{word} {kind}')}")
        for word in words for number, kind in ((1, "old"), (2, "new"))
    ]  # fmt: skip
    made.append(package("zcopy", "zcopy", "another reader", made[0][1].split("\n ")[1]))
    made.append(package("gone", "gone", "transitional package", "A dummy package, to be removed."))
    with gzip.open(tmp_path / "x_Packages.gz", "wt") as file:
        file.write("\n".join(stanza for stanza, _ in made))
    (tmp_path / "x_bookworm_main_i18n_Translation-en").write_text("\n".join(t for _, t in made))
    dropped = debsum.collections.Counter()
    found = list(debsum.pairs(tmp_path, dropped))
    assert len(found) == 24 and dropped == {"same long description": 1, "transitional": 1}
    pair = next(pair for _, pair in found if pair["pkg"] == "libmu2")
    assert pair["input"] == (
        "summarize: The package library reads mu new files and writes mu new tables for people "
        "who like mu new. More of it."
    )
    assert pair["target"] == "New mu reader"
    split_of = {}
    for split, pair in found:
        assert split_of.setdefault(debsum.group_of(pair["source"]), split) == split
    assert len(set(split_of)) == 12
    shares = collections.Counter(debsum.split_of(f"source{number}") for number in range(2000))
    assert 1750 < shares["train"] < 1850 and 70 < shares["test"] < 130, shares
    assert set(split_of.values()) == {"train"}  # libdelta1 by itself would be in test


# Annotators


def text_of(output, spans):
    return [output[begin:end] for begin, end in spans]


def test_names_are_what_the_input_does_not_have():
    text = "A viewer for PDF and DjVu files by GNOME, version 3.2, made of Perl's parts."
    assert annotators.Names().spans(["a tool by Ada"], ["Tool by Bob"]) == [[(8, 11)]]
    cases = {
        "Document viewer for DjVus": [],
        "PDF viewer (GNOME 3)": ["3"],
        "KDE viewer for Perl 5.36, GTK+": ["KDE", "5.36", "GTK+"],
        "Viewer. Simple viewer by Ada": ["Ada"],
        "": [],
    }
    for output, expected in cases.items():
        (spans,) = annotators.Names().spans([text], [output])
        assert text_of(output, spans) == expected, output


def test_phrases_are_whole_words_in_any_case():
    (spans,) = annotators.Phrases(["simple", "a simple"]).spans([""], ["A simple (Simple) simpler"])
    assert spans == [(0, 8), (10, 16)]


def test_entities_are_those_that_the_input_lacks():
    pytest.importorskip("spacy")
    text = "A city in France had rain on Monday."
    output = "Rain fell in Germany and in France on Monday."
    (spans,) = annotators.Entities().spans([text], [output])
    assert text_of(output, spans) == ["Germany"]


def test_any_function_annotates_and_marks_cover_the_tokens_of_its_spans(model):
    output = model.generate("summarize: a small library for reading files", max_new_tokens=8)
    half = len(output.text) // 2
    each = annotators.Each(lambda text, written: [(0, half)] if "files" in text else [])
    marked, kept = annotators.marks(model, each, ["files", "mail"], [output, output])
    assert marked == unsay.marks(model, output, avoid=[(0, half)]) and -1 in marked
    assert kept == [1] * len(marked)


def write_spans(path, comments):
    rows = []
    for text, ranges in comments:
        marked = [index for begin, end in ranges for index in range(begin, end)]
        rows.append({"comment_text": text, "spans": str(marked), "spans_split": "train"})
    write_split(path.parent, path.stem, path.suffix, rows)


def test_the_classifier_of_a_file_of_spans_is_learnt_once_and_kept(debsum, tmp_path):
    comments = marked_comments(60)
    data, kept = tmp_path / "spans.csv", tmp_path / "heads/toxic.classifier"
    write_spans(data, comments[:40])
    annotator = token_classifier.trained(debsum, data, kept, 0.5)
    texts = [text for text, _ in comments[40:]]
    found = annotator.spans([""] * len(texts), texts)
    assert token_classifier.mean_f1(found, comments[40:]) > 0.8
    data.unlink()
    assert token_classifier.trained(debsum, data, kept, 0.5).spans([""] * 20, texts) == found
    everything = token_classifier.trained(debsum, data, kept, 0.0).spans([""] * 20, texts)
    assert everything == [[(0, len(text))] for text in texts]


def test_a_file_of_spans_that_teaches_nothing_is_named(debsum, tmp_path):
    data = tmp_path / "spans.csv"
    write_spans(data, [("a good tool", []), ("", [])])
    with pytest.raises(SystemExit, match=r"spans\.csv: .*nothing to learn"):
        token_classifier.trained(debsum, data, tmp_path / "kept", 0.5)
    write_spans(data, [("a good tool", [(7, 12)])])
    with pytest.raises(SystemExit, match=r"spans\.csv: text 0.*11 characters"):
        token_classifier.trained(debsum, data, tmp_path / "kept", 0.5)


def test_the_command_learns_from_nine_tenths_and_scores_the_rest(tmp_path):
    write_spans(tmp_path / "spans.csv", marked_comments(60))
    done = subprocess.run(
        [sys.executable, "-m", "paper.token_classifier", ROOT / "models/debsum",
         tmp_path / "spans.csv", tmp_path / "out"],
        env=dict(os.environ, PYTHONPATH=f"{ROOT}/bindings/python/src:{ROOT}/examples"),
        text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("54 comments; F1 on 6 others ")
    assert done.stdout.rstrip().endswith("of no mark 0.000") and (tmp_path / "out").exists()


def test_f1_is_of_characters():
    assert token_classifier.f1([(0, 4)], [(2, 6)]) == 0.5
    assert token_classifier.f1([], []) == 1 and token_classifier.f1([(0, 1)], []) == 0


# Models, files


@pytest.mark.parametrize("name", ["tiny-v10", "tiny-v11"])
def test_random_weights_fill_the_graph_of_a_folder_and_a_container_alike(name, tmp_path):
    source = MODELS / name
    fresh.make(source, tmp_path / "graph", 3)
    fresh.container(source / "config.json", source / "spiece.model", tmp_path / "container", 3)
    with unsay.open(source) as old, unsay.open(tmp_path / "graph") as graph:
        with unsay.open(tmp_path / "container") as container:
            shapes = {tensor.name: tensor.shape for tensor in old.tensors()}
            for other in (graph, container):
                assert {tensor.name: tensor.shape for tensor in other.tensors()} == shapes
                spread = numpy.asarray(other.tensor("shared.weight")).std()
                assert spread == pytest.approx(1, rel=0.05)
                assert other.fingerprint() != old.fingerprint()
        ids, written = graph.encode("a library").ids, [0, 5, 9]
        ours = numpy.asarray(graph.logits(ids, written[1:]))
        for way, logits in (
            Runtime((tmp_path / "graph").rglob("*.onnx"), graph.info).logits(ids, written).items()
        ):
            numpy.testing.assert_allclose(ours, logits[:2], rtol=1e-4, atol=1e-3, err_msg=way)


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path):
    append_lines(tmp_path / "lines", [1, 2])
    with open(tmp_path / "lines", "a") as file:
        file.write('{"half": ')
    assert read_lines(tmp_path / "lines") == [1, 2]
    append_lines(tmp_path / "lines", [3])
    assert read_lines(tmp_path / "lines") == [1, 2, 3]


def test_progress_says_the_rate_and_the_time_that_remains():
    progress = Progress("update", 10, done=4)
    progress.began -= 6
    progress.done = 7
    assert progress.line() == "update [##############......] 7/10  0.5/s, 6 s to go"
