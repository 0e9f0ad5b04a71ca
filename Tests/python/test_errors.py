"""Mistakes: each raises its own class, which is also the builtin one would catch."""

import shutil

import pytest
import unsay
from conftest import MODELS


def test_a_missing_folder_is_a_file_not_found_and_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="not-there") as caught:
        unsay.open(tmp_path / "not-there")
    assert isinstance(caught.value, unsay.NotFoundError)
    assert isinstance(caught.value, unsay.Error) and caught.value.status == -20


def test_a_torn_file_is_a_format_error_that_names_it(tmp_path):
    folder = tmp_path / "torn"
    shutil.copytree(MODELS / "tiny-v10", folder)
    path = folder / "encoder_model.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(unsay.FormatError, match=r"encoder_model\.onnx"):
        unsay.open(folder)


def test_a_folder_without_a_vocabulary_works_on_ids_alone(tmp_path):
    folder = tmp_path / "ids-only"
    ignored = shutil.ignore_patterns("spiece.model", "tokenizer*", "special_tokens*")
    shutil.copytree(MODELS / "tiny-v10", folder, ignore=ignored)
    with unsay.open(folder) as model:
        output = model.generate([5, 6, 7, 1], max_new_tokens=4)
        assert 1 <= len(output.ids) <= 4
        with pytest.raises(unsay.StateError):
            model.generate("a text", max_new_tokens=4)
        with pytest.raises(unsay.StateError):
            model.encode("a text")


def test_a_name_that_is_no_choice_lists_the_choices(model):
    with pytest.raises(unsay.ArgumentError, match="expected one of f32, bf16, int8"):
        unsay.open(MODELS / "tiny-v10", compute="f64")
    with pytest.raises(unsay.ArgumentError, match="likelihood, ff"):
        model.patch(loss="kl")


@pytest.mark.parametrize("value", [0, -1, 2**40])
def test_an_impossible_number_of_tokens_is_a_value_error(model, value):
    with pytest.raises(ValueError):
        model.generate("files", max_new_tokens=value)


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf")])
def test_an_impossible_learning_rate_is_a_value_error(model, value):
    with pytest.raises(ValueError):
        model.patch(learning_rate=value)


def test_ids_outside_the_vocabulary_are_refused(model):
    for ids in ([model.info.vocab_size], [-1], [2**40], []):
        with pytest.raises((ValueError, unsay.Error)):
            model.score(ids, [1])


def test_texts_must_be_unicode(model):
    with pytest.raises(unsay.TextError, match="lone surrogate at character 3"):
        model.generate("abc\ud800")
    with pytest.raises(unsay.ArgumentError, match="bytes"):
        model.generate(b"abc")


def test_unequal_lists_are_refused(model):
    with pytest.raises(unsay.ArgumentError, match="2 inputs, but 1 outputs"):
        model.score(["a", "b"], ["c"])


def test_marks_must_fit_their_output(model):
    with model.patch() as patch:
        with pytest.raises(unsay.ArgumentError):
            patch.add("files", [5, 6, 1], marks=[-1, 1])
        with pytest.raises(unsay.ArgumentError, match="marks are -1, 0 or 1"):
            patch.add("files", [5, 6, 1], marks=[-1, 1, 2])


def test_an_unknown_tensor_is_named(model):
    with pytest.raises(unsay.ArgumentError, match=r"no\.such\.weight"):
        model.tensor("no.such.weight")


def test_two_calls_on_one_patch_at_once_are_refused(model, flagged):
    text, output, marks = flagged
    refused = []
    with model.patch(max_avoid_p=0.0) as patch:
        patch.add(text, output, marks=marks)

        def meddle(_):
            with pytest.raises(unsay.BusyError):
                patch.step()
            refused.append(True)

        patch.run(max_steps=2, progress=meddle)
    assert refused == [True, True]


def test_what_is_closed_says_so_as_a_closed_file_does():
    model = unsay.open(MODELS / "tiny-v10")
    model.close()
    for kind in (unsay.ClosedError, unsay.StateError, ValueError):
        with pytest.raises(kind, match="the model is closed"):
            model.generate("files")


def test_an_object_of_another_class_is_refused_before_the_library_sees_it(model):
    with model.patch() as patch, pytest.raises(TypeError, match="reference: expected a Model"):
        model.patch(reference=patch)
    for made in (unsay.Delta, unsay.Classifier, lambda value: unsay.Model(value, "name")):
        with pytest.raises(TypeError, match=r"expected one made by .*, found int 8"):
            made(8)
