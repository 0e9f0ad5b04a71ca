"""Inputs and pairs in the shapes that people have them in: the result is that of plain lists.

Mutations that this caught: a Series that is asked for its element 0; a DataFrame or a mapping
that is iterated, which gives names; a set, whose order is nobody's; ids that end up as texts.
"""

import array
import collections
import sqlite3

import numpy
import pytest
import unsay
from zoo import Frame, Series

TEXTS = ["a small tool", "fonts for mail"]
OUTPUTS = ["a tool", "some fonts"]
SHORT = {"max_new_tokens": 4}
Row = collections.namedtuple("Row", ["number", "input", "output"])


def sqlite_rows():
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    selects = [f"select '{a}' as input, '{b}' as target" for a, b in zip(TEXTS, OUTPUTS)]
    return base.execute(" union all ".join(selects)).fetchall()


class Dataset:
    """What a dataset of the datasets package is to us: rows, and columns by name."""

    column_names = ("input", "output")

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, key):
        return [dict(row)[key] for row in self] if isinstance(key, str) else list(self)[key]

    def __iter__(self):
        return ({"input": a, "output": b} for a, b in zip(TEXTS, OUTPUTS))


LISTS = {
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "map": lambda: map(str, TEXTS),
    "values of a dict": lambda: dict(enumerate(TEXTS)).values(),
    "array of str": lambda: numpy.array(TEXTS),
    "array of objects": lambda: numpy.array(TEXTS, object),
    "Series without label 0": lambda: Series(TEXTS),
    "rows": lambda: [{"input": text, "id": 3} for text in TEXTS],
    "columns": lambda: {"input": TEXTS, "other": None},
    "DataFrame": lambda: Frame({"id": [1, 2], "input": TEXTS}),
    "dataset": Dataset,
    "column of a dataset": lambda: Dataset()["input"],
    "rows of a database": sqlite_rows,
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_inputs_may_be_anything_in_an_order(model, name):
    expected = model.generate(TEXTS, **SHORT)
    assert model.generate(LISTS[name](), **SHORT) == expected
    assert model.score(LISTS[name](), OUTPUTS) == model.score(TEXTS, OUTPUTS)
    vectors = numpy.asarray(model.embed(LISTS[name]()))
    assert numpy.array_equal(vectors, numpy.asarray(model.embed(TEXTS)))


IDS = {
    "list": list,
    "tuple": tuple,
    "array": lambda ids: numpy.array(ids),
    "array of 16 bits": lambda ids: numpy.array(ids, "i2"),
    "array.array": lambda ids: array.array("q", ids),
    "memoryview": lambda ids: memoryview(array.array("i", ids)),
    "Series without label 0": Series,
    "list of numpy integers": lambda ids: [numpy.int64(id) for id in ids],
    "generator": iter,
}


@pytest.mark.parametrize("name", IDS)
def test_ids_may_be_anything_that_holds_integers(model, name):
    encoding = model.encode(TEXTS[0])
    ids, kind = encoding.ids, IDS[name]
    expected = model.generate(TEXTS[0], **SHORT)
    assert model.generate(kind(ids), **SHORT) == expected
    assert model.generate([kind(ids), TEXTS[0]], **SHORT) == [expected, expected]
    assert "".join(model.stream(kind(ids), **SHORT)) == expected.text
    assert model.decode(kind(ids)) == model.decode(ids)
    assert model.score(TEXTS[0], kind(ids)) == model.score(TEXTS[0], ids)
    banned = model.generate(TEXTS[0], suppress_tokens=kind(expected.ids[:1]), **SHORT)
    assert banned == model.generate(TEXTS[0], suppress_tokens=expected.ids[:1], **SHORT)
    assert banned.ids[0] != expected.ids[0]


def test_what_the_library_returned_stands_for_its_ids(model):
    encoding, output = model.encode(TEXTS[0]), model.generate(TEXTS[0], **SHORT)
    assert model.generate(encoding, **SHORT) == output
    assert model.decode(output) == model.decode(output.ids) == output.text
    assert model.score(encoding, output) == model.score(TEXTS[0], output.ids)
    assert model.generate(numpy.array(TEXTS[0]), **SHORT) == output


def test_a_matrix_of_ids_is_a_list_of_inputs(model):
    rows = [[5, 6, 7, 1], [8, 9, 10, 1]]
    assert model.generate(numpy.array(rows), **SHORT) == model.generate(rows, **SHORT)


PAIRS = {
    "list": lambda: list(zip(TEXTS, OUTPUTS)),
    "zip": lambda: zip(TEXTS, OUTPUTS),
    "lists": lambda: [[a, b] for a, b in zip(TEXTS, OUTPUTS)],
    "items of a dict": lambda: dict(zip(TEXTS, OUTPUTS)).items(),
    "array": lambda: numpy.array(list(zip(TEXTS, OUTPUTS))),
    "rows": lambda: [{"input": a, "output": b} for a, b in zip(TEXTS, OUTPUTS)],
    "rows with a target": lambda: [{"target": b, "input": a} for a, b in zip(TEXTS, OUTPUTS)],
    "Series as rows": lambda: [Series(pair, ["input", "output"]) for pair in zip(TEXTS, OUTPUTS)],
    "named tuples": lambda: [Row(3, a, b) for a, b in zip(TEXTS, OUTPUTS)],
    "columns": lambda: {"input": TEXTS, "target": numpy.array(OUTPUTS)},
    "DataFrame": lambda: Frame({"output": OUTPUTS, "id": [1, 2], "input": TEXTS}),
    "dataset": Dataset,
    "rows of a database": sqlite_rows,
}


def guarded(model, pairs):
    """The drift that a step causes on pairs, which depends on all of them."""
    with model.patch(scope="all", learning_rate=0.01, max_guard_kl=1e3, max_guard_flips=1) as patch:
        patch.add("files", [5, 6, 1], marks=[-1, 1, 1])
        patch.guard(pairs)
        patch.step()
        return patch.evaluate().guard_kl


def tuned(model, pairs, validation=None):
    with model.clone() as clone:
        report = clone.finetune(pairs, steps=1, validation=validation)
        return clone.fingerprint(), report.evaluation.held_out_loss


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_may_be_rows_columns_or_tuples(model, name):
    plain = list(zip(TEXTS, OUTPUTS))
    drift = guarded(model, plain)
    assert drift > 0 and guarded(model, PAIRS[name]()) == drift
    assert guarded(model, plain[:1]) != drift  # So it tells which pairs there are.
    assert tuned(model, PAIRS[name](), PAIRS[name]()) == tuned(model, plain, plain)


def test_one_row_is_one_pair(model):
    pair = (TEXTS[0], OUTPUTS[0])
    assert guarded(model, {"input": pair[0], "output": pair[1]}) == guarded(model, [pair])
    row = Series(pair, ["input", "target"])
    assert guarded(model, row) == guarded(model, [pair])
    assert model.generate(row, **SHORT) == model.generate(pair[0], **SHORT)
    ids = model.encode(pair[0]).ids, model.encode(pair[1]).ids
    assert guarded(model, {"input": ids[0], "output": ids[1]}) == guarded(model, [pair])


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["ab", "cd"], r"pairs\[0\]: expected \(input, output\) .*, found str 'ab'"),
        (("ab", "cd"), r"pairs\[0\]: expected \(input, output\) .*, found str 'ab'"),
        ("abcd", "pairs: expected a list of .*, found str 'abcd'"),
        ({"a text": "its output"}, "pairs: .*\"input\", found dict with the keys 'a text'"),
        ([{"source": "a", "goal": "b"}], r"pairs\[0\]: .*\"input\", found dict .*'source', 'goal'"),
        ([{"input": "a"}], r"pairs\[0\]: .*\"output\" or \"target\", found dict"),
        ([{"input": "a", "output": "b", "target": "c"}], r"\"output\" or \"target\", found dict"),
        (Frame({"source": ["a"], "goal": ["b"]}), r"pairs\[0\]: .*'source', 'goal'"),
        ([("a", "b", "c")], "found 3 parts"),
        ([("a", None)], r"the output of pairs\[0\]: .*, found None"),
        ([("a", "b"), (float("nan"), "b")], r"the input of pairs\[1\]: .*, found float nan"),
        ([5], r"pairs\[0\]: .*, found int 5"),
        ({"input": ["a", "b"], "output": ["c"]}, "pairs: 2 inputs, but 1 outputs"),
        (None, "pairs: .*, found None"),
    ],
    ids=str,
)  # fmt: skip
def test_what_are_no_pairs_is_named(model, pairs, said):
    with model.patch() as patch, pytest.raises(unsay.ArgumentError, match=said):
        patch.guard(pairs)
    with pytest.raises(unsay.ArgumentError, match=said):
        model.finetune(pairs, steps=1)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, "inputs: expected a text or its token ids, or a list of these, found None"),
        (["a", None], r"inputs\[1\]: expected a text or its token ids, found None"),
        (float("nan"), "inputs: .*, found float nan"),
        (Series(["a", float("nan")]), r"inputs\[1\]: .*, found float nan"),
        (Series([5.0, float("nan")]), r"inputs\[0\]: .*, found float 5.0"),
        ({"a", "b"}, "inputs: .*, found set"),
        ({"text": "a"}, "\"input\", found dict with the keys 'text'"),
        (Frame({"text": ["a"]}), r"inputs\[0\]: .*\"input\", found dict with the keys 'text'"),
        (b"a", "found bytes b'a'"),
        ([[5, True]], r"inputs\[0\]\[1\]: expected an integer, found bool True"),
        ([[5, 2**40]], r"inputs\[0\]\[1\]: expected an integer from -2147483648 to"),
        ([["a"]], r"inputs\[0\]: expected a text or its token ids, found list \['a'\]"),
    ],
    ids=str,
)
def test_what_are_no_inputs_is_named(model, inputs, said):
    for call in (model.generate, model.embed, lambda value: model.score(value, value)):
        with pytest.raises(unsay.ArgumentError, match=said):
            call(inputs)


