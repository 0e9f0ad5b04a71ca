"""Folders as people have them: model caches, Kubernetes volumes, links of every kind, odd paths.

What a file of external data may be a link to is decided by the library; a folder, an .onnx file
and what lies beside the weights may be links to anywhere."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import unsay
from conftest import ENVIRONMENT, FIXTURES, MODELS

SOURCE = FIXTURES / "t5v11__opt_ext"
IDS = [5, 6, 7, 1]
DATA = "encoder_model.onnx_data"


def files():
    return [path for path in SOURCE.iterdir() if not path.name.startswith("expected")]


def written(folder, **options):
    with unsay.open(folder, **options) as model:
        return model.generate(IDS, max_new_tokens=4).ids


@pytest.fixture(scope="module")
def right():
    return written(SOURCE)


@pytest.fixture
def plain(tmp_path):
    """A folder of plain files."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in files():
        shutil.copy(path, folder)
    return folder


def cache(root, sub="", link=os.path.relpath):
    """A model cache as huggingface_hub makes it; its snapshot."""
    repository = root / "models--me--tiny t5 ü"
    snapshot = repository / "snapshots/0123456789abcdef0123456789abcdef01234567"
    (repository / "blobs").mkdir(parents=True)
    for path in files():
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        place = snapshot / (sub if ".onnx" in path.name else "") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(link(blob, place.parent))
    return snapshot


def volume(root):
    """A volume as Kubernetes mounts it."""
    folder = root / "volume"
    (folder / "..2026_01_01").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026_01_01")
    for path in files():
        shutil.copy(path, folder / "..2026_01_01")
        (folder / path.name).symlink_to(f"..data/{path.name}")
    return folder


def refused(folder, *words, **options):
    with pytest.raises(unsay.Error) as found:
        unsay.open(folder, **options)
    sentence = str(found.value)
    for word in words:
        assert word in sentence, sentence
    sentence.encode("utf-8")
    return found.value


@pytest.mark.parametrize("sub", ["", "onnx", "onnx/deeper"])
def test_a_snapshot_of_a_model_cache_opens_by_default(tmp_path, right, sub):
    snapshot = cache(tmp_path, sub)
    assert written(snapshot / "onnx/deeper" if "/" in sub else snapshot) == right


def test_other_links_open_with_allow_links_which_a_refusal_names(tmp_path, right):
    snapshot = cache(tmp_path / "absolute", link=lambda blob, _: blob)
    mounted = volume(tmp_path)
    for folder, target in ((snapshot, "blobs/"), (mounted, '"..data/decoder')):
        error = refused(folder, "allow_links", "_data", target)
        assert isinstance(error, unsay.FormatError)
        assert written(folder, allow_links=True) == right


def relink(place, target):
    place.unlink()
    place.symlink_to(target)


