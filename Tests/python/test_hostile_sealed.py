"""Deltas, saved sessions and classifiers made to do harm, all with a right checksum: each is
refused by file and field, and none ends the process."""

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy
import onnx
import pytest
import unsay
from conftest import ENVIRONMENT, MODELS
from hostile import FORMAT, UNSUPPORTED
from onnx import numpy_helper

NAN = struct.pack("<f", float("nan"))
OPTIONS = {"scope": "all", "learning_rate": 1e-3, "seed": 3, "max_avoid_p": 0.0}
TEXT = "summarize: a small library for reading files"

#: Opens the files named on its input, one after the other; answers with a line for each.
OPEN = """
import json, sys
from test_hostile_sealed import MODELS, TEXT, begun
import unsay
with unsay.open(MODELS / "tiny-v10", threads=1) as model, begun(model) as patch:
    for path in sys.stdin.read().split():
        patch.rollback()
        before, answer = patch.evaluate(), [0, ""]
        try:
            if path.endswith(".state"):
                patch.load_state(path)
                patch.run(max_steps=1)
                patch.report([TEXT], max_new_tokens=2)
            elif path.endswith(".delta"):
                unsay.Delta.open(path)
            else:
                unsay.Classifier.open(model, path)
        except unsay.Error as error:
            answer = [error.status, str(error)]
            assert patch.evaluate() == before, "what is refused changes nothing"
        print(json.dumps(answer), flush=True)
"""


def begun(model):
    """A session of three examples, before its first step."""
    output = model.generate(TEXT, max_new_tokens=4)
    patch = model.patch(**OPTIONS)
    patch.add(TEXT, output, marks=[-1] + [1] * (len(output.ids) - 1))
    patch.add("one", output)
    patch.add("two", output)
    return patch


def sealed(content):
    return content + hashlib.sha256(content).digest()


def delta(
    *, version=2, tensors=1, norm=1.0, metadata=b"{}", metadata_size=None, name=b"shared.weight",
    name_size=None, shape=(2, 3), changed=1, packed=b"abcd", packed_size=None, rank=0, factors=b"",
    total=None, rest=b"",
):  # fmt: skip
    def size(given, of):
        return len(of) if given is None else given

    content = b"UNSAYDLT" + struct.pack("<II", version, tensors) + bytes(64)
    content += struct.pack("<QdQ", changed if total is None else total, norm,
                           size(metadata_size, metadata)) + metadata  # fmt: skip
    content += struct.pack("<HH", size(name_size, name), len(shape)) + name
    content += b"".join(struct.pack("<Q", dimension) for dimension in shape)
    content += struct.pack("<QQ", changed, size(packed_size, packed))
    if version > 1:
        content += struct.pack("<I", rank) + factors
    return sealed(content + packed + rest)


#: What a delta says, and what its refusal names.
DELTAS = {
    "rank": ({"shape": (1, 1 << 48), "rank": 1 << 14}, "shared.weight: factor a"),
    "rank-2": ({"shape": (1, 1 << 46), "rank": 1 << 16}, "shared.weight: factor a"),
    "rank-b": ({"shape": (1 << 48, 1), "rank": 1 << 14}, "shared.weight: factor a"),
    "rank-too-high": ({"rank": (1 << 16) + 1}, "rank of the factors is 65537"),
    "rank-of-a-vector": ({"shape": (6,), "rank": 1}, "rank of the factors is 1"),
    "factors-missing": ({"rank": 2}, "factor a takes 24 bytes; 4 are left"),
    "factors-nan": ({"rank": 1, "factors": NAN * 5}, "factor a is not finite"),
    "dimension-0": ({"shape": (0, 3)}, "dimension is 0"),
    "dimension-large": ({"shape": (1 << 63, 1)}, "dimension is 9223372036854775808"),
    "dimensions-large": ({"shape": (1 << 40, 1 << 40)}, "dimension is 1099511627776"),
    "dimensions-none": ({"shape": ()}, "tensor 0: rank is 0"),
    "dimensions-many": ({"shape": (1,) * 9}, "tensor 0: rank is 9"),
    "changed-none": ({"changed": 0}, "number of changed values is 0"),
    "changed-many": ({"changed": 7}, "number of changed values is 7; it must be in 1...6"),
    "changed-total": ({"total": 2}, "number of changed values is 2"),
    "norm": ({"norm": -1.0}, "norm of the change is -1.0"),
    "tensors": ({"tensors": (1 << 32) - 1}, "number of tensors is 4294967295"),
    "tensors-2": ({"tensors": 2}, "tensor 1: "),
    "metadata": ({"metadata": b"{"}, "metadata"),
    "metadata-size": ({"metadata_size": 1 << 63}, "size of metadata is 9223372036854775808"),
    "metadata-long": ({"metadata_size": 1 << 40}, "metadata takes 1099511627776 bytes"),
    "name": ({"name_size": 65535}, "tensor 0: name takes 65535 bytes"),
    "packed": ({"packed_size": (1 << 64) - 1}, "packed difference is 18446744073709551615"),
    "packed-long": ({"packed_size": 5}, "packed difference takes 5 bytes; 4 are left"),
    "rest": ({"rest": b"x"}, "1 bytes follow its end"),
    "version-0": ({"version": 0}, "version 0"),
    "version-4": ({"version": 4}, "version 4"),
}


