"""Saved folders run elsewhere: onnxruntime gives the ids that we do."""

import shutil

import numpy
import pytest
import unsay
from conftest import DEBSUM, MODELS

onnxruntime = pytest.importorskip(
    "onnxruntime", reason="onnxruntime is not installed: nothing to compare with"
)

TEXTS = [
    "summarize: a small library for reading files",
    "summarize: files",
    "summarize: This package contains the development files for a rather simple tool.",
]


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Merged:
    """Greedy decoding on encoder_model.onnx and decoder_model_merged.onnx, one input a time."""

    def __init__(self, folder, info):
        self.encoder = session(folder / "encoder_model.onnx")
        self.decoder = session(folder / "decoder_model_merged.onnx")
        self.info = info

    def empty_cache(self):
        shape = (1, self.info.num_heads, 0, self.info.d_kv)
        types = {"tensor(float)": numpy.float32, "tensor(float16)": numpy.float16}
        return {
            given.name: numpy.zeros(shape, types[given.type])
            for given in self.decoder.get_inputs()
            if given.name.startswith("past_key_values")
        }

    def greedy(self, ids, max_new_tokens):
        """The ids written, and the smallest lead of a chosen logit over the next."""
        given = numpy.array([ids], numpy.int64)
        mask = numpy.ones_like(given)
        states = self.encoder.run(None, {"input_ids": given, "attention_mask": mask})[0]
        names = [output.name for output in self.decoder.get_outputs()]
        cache, last, written, leads = self.empty_cache(), self.info.decoder_start_token_id, [], []
        for step in range(max_new_tokens):
            feed = {
                "input_ids": numpy.array([[last]], numpy.int64),
                "encoder_hidden_states": states,
                "encoder_attention_mask": mask,
                "use_cache_branch": numpy.array([step > 0]),
                **cache,
            }
            values = dict(zip(names, self.decoder.run(None, feed)))
            for name, value in values.items():
                if name.startswith("present") and (step == 0 or ".decoder." in name):
                    cache[name.replace("present", "past_key_values")] = value
            logits = values["logits"][0, -1].astype(numpy.float32)
            second, first = numpy.partition(logits, -2)[-2:]
            last = int(logits.argmax())
            written.append(last)
            leads.append(float(first - second))
            if last == self.info.eos_token_id:
                break
        return written, leads


def ours_and_theirs(model, folder, texts, max_new_tokens):
    runtime = Merged(folder, model.info)
    for text in texts:
        ours = model.generate(text, max_new_tokens=max_new_tokens)
        theirs, leads = runtime.greedy(model.encode(text).ids, max_new_tokens)
        yield ours.ids, theirs, leads


def test_onnxruntime_runs_a_patched_folder_as_we_do(model, flagged, tmp_path):
    text, output, marks = flagged
    with model.patch(learning_rate=1e-3) as patch:
        patch.add(text, output, marks=marks)
        patch.run(max_steps=20)
        patch.commit()
    folder = tmp_path / "patched"
    model.save(folder)
    original = {path.name for path in (MODELS / "tiny-v10").iterdir()}
    assert {path.name for path in folder.iterdir()} == original
    with unsay.open(folder) as again:
        assert again.fingerprint() == model.fingerprint()
    for ours, theirs, leads in ours_and_theirs(model, folder, TEXTS, 12):
        assert ours == theirs, f"smallest lead {min(leads)}"


def test_saving_an_unpatched_model_keeps_every_weight(model, tmp_path):
    model.save(tmp_path / "same")
    with unsay.open(tmp_path / "same") as again:
        assert again.fingerprint() == model.fingerprint()


def agreement(ours, theirs, leads, tolerance):
    """True if the ids agree up to the first near-tie."""
    for position, (left, right) in enumerate(zip(ours, theirs)):
        if left != right:
            return leads[position] < tolerance
    return len(ours) == len(theirs)


def test_the_embedded_checkpoint_survives_a_patch_in_its_float16_files(debsum, held_out, tmp_path):
    with debsum.clone() as model:
        texts = held_out[:6]
        outputs = model.generate(texts, max_new_tokens=24)
        with model.patch(learning_rate=1e-4, max_guard_kl=10.0) as patch:
            for text, output in zip(texts, outputs):
                patch.add(text, output, marks=[-1] + [1] * (len(output.ids) - 1))
            patch.run(max_steps=6)
            patch.commit()
        folder = tmp_path / "patched"
        model.save(folder)
        with unsay.open(folder) as saved:
            found = list(ours_and_theirs(saved, folder, texts, 24))
    # 0.05: onnxruntime computes parts of such a graph in float16, we never do.
    assert all(agreement(*each, 0.05) for each in found), found


def test_the_source_is_not_rounded_unasked(debsum, tmp_path):
    """Mutations that this caught: to look at the folder's inode alone, which the first save
    replaces; to refuse what 16 bits hold."""
    folder = tmp_path / "model"
    shutil.copytree(DEBSUM, folder)
    with unsay.open(folder) as model:
        assert model.info.rounds_when_saved
        model.save(folder)  # Nothing changed, so nothing is rounded.
        with model.patch() as patch:
            patch.add("summarize: a tool", "simple tool", avoid=["simple"])
            patch.step()
            patch.commit()
        stored = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
        for name in (folder, f"{folder}/", folder / ".." / "model"):
            with pytest.raises(unsay.StateError, match=r"16 bits.*opened from: save to another"):
                model.save(name)
        assert stored == {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        model.save(tmp_path / "other")
        model.save(folder, allow_rounding=True)
    with unsay.open(folder) as rounded, unsay.open(tmp_path / "other") as other:
        assert rounded.fingerprint() == other.fingerprint() != debsum.fingerprint()
    with unsay.open(MODELS / "tiny-v10") as tiny:
        assert not tiny.info.rounds_when_saved
