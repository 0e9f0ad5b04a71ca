"""Values of all kinds, and calls of every public function with one of them for each parameter."""

import decimal
import fractions
import math
from pathlib import Path

import numpy
import unsay

TEXT = "a small tool"
PAIRS = [("a text", "its output")]


class Series:
    """What a pandas Series is to us: values under labels of its own, in an order."""

    def __init__(self, values, labels=None):
        self._values = list(values)
        self._labels = list(range(10, 10 + len(self._values))) if labels is None else labels

    def keys(self):
        return self._labels

    def __getitem__(self, label):
        return self._values[self._labels.index(label)]  # By label: there is no 0.

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return iter(self._values)

    def tolist(self):
        return list(self._values)


class Frame:
    """What a pandas DataFrame is to us: iterating it gives the names of its columns."""

    columns = None

    def __init__(self, columns):
        self.columns = list(columns)
        self._columns = columns

    def keys(self):
        return self.columns

    def __getitem__(self, name):
        return Series(self._columns[name])

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return len(next(iter(self._columns.values())))

    def to_dict(self, orient="dict"):
        raise AssertionError("a table is read by its rows")

    def itertuples(self, index=True, name="Row"):
        rows = zip(*self._columns.values())
        return ((number, *row) if index else row for number, row in enumerate(rows))


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


def values(world):
    """Fresh values, by a name for each: right for some parameters, wrong for nearly all."""
    nan = math.nan
    return {
        "None": None, "nan": nan, "inf": math.inf, "-inf": -math.inf, "True": True,
        "False": False, "0": 0, "1": 1, "3": 3, "-1": -1, "2**40": 2**40, "-2**70": -(2**70),
        "10**5000": 10**5000, "1.5": 1.5, "1e300": 1e300, "1j": 1j, "text": "text", "empty": "",
        "'3'": "3", "NUL": "a\0b", "surrogate": "\ud800", "bytes": b"bytes",
        "bytearray": bytearray(b"ab"), "memoryview": memoryview(b"ab"), "[]": [], "()": (),
        "{}": {}, "[None]": [None], "[text, None]": ["text", None], "[5, None]": [5, None],
        "[5, 1.5]": [5, 1.5], "[5, True]": [5, True], "[nan]": [nan], "[[]]": [[]],
        "[[None]]": [[None]], "[{}]": [{}], "['ab', 'cd']": ["ab", "cd"], "('ab', 'cd')":
        ("ab", "cd"), "(2, 4)": (2, 4), "[(2, 4)]": [(2, 4)], "[(4, 2)]": [(4, 2)],
        "[(0, nan)]": [(0, nan)], "[(0, '3')]": [(0, "3")], "[(0,)]": [(0,)], "[5, 2**40]":
        [5, 2**40], "[300000]": [300000], "[-7]": [-7], "[b'a']": [b"a"],
        "{text: text}": {"source": "a", "goal": "b"}, "{0: 5}": {0: 5}, "{'0': None}": {"0": None},
        "{0: 'a'}": {0: "a"}, "{-1: [5]}": {-1: [5]}, "{(5, 6): None}": {(5, 6): None},
        "row": {"input": "a", "output": "b"}, "row of numbers": {"input": 3, "output": nan},
        "[row]": [{"input": "a", "target": "b"}], "[half a row]": [{"input": "a"}],
        "row of both": [{"input": "a", "output": "b", "target": "c"}],
        "{name: None}": {"encoder_model.onnx": None}, "{5: bytes}": {5: b"a"},
        "set": {"a", "b"}, "object": object(), "type": int, "function": lambda *_: None,
        "unprintable": Unprintable(), "[unprintable]": [Unprintable()], "range": range(5, 8),
        "generator": (text for text in ["a", None]), "Path": Path("absent"),
        "Decimal": decimal.Decimal("sNaN"), "Fraction": fractions.Fraction(1, 3),
        "int64": numpy.int64(3), "float32": numpy.float32("nan"), "bool_": numpy.bool_(True),
        "str_": numpy.str_("text"), "complex64": numpy.complex64(1), "array(3)": numpy.array(3),
        "array([1.5])": numpy.array([1.5]),
        "array([[5, 6], [7, 1]])": numpy.array([[5, 6], [7, 1]]),
        "zeros": numpy.zeros((2, 3), "f4"), "array([])": numpy.array([]), "array(['a', 'b'])":
        numpy.array(["a", "b"]), "datetime64": numpy.datetime64("2020-01-01"),
        "array of objects": numpy.array([None, "a"], object), "Series": Series(["a", "b"]),
        "Series of nan": Series(["a", nan]), "Frame": Frame({"input": ["a"], "output": ["b"]}),
        "Frame of others": Frame({"source": ["a"], "goal": ["b"]}), "Output": world.output,
        "Encoding": world.model.encode("a"), "Model": world.model, "Delta": world.delta,
        "Classifier": world.classifier, "Patch": world.idle, "[Delta]": [world.delta],
    }  # fmt: skip


