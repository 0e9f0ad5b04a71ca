"""Rows of the head of a model whose head is its embedding table: a patch of them gives the head a
weight of its own, in memory, in the delta and in the files, and leaves the embedding alone."""

import json
import shutil

import numpy
import pytest
import unsay
from conftest import DEBSUM, FIXTURES, MODELS

FREE = {"max_guard_kl": 1000.0, "max_guard_flips": 1.0, "learning_rate": 0.1}
IDS = [5, 9, 33, 12, 1]
WRITTEN = [7, 8, 21, 1]


#: Every committed layout with a decoder whose head is its embedding table.
TIED = [
    *sorted(FIXTURES.glob("t5tied*")),
    # The other two of 4 bits have an encoder alone.
    *sorted(f for f in FIXTURES.glob("t5v10__*") if not f.name.startswith("t5v10__nb4_")),
    MODELS / "tiny-v10",
    DEBSUM,
]
#: Layouts that hold no graph, or one that runs on GPUs only.
NOT_RUN = ("__raw", "__ort_O", "__merged_norms")


@pytest.fixture
def tiny():
    with unsay.open(MODELS / "tiny-v10", threads=2) as model:
        yield model


def change(model, steps=3, **options):
    """Commits a patch; its delta."""
    with model.patch(**{**FREE, **options}) as patch:
        patch.add(IDS, WRITTEN, marks=[-1, 1, 1, 1])
        for _ in range(steps):
            patch.step()
        patch.commit()
        return patch.delta()


def weights(model):
    return {each.name: numpy.array(model.tensor(each.name)) for each in model.tensors()}


@pytest.mark.parametrize("scope", ["auto", "tokens", "head"])
def test_a_patch_of_the_head_leaves_the_embedding_alone(tiny, scope):
    before, states = weights(tiny), numpy.array(tiny.encoder_states([7, 8, 1]))
    assert tiny.info.ties_head and "lm_head.weight" not in before
    delta = change(tiny, scope=scope)
    after = weights(tiny)
    head = after.pop("lm_head.weight")
    assert all((after[name] == before[name]).all() for name in before)
    assert (numpy.array(tiny.encoder_states([7, 8, 1])) == states).all()
    changed = numpy.nonzero((head != before["shared.weight"]).any(axis=1))[0]
    assert 7 in changed and (scope == "head" or list(changed) == [7])
    info = tiny.info
    assert not info.ties_head and info.tensor_count == len(before) + 1
    assert info.parameter_count == sum(each.size for each in before.values()) + head.size
    assert delta.info.tensor_count == 1
    assert delta.info.changed_count == (head != before["shared.weight"]).sum()


def test_the_table_moves_on_purpose(tiny):
    before = weights(tiny)
    change(tiny, scope=["shared"])
    assert tiny.info.ties_head
    assert (numpy.array(tiny.tensor("shared.weight")) != before["shared.weight"]).any()


def test_a_rate_of_nothing_leaves_the_head_tied(tiny):
    before = tiny.fingerprint()
    with pytest.raises(unsay.UnchangedError):
        change(tiny, steps=0)
    assert tiny.info.ties_head and tiny.fingerprint() == before and tiny.applied == []


def test_its_delta_ties_the_head_again(tiny, tmp_path):
    before, size = tiny.fingerprint(), tiny.info.parameter_count
    change(tiny).save(tmp_path / "head.unsay")
    after = tiny.fingerprint()
    # One row of 64 numbers, and hardly anything for the others.
    assert (tmp_path / "head.unsay").stat().st_size < 4000
    delta = unsay.Delta.open(tmp_path / "head.unsay")
    tiny.revert(delta)
    assert (tiny.fingerprint(), tiny.info.ties_head) == (before, True)
    assert tiny.info.parameter_count == size
    with unsay.open(MODELS / "tiny-v10") as other:
        other.apply(delta)
        assert (other.fingerprint(), other.info.ties_head) == (after, False)
        with pytest.raises(unsay.MismatchError):
            other.apply(delta)
        other.revert()
        assert (other.fingerprint(), other.applied) == (before, [])


def test_a_delta_of_before_moves_the_table_as_it_did(debsum):
    delta = unsay.Delta.open(FIXTURES / "deltas/table-rows.unsay")
    with debsum.clone() as model:
        before = weights(model)
        model.apply(delta)
        assert model.fingerprint() == delta.info.after and model.info.ties_head
        table = numpy.array(model.tensor("shared.weight"))
        assert (table != before["shared.weight"]).sum() == delta.info.changed_count == 512
        model.revert()
        assert model.fingerprint() == delta.info.before