def test_one_input_takes_one_output_and_a_list_a_list(model):
    with pytest.raises(unsay.ArgumentError, match="a list of inputs and one output"):
        model.score(["a", "b"], "cd")
    with pytest.raises(unsay.ArgumentError, match="one input and a list of outputs"):
        model.score("a", ["c", "d"])
    with pytest.raises(unsay.ArgumentTypeError, match="text: expected a str, found list"):
        model.encode(["a", "b"])
    assert numpy.asarray(model.embed([])).shape == (0, model.info.d_model)


def test_ranges_positions_and_marks_come_in_arrays_too(model):
    def plan(**marking):
        with model.patch() as patch:
            patch.add("files", "a small tool", **marking)
            return [(mark.position, mark.id, mark.q) for mark in patch.plan().marks]

    assert plan(avoid=(2, 7)) == plan(avoid=[(2, 7)]) == plan(avoid=numpy.array([[2, 7]]))
    assert plan(avoid=numpy.array(["small"])) == plan(avoid=["small"]) == plan(avoid={"small"})
    count = len(model.encode("a small tool").ids)
    marks = [-1] + [1] * (count - 1)
    assert plan(marks=numpy.array(marks)) == plan(marks=Series(marks)) == plan(marks=marks)
    one = plan(also_avoid={1: [7]})
    assert one == plan(also_avoid={numpy.int64(1): 7}) == plan(also_avoid={1: numpy.array([7])})
    for avoid in ([(2.0, 7)], [("2", 7)], [5], {"small": 1}):
        with pytest.raises(unsay.ArgumentError, match="avoid"):
            plan(avoid=avoid)
    with pytest.raises(unsay.ArgumentError, match="not both"):
        unsay.marks(model, "a b", avoid="a", better="b")