class World:
    """A model, and one of each other object, that calls are made on."""

    def __init__(self, folder):
        self.folder = folder
        self.model = unsay.open(folder, threads=1)
        self.output = self.model.generate(TEXT, max_new_tokens=3)
        self.idle = self.patch()
        self.idle.step()
        self.delta = self.idle.delta()
        self.report = self.idle.report([TEXT], max_new_tokens=2)
        self.classifier = unsay.Classifier.train(self.model, [("a bad tool", [(2, 5)])], passes=1)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def patch(self):
        patch = self.model.patch(max_avoid_p=0.0, max_guard_kl=1e3, max_guard_flips=1)
        patch.add(TEXT, [5, 6, 1], marks=[-1, 1, 1])
        return patch


def keyword(call, **others):
    """Calls with the value as one keyword argument after the other."""
    return lambda name: lambda world, value: call(world, **{**others, name: value})


def on_model(method, **others):
    return keyword(lambda w, **given: getattr(w.model, method)(**given), **others)


def on_clone(method, **others):
    def call(world, **given):
        with world.model.clone() as clone:
            getattr(clone, method)(**given)

    return keyword(call, **others)


def on_patch(method, **others):
    def call(world, **given):
        with world.patch() as patch:
            getattr(patch, method)(**given)

    return keyword(call, **others)


def of_model(world, **options):
    with world.model.patch(**options):
        pass


def streamed(world, **given):
    list(world.model.stream(**given))


def opened(world, **given):
    unsay.open(**{"path": world.folder, "threads": 1, **given}).close()


def verified(world, **given):
    few = {"inputs": [[5, 6, 1]], "max_new_tokens": 1, "threads": 1}
    unsay.verify(**{"path": world.folder, **few, **given})


def opened_buffers(world, **given):
    unsay.open_buffers(**{"files": world.files, "threads": 1, **given}).close()


def rebased(world, **given):
    world.model.rebase(**given).close()


LOSSES = {
    "loss": "ff", "logits": numpy.zeros((1, 3), "f4"), "reference": numpy.zeros((1, 3), "f4"),
    "targets": [0], "marks": [-1],
}  # fmt: skip
SHORT = {"max_new_tokens": 2}
#: How each public function is called; `Class.method` -> (name of a parameter -> call).
CALLS = {
    "open": keyword(opened),
    "open_buffers": keyword(opened_buffers),
    "verify": keyword(verified),
    "marks": keyword(lambda w, **given: unsay.marks(**{"model": w.model, "output": TEXT, **given})),
    "token_losses": keyword(lambda w, **given: unsay.token_losses(**given), **LOSSES),
    "Model.encode": on_model("encode"),
    "Model.decode": on_model("decode"),
    "Model.piece": on_model("piece"),
    "Model.tensor": on_model("tensor"),
    "Model.generate": on_model("generate", inputs=TEXT, **SHORT),
    "Model.stream": keyword(streamed, input=TEXT, **SHORT),
    "Model.score": on_model("score", inputs=TEXT, outputs="b"),
    "Model.embed": on_model("embed", inputs=TEXT),
    "Model.logits": on_model("logits", input=TEXT, output="b"),
    "Model.encoder_states": on_model("encoder_states", input=TEXT),
    "Model.save": on_model("save", folder="saved"),
    "Model.patch": keyword(of_model),
    "Model.finetune": on_clone("finetune", pairs=PAIRS, steps=1),
    "Model.apply": on_clone("apply"),
    "Model.revert": on_clone("revert"),
    "Model.squash": on_model("squash"),
    "Model.rebase": keyword(rebased),
    "Patch.add": on_patch("add", input=TEXT, output="its output"),
    "Patch.hold_out": on_patch("hold_out", input=TEXT, output="its output"),
    "Patch.add_triple": on_patch("add_triple", input=TEXT, output="a b", corrected="a c"),
    "Patch.guard": on_patch("guard"),
    "Patch.run": on_patch("run", max_steps=1),
    "Patch.sweep": on_patch("sweep", max_steps=1),
    "Patch.on_policy": on_patch("on_policy", inputs=TEXT, mark=lambda *_: None, max_new_tokens=2),
    "Patch.report": on_patch("report", **SHORT),
    "Patch.save_state": on_patch("save_state"),
    "Patch.load_state": on_patch("load_state"),
    "PatchReport.save": keyword(lambda w, **given: w.report.save(**given)),
    "Delta.open": keyword(lambda w, **given: unsay.Delta.open(**given).close()),
    "Delta.save": keyword(lambda w, **given: w.delta.save(**given)),
    "Classifier.train": keyword(
        lambda w, **given: unsay.Classifier.train(
            **{"model": w.model, "texts": [("a bad tool", [(2, 5)])], "passes": 1, **given}
        )
    ),
    "Classifier.open": keyword(
        lambda w, **given: unsay.Classifier.open(**{"model": w.model, "path": "saved.classifier",
                                                    **given})
    ),
    "Classifier.save": keyword(lambda w, **given: w.classifier.save(**given)),
    "Classifier.probabilities": keyword(lambda w, **given: w.classifier.probabilities(**given)),
    "Classifier.spans": keyword(
        lambda w, **given: w.classifier.spans(**{"text": "a bad tool", **given})
    ),
    "Model": keyword(lambda w, **given: unsay.Model(**{"made": None, "name": "m", **given})),
    "Delta": keyword(lambda w, **given: unsay.Delta(**given)),
    "Classifier": keyword(lambda w, **given: unsay.Classifier(**given)),
    "Patch": keyword(
        lambda w, **given: unsay.Patch(**{"model": w.model, "session": None, **given})
    ),
}  # fmt: skip