def changed(**fields):
    return lambda json: json.update(fields)


def ordered(**fields):
    return lambda json: json["order"].update(fields)


def measured(step, **figures):
    return lambda json: json["history"].append({"step": step, "evaluation": figures})


def best(**fields):
    return lambda json: json["best"].update(fields)


#: What is changed in the JSON of a session after two steps, and what its refusal names.
STATES = {
    "steps": (changed(steps=-5), "steps is -5; it must be a whole number in 0..."),
    "steps-both": (changed(steps=-5, optimizer_steps=-5), "steps is -5"),
    "steps-half": (changed(steps=2.5), "steps is 2.5"),
    "steps-large": (changed(steps=2**62), "steps is 4.6"),
    "steps-text": (changed(steps="2"), 'steps is "2"'),
    "steps-none": (lambda json: json.pop("steps"), "steps is missing"),
    "optimizer": (changed(optimizer_steps=-1), "optimizer_steps is -1"),
    "optimizer-ahead": (changed(optimizer_steps=3), "optimizer_steps is 3"),
    "epoch": (ordered(epoch=str(2**64 - 1)), "order.epoch"),
    "epoch-text": (ordered(epoch="x"), "order.epoch"),
    "pending": (ordered(pending=[3]), "order.pending is [3]"),
    "pending-low": (ordered(pending=[-1]), "order.pending is [-1]"),
    "pending-twice": (ordered(pending=[1, 1]), "order.pending is [1,1]"),
    "order": (changed(order=None), "order.pending is missing"),
    "buffers": (changed(buffers=[1]), "buffers is [1]"),
    "buffers-low": (changed(buffers=[-1] * 4), "buffers is [-1,-1,-1,-1]"),
    "history": (changed(history={}), "history is {}"),
    "history-step": (measured(-1), "history"),
    "history-later": (measured(3), "history"),
    "best-step": (best(weights={"step": -1, "fraction": 1}), "best.weights"),
    "best-worse": (best(worse=-1), "best.worse is -1"),
    "best-score": (best(score=str(0x7FF8 << 48)), "best.score"),
    "best-number": (best(score=0.5), "best.score is 0.5"),
    "best-text": (changed(best="x"), "best.score"),
}

#: Figures that no evaluation gives, but that a page must be made of.
TAKEN = {
    "huge": measured(2, avoid_p_after=1e300, guard_kl=1e300, avoid_p_before=1e300),
    "negative": measured(2, avoid_p_after=-1e300, keep_kl=-1e300),
    "null": measured(2, avoid_p_after=None, keep_kl=None, held_out_avoid_p_before=1),
}


def classifier(
    *, width=32, tokens=9, marked=3, loss=0.5, bias=0.0, mean=b"", size=64, rest=b"", version=1
):
    content = b"UNSAYCLS" + struct.pack("<II", version, width) + bytes(32)
    content += struct.pack("<QQdf", tokens, marked, loss, bias)
    return sealed(content + mean + bytes(4 * size - len(mean)) + rest)


CLASSIFIERS = {
    "width": ({"width": 0}, "d_model is 0"),
    "width-large": ({"width": (1 << 32) - 1}, "d_model is 4294967295"),
    "width-short": ({"size": 63}, "w takes 128 bytes; 124 are left"),
    "rest": ({"rest": bytes(4)}, "4 bytes follow its end"),
    "tokens": ({"tokens": 1 << 63}, "number of tokens is 9223372036854775808"),
    "marked": ({"marked": 10}, "number of marked tokens is 10; it must be in 0...9"),
    "loss": ({"loss": float("inf")}, "loss is inf"),
    "bias": ({"bias": float("nan")}, "b is not finite"),
    "mean": ({"mean": NAN}, "mean is not finite"),
    "version": ({"version": 2}, "version 2"),
}


def saved_state(folder):
    """The bytes of a session after two steps, without its checksum, and its JSON."""
    with unsay.open(MODELS / "tiny-v10", threads=1) as model, begun(model) as patch:
        patch.run(max_steps=2, evaluate_every=1, state_path=str(folder / "state"), save_every=2)
    content = (folder / "state").read_bytes()[:-32]
    (size,) = struct.unpack("<Q", content[12:20])
    return content, json.loads(content[20 : 20 + size]), content[20 + size :]