def test_changes_of_all_kinds_stand_on_one_another(tiny):
    kinds = [
        {"scope": "all", "learning_rate": 1e-3}, {}, {"scope": "all", "learning_rate": 1e-3},
        {"lora_rank": 2, "learning_rate": 1e-3}, {"scope": "head"},
    ]  # fmt: skip
    prints, tied, deltas = [tiny.fingerprint()], [True], []
    for options in kinds:
        deltas.append(change(tiny, **options))
        prints.append(tiny.fingerprint())
        tied.append(tiny.info.ties_head)
    assert tied == [True, True, False, False, False, False]
    whole = tiny.squash(deltas)
    for expected, was_tied in zip(prints[-2::-1], tied[-2::-1]):
        tiny.revert()
        assert (tiny.fingerprint(), tiny.info.ties_head) == (expected, was_tied)
    tiny.apply(whole)
    assert (tiny.fingerprint(), tiny.info.ties_head) == (prints[-1], False)
    tiny.revert(whole)
    assert (tiny.fingerprint(), tiny.info.ties_head) == (prints[0], True)
    again = tiny.squash(deltas)
    assert again.info == whole.info


def test_sessions_go_on_from_a_head_of_its_own(tiny, tmp_path):
    root = tiny.clone()
    first = change(tiny, keep_examples=True)
    with tiny.patch(root=root, reference=root, max_root_kl=100.0, **FREE) as patch:
        patch.add(IDS, [9, 8, 1], marks=[-1, 1, 1])
        patch.guard([(IDS, WRITTEN)])
        patch.step()
        assert patch.evaluate().root_kl > 0
        patch.save_state(tmp_path / "state")
        patch.step()
        expected = patch.delta().info.after
        with patch.model() as trained:
            assert trained.fingerprint() == expected and not trained.info.ties_head
    with tiny.patch(root=root, reference=root, max_root_kl=100.0, **FREE) as patch:
        patch.add(IDS, [9, 8, 1], marks=[-1, 1, 1])
        patch.guard([(IDS, WRITTEN)])
        patch.load_state(tmp_path / "state")
        patch.step()
        assert patch.delta().info.after == expected
    with root.rebase(first) as patch:
        for _ in range(3):
            patch.step()
        patch.commit()
    assert root.fingerprint() == tiny.fingerprint()
    with tiny.clone() as twin, root.patch(scope="all", weight_decay=0.1, **FREE) as patch:
        assert twin.fingerprint() == tiny.fingerprint()
        patch.add(IDS, WRITTEN, marks=[-1, 1, 1, 1])
        patch.step()


def test_a_session_that_goes_back_ties_the_head_again(tiny):
    before = tiny.fingerprint()
    with tiny.patch(**FREE) as patch:
        patch.add(IDS, WRITTEN, marks=[-1, 1, 1, 1])
        patch.step()
        patch.commit()
        assert not tiny.info.ties_head
        patch.rollback()
        patch.commit()
    assert (tiny.fingerprint(), tiny.info.ties_head, tiny.applied) == (before, True, [])


@pytest.mark.parametrize("compute", ["int8", "bf16"])
def test_rounded_weights_have_the_changed_head(compute):
    with unsay.open(MODELS / "tiny-v10", compute=compute) as model:
        before = numpy.array(model.logits(IDS, WRITTEN))
        states, print_before = numpy.array(model.encoder_states(IDS)), model.fingerprint()
        delta = change(model)
        after = numpy.array(model.logits(IDS, WRITTEN))
        changed = numpy.nonzero((after != before).any(axis=0))[0]
        assert list(changed) == [7]
        assert (numpy.array(model.encoder_states(IDS)) == states).all()
        model.revert(delta)
        assert model.fingerprint() == print_before
        assert (numpy.array(model.logits(IDS, WRITTEN)) == before).all()


def relative(ours, theirs):
    return float(numpy.abs(ours - theirs).max() / (ours.max() - ours.min()))


def is_rounded(folder):
    return "16" in folder.name or folder == DEBSUM


def agrees_with_onnxruntime(model, folder, limit):
    runtime = pytest.importorskip("runtime", reason="onnxruntime is not installed")
    known = runtime.Runtime(folder, model.info)
    if known.is_beam_search:
        ours = model.generate(IDS, max_new_tokens=4).ids
        assert known.sequences(IDS, 5)[1:][: len(ours)] == list(ours)
        return
    found = numpy.array(model.logits(IDS, WRITTEN))
    given = [model.info.decoder_start_token_id, *WRITTEN[:-1]]
    for way, theirs in known.logits(IDS, given).items():
        error = relative(found, theirs.astype(numpy.float64))
        assert error < limit, f"{way}: {error}"