def test_deltas_are_given_by_their_paths_too(model, flagged, tmp_path):
    text, output, marks = flagged
    with model.patch() as patch:
        patch.add(text, output, marks=marks)
        patch.step()
        delta = patch.delta()
    path = tmp_path / "a.unsay"
    delta.save(path)
    before = model.fingerprint()
    for given in (path, str(path), str(path).encode(), delta):
        model.apply(given)
        assert model.fingerprint() == delta.info.after
        model.revert(given)
        assert model.fingerprint() == before
    assert model.squash([path]).info == model.squash((delta,)).info == delta.info
    with pytest.raises(FileNotFoundError, match=r"absent\.unsay"):
        model.apply("absent.unsay")
    with pytest.raises(TypeError, match="delta: expected a Delta or the path of one, found Model"):
        model.apply(model)


def test_pandas_itself(model):
    pandas = pytest.importorskip("pandas")
    expected = model.generate(TEXTS, **SHORT)
    series = pandas.Series(TEXTS, index=[7, 9])
    table = pandas.DataFrame({"input": TEXTS, "target": OUTPUTS}, index=[7, 9])
    assert model.generate(series, **SHORT) == model.generate(table, **SHORT) == expected
    with pytest.raises(unsay.ArgumentError, match=r"inputs\[1\]: .* found (float nan|None)"):
        model.generate(pandas.Series(["a", None]), **SHORT)
    drift = guarded(model, zip(TEXTS, OUTPUTS))
    for pairs in (table, table.to_dict("records"), table.to_dict("list"), table.itertuples(),
                  [row for _, row in table.iterrows()]):  # fmt: skip
        assert guarded(model, pairs) == drift
