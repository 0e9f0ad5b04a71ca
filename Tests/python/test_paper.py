"""The parts of examples/paper: tasks, annotators, random weights, measures, trials."""

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
from runtime import Runtime

sys.path.insert(0, str(ROOT / "examples"))

from paper import annotators, debsum, fresh, measures, tables, tasks, token_classifier, trials
from paper.outputs import Written
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


# Models, measures, examples


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
        for way, logits in Runtime(tmp_path / "graph", graph.info).logits(ids, written).items():
            numpy.testing.assert_allclose(ours, logits[:2], rtol=1e-4, atol=1e-3, err_msg=way)


def test_measures():
    assert measures.interval(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert measures.interval(83, 1964) == (
        pytest.approx(0.03422, abs=1e-5), pytest.approx(0.05209, abs=1e-5),
    )  # fmt: skip
    assert measures.repeats("simple tool for simple files") and not measures.repeats("a b and a b")
    found = measures.comparison(
        ["a b c d e", "x y", "z"], ["a b c d f", "x y", "z"], [True, False, False], [False] * 3
    )
    assert (found["before"], found["after"], measures.gone(found)) == (1, 0, 1.0)
    assert found["others"]["same"] == 1 and found["had"]["same"] == 0
    assert found["had"]["rouge_l"] == pytest.approx(80) and 0 < found["had"]["bleu"] < 80


def rows(flagged, clean):
    output = unsay.Output("a b", [5, 6, 1], [], 0.0, "end")
    return [
        Written(f"{has} {index}", "", output, [(0, 1)] if has else [], [-1 if has else 1, 1, 1])
        for has, count in ((True, flagged), (False, clean))
        for index in range(count)
    ]


def test_fewer_flags_are_among_more_and_wrong_flags_keep_their_number():
    settings = Settings("pairs", "", {}, {}, kept=20, guard=5, held_out=8)
    train, validation = rows(20, 60), rows(9, 30)

    def chosen(flagged, noise=0.0):
        trial = trials.Trial("b", "p", "ff", 1e-3, 1.0, 7, flagged, noise)
        return trials.examples(settings, trial, train, validation)

    few, many, wrong = chosen(5), chosen(20), chosen(20, 0.2)
    assert [r.input for r in few.flagged] == [r.input for r in many.flagged[:5]]
    assert len(many.held_out) == 8 and sum(r.has for r in many.held_out) == 4
    assert len(wrong.flagged) == 20 and sum(not r.has for r in wrong.flagged) == 4
    assert all(-1 in r.marks for r in wrong.flagged)
    missed = [r for r in wrong.kept if r.has]
    assert len(missed) == 4 and all(r.marks == [1, 1, 1] for r in missed)
    guarded = {r.input for r in many.guard}
    assert not guarded & {r.input for each in (many, wrong) for r in each.kept + each.flagged}


def test_rules_choose_by_loss_as_the_paper_does_or_by_prevalence_within_the_guard():
    settings = Settings("pairs", "", {}, {}, max_guard_kl=0.1, max_guard_flips=0.5)
    runner = trials.Runner(settings, ROOT, None, None, [], [], {})

    def history(alpha, *entries):
        return {"trial": {"alpha": alpha}, "checkpoints": [
            {"step": step, "held_out_loss": loss, "guard_kl": kl, "guard_flips": 0.0,
             "validation": {"after": after, "others": {"bleu": bleu}}}
            for step, loss, kl, after, bleu in entries]}  # fmt: skip

    histories = [
        history(1.0, (1, 0.5, 0.01, 4, 99), (2, 0.3, 0.05, 3, 95), (3, 0.4, 0.3, 0, 50)),
        history(4.0, (1, 0.1, 0.02, 3, 97)),
    ]
    assert runner.best(histories, "loss")[1]["step"] == 2
    best, point = runner.best(histories, "guard")
    assert best is histories[1] and point["step"] == 1
    assert runner.best([history(1.0, (1, 0.1, 0.3, 0, 50))], "guard") is None


def test_methods_are_compared_where_they_remove_equally_much():
    def row(method, seed, gone, same):
        return {"protocol": "paper", "method": method, "seed": seed, "gone": gone, "same": same,
                "bleu": 100 * same}  # fmt: skip

    rows = [row("ff", 1, 1.0, 0.9), row("ff", 1, 0.6, 0.98), row("ff", 2, 0.8, 0.94),
            row("ul", 1, 0.5, 0.7), row("ul", 2, 0.4, 0.9)]  # fmt: skip
    ff, ul = tables.equal(rows)
    assert ff[:2] == ["ff", "paper"] and len(ff) == len(tables.EQUAL_HEADINGS)
    assert ff[2:6] == ["96.0%", "96.0%", "96.0%", "92.0%"]
    assert ff[6:10] == ["96.0", "96.0", "96.0", "92.0"]
    assert ul[2:6] == ["80.0%", "80.0%", "70.0% (1 of 2 seeds)", "-"]
    assert tables.frontier(rows[:2], "bleu")[::4] == [100, 98, 98, 98, 90, 90]


def test_checkpoints_are_measured_on_outputs_with_the_behaviour_first():
    few, many, others = rows(3, 0), rows(40, 0), rows(0, 50)

    def checked(validation):
        settings = Settings("pairs", "", {}, {}, checked=20)
        return trials.Runner(settings, ROOT, None, None, [], validation, {}).checked

    assert checked(others + few) == few + others[:17]
    assert checked(many + others) == many[:10] + others[:10]
    assert checked(few) == few


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