@pytest.mark.parametrize("folder", TIED, ids=lambda folder: folder.name)
def test_a_saved_folder_has_the_head_apart(folder, tmp_path):
    stated = json.loads((folder / "config.json").read_text())
    with unsay.open(folder) as model:
        assert model.info.ties_head
        before = model.fingerprint()
        states = numpy.array(model.encoder_states(IDS))
        delta = change(model)
        model.save(tmp_path / "saved")
        expected = numpy.array(model.logits(IDS, WRITTEN))
        after = model.fingerprint()
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert config == {**stated, "tie_word_embeddings": False, "scale_decoder_outputs": True}
    with unsay.open(tmp_path / "saved") as saved:
        assert not saved.info.ties_head
        found = numpy.array(saved.logits(IDS, WRITTEN))
        if not is_rounded(folder):
            assert saved.fingerprint() == after
            assert (found == expected).all()
        assert relative(expected, found) < 1e-3
        assert (numpy.array(saved.encoder_states(IDS)) == states).all() or "nb4" in folder.name
        if not folder.name.endswith(NOT_RUN):
            agrees_with_onnxruntime(saved, tmp_path / "saved", 0.02 if is_rounded(folder) else 1e-4)
        if not is_rounded(folder):
            saved.revert(delta)
            assert (saved.fingerprint(), saved.info.ties_head) == (before, True)
            saved.save(tmp_path / "back")
            with unsay.open(tmp_path / "back") as back:
                assert (back.fingerprint(), back.info.ties_head) == (before, True)


def eight_bits(table):
    """A table's values rounded to 255 steps of one size: the integers, and the step."""
    step = numpy.float32(numpy.abs(table).max() / 127)
    return numpy.round(table / step).astype(numpy.int8), step


def one_initializer(onnx, path, kind, values, step):
    """Lets one tensor serve as table and head of a decoder, stored in the way of `kind`."""
    model = onnx.load(path)
    graph = model.graph
    (name,) = {
        node.input[0] for node in graph.node
        if node.op_type == "Gather" and len(shape_of(graph, node.input[0])) == 2
        and shape_of(graph, node.input[0])[0] == values.shape[0]
    }  # fmt: skip
    old = next(each for each in graph.initializer if each.name == name)
    graph.initializer.remove(old)
    if kind == "8 bits":
        graph.initializer.append(onnx.numpy_helper.from_array(values, "rounded"))
        graph.initializer.append(onnx.numpy_helper.from_array(numpy.array(step), "step"))
        graph.initializer.append(onnx.numpy_helper.from_array(numpy.array(0, numpy.int8), "zero"))
        graph.node.insert(
            0, onnx.helper.make_node("DequantizeLinear", ["rounded", "step", "zero"], [name])
        )
        onnx.save(model, path)
        return
    graph.initializer.append(onnx.numpy_helper.from_array(values * step, name))
    if kind == "external":
        path.unlink()
        onnx.save(
            model, path, save_as_external_data=True, location=f"{path.name}_data",
            size_threshold=1024,
        )  # fmt: skip
    else:
        onnx.save(model, path)


def shape_of(graph, name):
    return next((list(each.dims) for each in graph.initializer if each.name == name), [])


@pytest.mark.parametrize("kind", ["plain", "external", "8 bits"])
def test_one_tensor_for_both_is_split(kind, tmp_path):
    onnx = pytest.importorskip("onnx")
    source = tmp_path / "source"
    shutil.copytree(FIXTURES / "t5v10__anon_nofold", source)
    with unsay.open(source) as model:
        table = numpy.array(model.tensor("shared.weight"))
    values, step = eight_bits(table)
    for name in ("encoder_model", "decoder_model"):
        one_initializer(onnx, source / f"{name}.onnx", kind, values, step)
    with unsay.open(source) as model:
        assert model.info.ties_head
        before = model.fingerprint()
        states = numpy.array(model.encoder_states(IDS))
        delta = change(model)
        model.save(tmp_path / "saved")
        after = model.fingerprint()
    with unsay.open(tmp_path / "saved") as saved:
        assert (saved.fingerprint(), saved.info.ties_head) == (after, False)
        assert (numpy.array(saved.encoder_states(IDS)) == states).all()
        agrees_with_onnxruntime(saved, tmp_path / "saved", 1e-4)
        saved.revert(delta)
        assert saved.fingerprint() == before


@pytest.mark.parametrize("indent", [2, None], ids=["in lines", "in one line"])
def test_the_rest_of_config_json_stays_to_the_byte(indent, tmp_path):
    folder = tmp_path / "source"
    shutil.copytree(MODELS / "tiny-v10", folder)
    config = json.loads((folder / "config.json").read_text())
    given = json.dumps({**config, "tie_word_embeddings": True, "z": 1.50}, indent=indent) + "\n\n"
    (folder / "config.json").write_text(given)
    with unsay.open(folder) as model:
        change(model)
        model.save(tmp_path / "saved")
    space = "" if indent is None else "\n  "
    said = given.replace('"tie_word_embeddings": true', '"tie_word_embeddings": false')
    said = said.replace('"z": 1.5', f'"z": 1.5,{space}"scale_decoder_outputs": true')
    assert (tmp_path / "saved/config.json").read_text() == said