def answers(files):
    """Status and sentence for each of several files, opened in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN],
        input="\n".join(map(str, files)), cwd=Path(__file__).parent, env=ENVIRONMENT,
        text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    ended = f"{files[len(found)].name if len(found) < len(files) else ''} {done.stderr[-2000:]}"
    assert done.returncode == 0 and len(found) == len(files), f"{done.returncode}: {ended}"
    return found


def check(files):
    """Files by path, with what each refusal names."""
    for (path, named), (status, sentence) in zip(files.items(), answers(list(files))):
        wanted = UNSUPPORTED if "version" in path.stem else FORMAT
        assert status == wanted, f"{path.name}: {status} {sentence!r}"
        assert str(path) in sentence and named in sentence, f"{sentence!r} without {named!r}"


def test_forged_deltas_are_refused_by_file_and_field(tmp_path):
    files = {}
    for name, (fields, named) in DELTAS.items():
        files[tmp_path / f"{name}.delta"] = named
        (tmp_path / f"{name}.delta").write_bytes(delta(**fields))
    check(files)


def test_forged_classifiers_are_refused_by_file_and_field(tmp_path):
    files = {}
    for name, (fields, named) in CLASSIFIERS.items():
        files[tmp_path / f"{name}.classifier"] = named
        (tmp_path / f"{name}.classifier").write_bytes(classifier(**fields))
    check(files)


def test_forged_sessions_are_refused_by_file_and_field(tmp_path):
    content, fields, floats = saved_state(tmp_path)
    files = {}

    def write(name, text, floats, named):
        path = tmp_path / f"{name}.state"
        path.write_bytes(sealed(content[:12] + struct.pack("<Q", len(text)) + text + floats))
        files[path] = named

    for name, (change, named) in STATES.items():
        odd = json.loads(json.dumps(fields))
        change(odd)
        write(name, json.dumps(odd).encode(), floats, named)
    text = json.dumps(fields).encode()
    write("floats-nan", text, floats[:-4] + NAN, "is not finite")
    write("floats-short", text, floats[:-4], "takes")
    write("floats-long", text, floats + bytes(4), "4 bytes follow its end")
    write("text", text[:-1], floats, "JSON")
    path = tmp_path / "size.state"
    path.write_bytes(sealed(content[:12] + struct.pack("<Q", 1 << 63) + text + floats))
    files[path] = "size of JSON is 9223372036854775808"
    check(files)


def test_a_session_with_odd_figures_goes_on_and_reports(tmp_path):
    content, fields, floats = saved_state(tmp_path)
    files = []
    for name, change in TAKEN.items():
        odd = json.loads(json.dumps(fields))
        change(odd)
        text = json.dumps(odd).encode()
        files.append(tmp_path / f"{name}.state")
        files[-1].write_bytes(sealed(content[:12] + struct.pack("<Q", len(text)) + text + floats))
    assert answers(files) == [[0, ""]] * len(files)


def test_a_report_on_a_table_that_was_all_zero_is_a_page(tmp_path):
    for source in (MODELS / "tiny-v10").iterdir():
        target = tmp_path / source.name
        if source.suffix != ".onnx":
            target.write_bytes(source.read_bytes())
            continue
        model = onnx.load(source)
        for tensor in model.graph.initializer:
            if tuple(tensor.dims) == (32, 3):
                zeros = numpy.zeros((32, 3), numpy.float32)
                tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
        onnx.save(model, target)
    with unsay.open(tmp_path) as model, begun(model) as patch:
        patch.step()
        report = patch.report([TEXT], max_new_tokens=2)
    biases = [each for each in report.tensors if "relative_attention_bias" in each.name]
    assert biases and all(each.weight == 0 for each in biases), biases
    assert report.html.count("<td>was 0</td>") == len(biases)


@pytest.mark.parametrize("rate", [1e4, 1e16, 1e30, 3e38])
def test_a_report_after_any_learning_rate_is_a_page(model, rate):
    output = model.generate(TEXT, max_new_tokens=4)
    with model.patch(scope="all", learning_rate=rate) as patch:
        patch.add(TEXT, output, marks=[-1] * len(output.ids))
        try:
            patch.step()
            report = patch.report([TEXT], max_new_tokens=2)
            assert report.tensors, "every weight has changed"
        except unsay.DivergedError:
            # Weights or what they give are no numbers any more: the patch has gone back.
            report = patch.report([TEXT], max_new_tokens=2)
            assert not report.tensors
    assert report.html.endswith("</html>\n")


def test_a_session_that_is_not_finite_is_not_saved_over_one_that_is(model, tmp_path):
    path = tmp_path / "state"
    with begun(model) as patch:
        patch.save_state(path)
    before = path.read_bytes()
    output = model.generate(TEXT, max_new_tokens=4)
    rate = {"learning_rate": 3e38, "gradient_clip": 0, "alpha": 1e6}
    with model.patch(scope="all", optimizer="sgd", **rate) as patch:
        patch.add(TEXT, output, marks=[-1] * len(output.ids))
        with pytest.raises(unsay.DivergedError, match="finite"):
            patch.step()
            patch.save_state(path)
    assert path.read_bytes() == before