@pytest.mark.parametrize(
    "target",
    [
        "../../outside",  # beside the blobs
        "../../blobs/../outside",
        "../../blobs/link",  # a blob that is a link itself
        "../../../blobs/x",  # another folder's
        "../blobs/x",  # not those beside `snapshots`
        "../../blobs/.",
        "../../blobs",
        "../../blobs/sub/x",
        "../../other/x",
    ],
)
def test_a_link_that_leaves_the_blobs_of_its_cache_is_refused(tmp_path, target):
    snapshot = cache(tmp_path)
    repository = snapshot.parents[1]
    content = (snapshot / DATA).read_bytes()
    for name in ("outside", "blobs/sub/x", "other/x", "snapshots/blobs/x", "../blobs/x"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_bytes(content)
    (repository / "blobs/link").symlink_to("../outside")
    relink(snapshot / DATA, target)
    refused(snapshot, DATA, "allow_links")


def test_a_folder_beside_the_snapshots_is_none_of_them(tmp_path, right):
    snapshot = cache(tmp_path)
    other = shutil.copytree(snapshot, snapshot.parents[1] / "copies/1", symlinks=True)
    refused(other, "_data", "allow_links")
    assert written(other, allow_links=True) == right


@pytest.mark.parametrize("name", ["snapshots", "blobs"])
def test_a_cache_whose_folders_are_links_is_none(tmp_path, name):
    snapshot = cache(tmp_path)
    repository = snapshot.parents[1]
    (repository / name).rename(tmp_path / "elsewhere")
    (repository / name).symlink_to("../elsewhere")
    if name == "snapshots":
        # Its links climb from where it really is, and meet no blobs there.
        refused(repository / "snapshots" / snapshot.name, "where there is no file")
    else:
        refused(snapshot, "_data", "allow_links")


def test_links_of_folders_and_of_links_are_followed_where_the_caller_names_them(
    tmp_path, plain, right
):
    (tmp_path / "latest").symlink_to("plain")
    (tmp_path / "newest").symlink_to("latest")
    assert written(tmp_path / "newest") == right
    for name in ("encoder_model.onnx", "config.json"):
        (plain / name).rename(tmp_path / name)
        (tmp_path / f"to {name}").symlink_to(tmp_path / name)
        (plain / name).symlink_to(f"../to {name}")
    assert written(tmp_path / "latest") == right


@pytest.mark.parametrize("name", ["encoder_model.onnx", DATA, "config.json"])
def test_a_link_that_leads_nowhere_or_in_a_circle_is_said_to(plain, name):
    """Another variant, or defaults instead of the configuration, would be another model."""
    (plain / "encoder_model_quantized.onnx").write_bytes(
        (plain / "encoder_model.onnx").read_bytes()
    )
    relink(plain / name, "../../blobs/none")
    error = refused(plain, name, "../../blobs/none", allow_links=True)
    assert isinstance(error, unsay.NotFoundError)
    relink(plain / name, name)
    refused(plain, name, "circle", allow_links=True)


def test_a_pruned_cache_is_said_to_lack_its_blob(tmp_path):
    snapshot = cache(tmp_path)
    (snapshot / DATA).resolve().unlink()
    assert isinstance(refused(snapshot, DATA, "where there is no file"), unsay.NotFoundError)


def as_folder(path):
    path.mkdir()


def as_pipe(path):
    os.mkfifo(path)


def as_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def as_device(path):
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("name", ["encoder_model.onnx", DATA, "config.json", "spiece.model"])
@pytest.mark.parametrize("make", [as_folder, as_pipe, as_socket, as_device])
def test_what_is_no_file_is_refused_at_once(plain, make, name):
    (plain / name).unlink(missing_ok=True)
    make(plain / name)
    # In a process of its own: opening a pipe must not wait.
    code = "import sys, unsay; unsay.open(sys.argv[1], allow_links=True)"
    done = subprocess.run(
        [sys.executable, "-c", code, plain],
        env=ENVIRONMENT, text=True, capture_output=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1 and name in done.stderr.splitlines()[-1], done.stderr


def test_a_location_in_a_file_cannot_leave_the_folder(plain):
    shutil.copy(plain / DATA, plain.parent / DATA)
    path = plain / "encoder_model.onnx"
    path.write_bytes(path.read_bytes().replace(DATA.encode(), b"../" + DATA.encode()[:-3]))
    for allowed in (False, True):
        refused(plain, "../encoder_model.onnx_d", allow_links=allowed)


@pytest.mark.parametrize("make", [cache, volume])
def test_a_save_over_a_folder_of_links_writes_through_none_of_them(tmp_path, right, make):
    folder = make(tmp_path)
    (folder / "notes.md").symlink_to("../../blobs/none")
    around = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    around = {path: content for path, content in around.items() if not path.is_symlink()}
    with unsay.open(folder, allow_links=True) as model:
        model.finetune([(IDS, [9, 1])], steps=1, learning_rate=0.01)
        changed = model.fingerprint()
        model.save(folder)
    for path, content in around.items():
        assert path.read_bytes() == content, path
    for path in files():
        assert not (folder / path.name).is_symlink()
    assert os.readlink(folder / "notes.md") == "../../blobs/none"
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name] or make is volume
    with unsay.open(folder) as model:
        assert model.fingerprint() == changed


def test_a_link_to_a_folder_stays_one_when_saved_over(tmp_path, plain):
    (tmp_path / "current").symlink_to("plain")
    with unsay.open(SOURCE) as model:
        model.save(tmp_path / "current")
    assert (tmp_path / "current").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "plain"]


