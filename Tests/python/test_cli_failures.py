"""What the command line says when it cannot, or was asked how."""

import os
import shutil

import pytest
import unsay
from conftest import MODELS

TINY = MODELS / "tiny-v10"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "absent", "text"], "absent"),
        (["generate", TINY, "text", "--max-new-tokens", "0"], "max_new_tokens"),
        (["generate", TINY, "--inputs", "absent.txt"], "absent.txt: No such file"),
        (["generate", TINY], "no inputs"),
        (["patch", TINY, "bad.jsonl"], "bad.jsonl, line 2: not JSON"),
        (["patch", TINY, "one.jsonl", "--avoid", "word"], "flags nothing"),
        (["patch", TINY, "typo.jsonl"], "typo.jsonl, line 1: nothing matches"),
        (["eval", TINY, "text"], "--phrase"),
        (["eval", TINY, "text", "--detect", "("], "regular expression"),
        (["apply", TINY, "one.jsonl", "--out", "x"], "one.jsonl"),
        (["info", "absent"], "absent"),
        (["info", "t5-small"], "optimum-cli export onnx --model t5-small"),
        (["info", TINY / "encoder_model.onnx"], "is a file"),
    ],
    ids=lambda value: " ".join(map(str, value[:1] + value[2:])) if isinstance(value, list) else "",
)
def test_a_failure_is_one_sentence_and_status_1(command, tmp_path, arguments, said):
    (tmp_path / "bad.jsonl").write_text('{"input": "a", "output": "b"}\n{"input": \n')
    (tmp_path / "one.jsonl").write_text('{"input": "a", "output": "b c"}\n')
    (tmp_path / "typo.jsonl").write_text('{"input": "a", "output": "b c", "avoid": ["d"]}\n')
    command(*arguments, status=1)
    last = command.err.strip().splitlines()
    assert last[-1].startswith("unsay: ") and said in last[-1]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ('"output": 5', "output: expected a str, found int 5"),
        ('"output": null', "output: expected a str, found None"),
        ('"ids": "5"', "ids: expected integers, found str '5'"),
        ('"ids": [5, null, 1]', "ids[1]: expected an integer, found None"),
        ('"output": "b c", "avoid": 5', "avoid: expected phrases or character ranges"),
        ('"output": "b c", "avoid": [[0]]', "avoid[0]: expected (begin, end), found list [0]"),
        ('"output": "b c", "marks": "no"', "marks: expected integers, found str 'no'"),
        ('"output": "b c", "avoid": "b", "weight": "1"', "weight: expected a number, found str"),
        ('"output": "b c", "avoid": "b", "extent": 1', "extent: expected one of all, first, last"),
        ('"output": "b c", "also_avoid": [1]', "also_avoid: expected a mapping of positions"),
        ('"output": "b c", "also_avoid": {"x": [1]}', "also_avoid: expected an integer, found str"),
        ('"output": "b", "corrected": "c", "converter": []', "converter: expected one of"),
    ],
    ids=str,
)
def test_a_record_that_is_wrong_is_told_by_its_line(command, tmp_path, record, said):
    (tmp_path / "in.jsonl").write_text(f'{{"input": "a", {record}}}\n')
    command("patch", TINY, "in.jsonl", "--plan", status=1)
    assert (
        f"in.jsonl, line 1: {said}" in command.err or f"line 1: a position of {said}" in command.err
    )
    assert len(command.err.splitlines()) == 1


def test_wrong_usage_is_status_2(command):
    command("generate", status=2)
    command("unsay", status=2)
    command("apply", TINY, "a.unsay", status=2)
    assert "usage: unsay apply" in command.err


@pytest.mark.parametrize("name", ["generate", "patch", "eval", "apply", "revert", "info", "verify"])
def test_help_has_examples(command, name):
    assert f"\n  unsay {name} " in command(name, "--help")


def test_the_version_says_how_the_library_was_built(command):
    told = command("--version")
    assert told.startswith(f"unsay {unsay.version()}, ") and told.count("\n") == 1


def test_a_patch_that_is_not_kept_says_so_before_it_is_trained(command, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"input": "a", "ids": [5, 6, 1], "marks": [-1, 1, 1]}\n')
    # A goal that cannot be met: otherwise there may be nothing to train.
    command("patch", TINY, path, "--max-steps", 1, "--max-avoid-p", 0, "--progress")
    told = command.err
    assert told.index("nothing will be written") < told.index("1/1")
    command("patch", TINY, path, "--max-steps", 1, "--delta", "a.unsay")
    assert "nothing will be written" not in command.err


def test_a_path_that_is_not_utf8_is_told_with_escapes(command, tmp_path):
    folder = tmp_path / os.fsdecode(b"bad-\xff")
    shutil.copytree(MODELS / "tiny-v10", folder)
    assert "bad-\\udcff" in command("info", folder)
    command("info", folder, "--json")
    command("verify", folder, "files", "--json")
