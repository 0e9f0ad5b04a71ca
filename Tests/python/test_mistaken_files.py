"""What lies where a model's file should: what a clone or a download left, other formats, nothing.
The sentence says what it is and what to do."""

import json
import shutil
import struct
import zipfile

import pytest
import unsay
from conftest import FIXTURES, MODELS

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 1042\n"

LEFT = {
    "Git LFS pointer": (POINTER, "git lfs pull"),
    "HTML page": (b"<!DOCTYPE html><html><title>404</title></html>", "download it again"),
    "XML document": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "download"),
    "Repository not found": (b'{"error":"Repository not found"}', "download it again"),
    "Entry not found": (b"Entry not found", "download it again"),
    "is empty": (b"", "download it again"),
}


def refused(folder, *words):
    with pytest.raises(unsay.FormatError) as found:
        unsay.open(folder)
    for word in words:
        assert word in str(found.value), found.value
    assert "\n" not in str(found.value)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(MODELS / "tiny-v10", tmp_path / "model")


@pytest.mark.parametrize("what", LEFT)
@pytest.mark.parametrize(
    "name",
    ["encoder_model.onnx", "config.json", "generation_config.json", "spiece.model"],
)
def test_what_a_download_left_is_called_by_its_name(folder, name, what):
    content, advice = LEFT[what]
    (folder / name).write_bytes(content)
    refused(folder, name, what, advice)


@pytest.mark.parametrize("what", LEFT)
def test_so_is_a_tokenizer_json_or_a_vocabulary_of_the_callers(folder, tmp_path, what):
    content, advice = LEFT[what]
    (folder / "spiece.model").rename(tmp_path / "spiece.model")
    (folder / "tokenizer.json").write_bytes(content)
    refused(folder, "tokenizer.json", what, advice)
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(unsay.FormatError, match=what):
        unsay.open(MODELS / "tiny-v10", tokenizer=tmp_path / "other")


@pytest.mark.parametrize("what", LEFT)
def test_so_is_external_data(tmp_path, what):
    folder = shutil.copytree(FIXTURES / "t5v11__opt_ext", tmp_path / "model")
    content, advice = LEFT[what]
    (folder / "encoder_model.onnx_data").write_bytes(content)
    refused(folder, "encoder_model.onnx", "encoder_model.onnx_data", what, advice)


@pytest.mark.parametrize("what", LEFT)
def test_so_is_a_delta_a_classifier_or_a_saved_session(model, flagged, tmp_path, what):
    content, advice = LEFT[what]
    path = tmp_path / "file"
    path.write_bytes(content)
    text, output, marks = flagged
    with model.patch() as patch:
        patch.add(text, output, marks=marks)
        for opening in (
            lambda: unsay.Delta.open(path),
            lambda: unsay.Classifier.open(model, path),
            lambda: patch.load_state(path),
        ):
            with pytest.raises(unsay.FormatError, match=f"file .*{what}.*{advice}"):
                opening()


@pytest.mark.parametrize("size", [20, 1000, -5])
def test_a_model_that_is_cut_off_is_said_to_be(folder, size):
    path = folder / "encoder_model.onnx"
    path.write_bytes(path.read_bytes()[:size])
    refused(folder, path.name, "cut off", "download it again")


def test_external_data_that_is_cut_off_is_said_to_be(tmp_path):
    folder = shutil.copytree(FIXTURES / "t5v11__opt_ext", tmp_path / "model")
    path = folder / "encoder_model.onnx_data"
    path.write_bytes(path.read_bytes()[:-4])
    refused(folder, path.name, f"has {path.stat().st_size}", "cut off", "download it again")


def test_external_data_that_is_missing_is_named_with_its_model(tmp_path):
    folder = shutil.copytree(FIXTURES / "t5v11__opt_ext", tmp_path / "model")
    (folder / "encoder_model.onnx_data").unlink()
    with pytest.raises(
        unsay.NotFoundError, match=r"encoder_model\.onnx: .*encoder_model.onnx_data"
    ):
        unsay.open(folder)


def safetensors(path):
    header = json.dumps({"shared.weight": {"dtype": "F32"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))


def torch_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}q\x00.")


OTHERS = {
    "safetensors": safetensors,
    "PyTorch checkpoint": torch_zip,
    "pickle": lambda path: path.write_bytes(b"\x80\x02}q\x00."),
    "GGUF": lambda path: path.write_bytes(b"GGUF\x03" + bytes(60)),
    "HDF5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_format_under_the_name_of_onnx_is_called_by_its_own(folder, what):
    OTHERS[what](folder / "encoder_model.onnx")
    refused(folder, "encoder_model.onnx", what, "exported to ONNX")


def test_files_in_memory_are_looked_at_alike(folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(unsay.FormatError, match="Git LFS"):
        unsay.open_buffers({**files, "encoder_model.onnx": POINTER})


EXPORT = "optimum-cli export onnx --model {} --task text2text-generation-with-past "


def missing(path, *words):
    with pytest.raises(unsay.Error) as found:
        unsay.open(path)
    sentence = str(found.value)
    for word in words:
        assert word in sentence, sentence
    assert "\n" not in sentence
    return found.value


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", ["safetensors", EXPORT]),
        ("model-00001-of-00002.safetensors", ["safetensors", EXPORT]),
        ("pytorch_model.bin", ["PyTorch", EXPORT]),
        ("tf_model.h5", ["TensorFlow", "from_tf=True", "optimum-cli export onnx"]),
        ("flax_model.msgpack", ["Flax", "from_flax=True", "optimum-cli export onnx"]),
        ("t5-q4_0.gguf", ["GGUF", "was made from", "optimum-cli export onnx"]),
        ("README.md", ["no model", EXPORT]),
    ],
)
def test_a_folder_without_onnx_files_says_how_to_export_them(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    words = [word.format(tmp_path) for word in words]
    assert isinstance(missing(tmp_path, *words), unsay.NotFoundError)


@pytest.mark.parametrize("name", ["t5-small", "google/flan-t5-small"])
def test_a_name_of_the_hub_that_is_no_folder_says_how_to_export_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = missing(name, f"folder {name} cannot be opened", EXPORT.format(name))
    assert isinstance(error, unsay.NotFoundError)


@pytest.mark.parametrize("name", ["./t5", "/none/t5", "a/b/c", "a b"])
def test_a_path_that_is_no_folder_says_no_more_than_that(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "optimum" not in str(missing(name, f"folder {name} cannot be opened"))


def test_a_file_instead_of_its_folder_is_said_to_be_one(folder):
    missing(folder / "encoder_model.onnx", "is a file", f"such as {folder}")


def test_a_folder_above_the_model_says_where_that_is(folder):
    (folder.parent / "outer/snapshots").mkdir(parents=True)
    inner = folder.parent / "outer/snapshots/0123"
    folder.rename(inner)
    missing(folder.parent / "outer", f"lie in {inner}")


def test_an_onnx_file_that_is_a_folder_is_said_to_be_one(tmp_path):
    (tmp_path / "model.onnx").mkdir()
    missing(tmp_path, "model.onnx is a folder")