NAMES = [
    "with spaces",
    "模型-ü",
    "a'b\"c$d\n",
    "-x",
    b"bad-\xff-bytes",
    b"\xe9" * 250,  # as long as a name may be, nearly: room for no ending
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_folder_of_any_name_opens_and_is_saved_to(tmp_path, right, name):
    folder = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    shutil.copytree(os.fsencode(SOURCE), folder)
    for path in (folder, os.fsdecode(folder), Path(os.fsdecode(folder))):
        assert written(path) == right
    with unsay.open(folder) as model:
        model.save(folder)
        model.save(os.fsdecode(folder))
        assert model.files == ["decoder_model_merged.onnx", "encoder_model.onnx"]
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name)]
    assert written(folder) == right


def test_files_of_any_name_are_opened_saved_and_kept(tmp_path):
    folder, saved = tmp_path / "model", tmp_path / "saved"
    folder.mkdir()
    source = FIXTURES / "t5v10__ts_whole"
    name = os.fsencode(folder) + b"/mod\xe8le.onnx"
    shutil.copy(source / "model.onnx", name)
    shutil.copy(source / "config.json", folder)
    for beside in (b"/lis\xe9.txt", b"/Lis\xe9.txt"):
        Path(os.fsdecode(os.fsencode(folder) + beside)).write_bytes(beside)
    with unsay.open(source) as one, unsay.open(folder) as other:
        assert one.fingerprint() == other.fingerprint()
        assert other.files == ["mod\udce8le.onnx"]
        other.save(saved)
        other.save(folder)
    for made in (saved, folder):
        assert sorted(os.listdir(os.fsencode(made))) == sorted(os.listdir(os.fsencode(folder)))
        assert (made / "Lis\udce9.txt").read_bytes() == b"/Lis\xe9.txt"
    assert len(os.listdir(saved)) == 4


def test_deltas_sessions_classifiers_and_vocabularies_have_any_path(tmp_path, model, flagged):
    text, output, marks = flagged
    place = tmp_path / os.fsdecode(b"p\xfftch")
    place.mkdir()
    with model.patch() as patch:
        patch.add(text, output, marks=marks)
        patch.run(max_steps=1)
        patch.save_state(place / "session")
        patch.load_state(place / "session")
        patch.commit()
        patch.delta().save(place / "delta")
    assert unsay.Delta.open(place / "delta").info.after == model.fingerprint()
    shutil.copy(MODELS / "tiny-v10/spiece.model", place)
    with unsay.open(MODELS / "tiny-v10", tokenizer=place / "spiece.model") as other:
        assert other.encode(text).ids == model.encode(text).ids
    long = place / ("n" * 255)
    unsay.Delta.open(place / "delta").save(long)
    unsay.Delta.open(long)
    assert len(list(place.iterdir())) == 4


def test_a_path_too_long_is_refused_with_its_reason(tmp_path):
    refused(tmp_path / "/".join(["n" * 200] * 30), "too long", "nnn")


def test_a_file_that_may_not_be_read_is_said_to(plain, right):
    """As another user: root may read everything."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        folder = shutil.copytree(plain, Path(root) / "model")
        code = (
            "import os, sys, unsay\n"
            "os.setgroups([]); os.setegid(65534); os.seteuid(65534)\n"
            "model = unsay.open(sys.argv[1])\n"
            "print(model.generate([5, 6, 7, 1], max_new_tokens=4).ids)\n"
            "model.save(sys.argv[2])"
        )

        def opened():
            done = subprocess.run(
                [sys.executable, "-c", code, folder, "/tmp/unsay-never-made"],
                env=ENVIRONMENT, text=True, capture_output=True, timeout=60,
            )  # fmt: skip
            return done.stdout.strip(), done.stderr.strip().splitlines()[-1]

        for name in ("encoder_model.onnx", DATA, "config.json"):
            (folder / name).chmod(0)
            out, last = opened()
            assert out == "" and name in last and "Permission denied" in last, last
            (folder / name).chmod(0o644)
        # What the model does not need hinders the save that would copy it, not the opening.
        (folder / "private.txt").write_text("mine")
        (folder / "private.txt").chmod(0)
        out, last = opened()
        assert out == str(right) and "private.txt" in last and "Permission denied" in last, last


def test_a_name_in_other_letters_is_another_file(plain, right, tmp_path):
    (plain / "ENCODER_MODEL.ONNX").write_bytes(b"something else")
    (plain / "Config.json").write_text("{")
    assert written(plain) == right
    with unsay.open(plain) as model:
        model.save(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert "Config.json" in names and "ENCODER_MODEL.ONNX" not in names
