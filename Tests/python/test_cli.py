"""The command line, as a shell sees it: output, errors in one sentence, exit status."""

import json
import math
import os
import shutil
import signal
import time

import pytest
import unsay
from conftest import MODELS, ROOT, start
from unsay.cli._similarity import rouge_l
from unsay.cli.evaluate import wilson

TINY = MODELS / "tiny-v10"
TEXTS = ["summarize: a library for files", "a tool for mail", "fonts and their names"]


@pytest.fixture
def tiny():
    with unsay.open(TINY) as opened:
        yield opened


def lines(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


@pytest.fixture
def flagged(tiny, tmp_path):
    """Examples that avoid each output's first token, and the words that stand for it."""
    outputs = tiny.generate(TEXTS, max_new_tokens=6)
    records = [
        {"input": text, "ids": output.ids, "marks": [-1] + [1] * (len(output.ids) - 1)}
        for text, output in zip(TEXTS, outputs)
    ]
    return lines(tmp_path / "flagged.jsonl", *records)


GOAL = ("--learning-rate", 0.05, "--max-steps", 40, "--evaluate-every", 2, "--max-avoid-p", 0.01)


# Generate


def test_outputs_are_those_of_python_whatever_way_the_inputs_come(command, tiny, tmp_path):
    expected = [output.text for output in tiny.generate(TEXTS, max_new_tokens=5)]
    options = ("--max-new-tokens", 5)
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n\n")
    lines(tmp_path / "in.jsonl", TEXTS[0], {"input": TEXTS[1]}, {"input": TEXTS[2], "more": 1})
    lines(tmp_path / "other.jsonl", *({"text": text} for text in TEXTS))
    for arguments, stdin in (
        (TEXTS, ""),
        ([], "\n".join(TEXTS)),
        ([TEXTS[0], "-"], "\n".join(TEXTS[1:])),
        (["--inputs", "in.txt"], ""),
        (["--inputs", "in.jsonl"], ""),
        (["--inputs", "other.jsonl", "--field", "text"], ""),
    ):
        told = command("generate", TINY, *arguments, *options, stdin=stdin)
        assert told.split("\n")[:-1] == expected


def test_json_holds_the_whole_output(command, tiny):
    texts = ["--task", "summarize: ", "a library"]
    told = command("generate", TINY, *texts, "--json", "--max-new-tokens", 4, "--num-beams", 3,
                   "--num-return-sequences", 2)  # fmt: skip
    expected = tiny.generate(
        "summarize: a library", max_new_tokens=4, num_beams=3, num_return_sequences=2
    )
    found = [json.loads(line) for line in told.splitlines()]
    assert [each["rank"] for each in found] == [0, 1]
    for each, output in zip(found, expected):
        assert each["input"] == "summarize: a library"
        assert (each["output"], each["ids"], each["finish"]) == (
            output.text, output.ids, output.finish)  # fmt: skip
        assert each["score"] == output.score and each["log_probs"] == output.log_probs


def test_an_output_file_appears_whole(command, tmp_path):
    command("generate", TINY, "files", "--max-new-tokens", 4, "--output", "out.txt")
    assert (tmp_path / "out.txt").read_text() == command(
        "generate", TINY, "files", "--max-new-tokens", 4
    )
    command("generate", "absent", "files", "--output", "other.txt", status=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_progress_is_on_stderr_when_asked_for(command):
    command("generate", TINY, *TEXTS, "--max-new-tokens", 2, "--progress")
    assert "3/3" in command.err
    many = [f"text {number}" for number in range(300)]
    told = command("generate", TINY, "--max-new-tokens", 2, "--progress", stdin="\n".join(many))
    # A bar of tqdm where that is installed, a line of the package's own elsewhere.
    assert len(told.splitlines()) == 300 and "300/300" in command.err.rstrip().split("\r")[-1]
    command("generate", TINY, *TEXTS, "--max-new-tokens", 2)
    assert command.err == ""


# Patch


def test_a_patch_writes_a_delta_a_folder_and_a_report(command, tiny, flagged, tmp_path):
    guard = lines(tmp_path / "guard.jsonl", {"input": "a guarded text"})
    told = command(
        "patch", TINY, flagged, *GOAL, "--guard", guard, "--max-guard-kl", 100,
        "--max-guard-flips", 1, "--delta", "a.unsay", "--save", "patched",
        "--report", "report.html", "--json", "--max-new-tokens", 6,
    )  # fmt: skip
    facts = json.loads(told)
    assert facts["ending"] == "goal" and facts["evaluation"]["goal_met"]
    assert facts["written"] == {
        "report": "report.html", "delta": "a.unsay", "folder": "patched"}  # fmt: skip
    delta = unsay.Delta.open(tmp_path / "a.unsay")
    assert delta.info.before == tiny.fingerprint()
    with unsay.open(tmp_path / "patched") as patched:
        assert patched.fingerprint() == delta.info.after
    assert "a guarded text" in (tmp_path / "report.html").read_text()


def test_a_patch_is_that_of_python_with_the_same_options(command, tiny, flagged, tmp_path):
    options = {"alpha": 2.0, "scope": "head", "optimizer": "sgd", "seed": 3, "batch_size": 2}
    flags = [part for name, value in options.items()
             for part in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
    command("patch", TINY, flagged, *flags, "--max-steps", 3, "--delta", "a.unsay")
    with tiny.patch(**options) as patch:
        for record in map(json.loads, flagged.read_text().splitlines()):
            patch.add(record["input"], record["ids"], marks=record["marks"])
        patch.run(max_steps=3)
        assert patch.delta().info == unsay.Delta.open(tmp_path / "a.unsay").info


def test_every_way_to_flag_is_understood(command, tiny, tmp_path):
    output = "small library for reading files"
    records = [
        {"input": "a", "output": output, "avoid": ["reading"]},
        {"input": "b", "output": output, "avoid": "reading", "extent": "first"},
        {"input": "c", "output": output, "avoid": [[6, 13]], "weight": 2},
        {"input": "d", "output": output, "better": "small library for files"},
        {"input": "e", "output": output, "corrected": "a tool", "converter": "negative-first"},
        {"input": "f", "output": output, "also_avoid": {"0": [5, 6]}},
        {"input": "g", "output": output},
    ]
    path = lines(tmp_path / "e.jsonl", *records)
    plan = json.loads(command("patch", TINY, path, "--avoid", "files", "--plan", "--json"))
    with tiny.patch() as patch:
        patch.add("a", output, avoid=["reading"])
        patch.add("b", output, avoid=["reading"], extent="first")
        patch.add("c", output, avoid=[(6, 13)], weight=2)
        patch.add("d", output, better="small library for files")
        patch.add_triple("e", output, "a tool", converter="negative-first")
        patch.add("f", output, avoid=["files"], also_avoid={0: [5, 6]})
        patch.add("g", output, avoid=["files"])
        expected = patch.plan()
    assert (plan["avoided_count"], plan["kept_count"]) == (
        expected.avoided_count, expected.kept_count)  # fmt: skip
    assert plan["mean_price"] == expected.mean_price


def test_a_guard_that_breaks_writes_nothing_and_is_status_3(command, flagged, tmp_path):
    guard = lines(tmp_path / "guard.jsonl", *TEXTS)
    command(
        "patch", TINY, flagged, "--learning-rate", 1, "--max-steps", 2, "--select", "last",
        "--evaluate-every", 5, "--guard", guard, "--max-guard-kl", 0, "--max-new-tokens", 6,
        "--scope", "all", "--max-avoid-p", 0, "--delta", "a.unsay", "--save", "patched",
        "--report", "report.html", status=3,
    )  # fmt: skip
    # The run itself went back to the best weights at which the guard held: none changed.
    assert "nothing has changed, for wherever the guard held" in command.err
    assert not (tmp_path / "a.unsay").exists() and not (tmp_path / "patched").exists()
    assert "unchanged" in (tmp_path / "report.html").read_text()
    command(
        "patch", TINY, flagged, "--max-steps", 1, "--require-goal", "--max-avoid-p", 0,
        "--delta", "b.unsay", "--save", "other", status=3,
    )  # fmt: skip
    assert "goal was not met" in command.err
    assert not (tmp_path / "b.unsay").exists() and not (tmp_path / "other").exists()


def test_a_patch_whose_goal_is_met_already_says_so_and_writes_the_model_as_it_is(
    command, tiny, flagged, tmp_path
):
    told = command("patch", TINY, flagged, "--max-avoid-p", 1, "--delta", "a.unsay",
                   "--save", "same", "--json")  # fmt: skip
    facts = json.loads(told)
    assert (facts["ending"], facts["steps"]) == ("goal", 0)
    assert facts["evaluation"]["changed"] is False
    assert "met before any training: nothing has changed" in command.err
    assert unsay.Delta.open(tmp_path / "a.unsay").info.changed_count == 0
    with unsay.open(tmp_path / "same") as same:
        assert same.fingerprint() == tiny.fingerprint()


# Apply, revert, info


def test_a_delta_goes_on_a_folder_and_comes_off_again(command, tiny, flagged, tmp_path):
    command("patch", TINY, flagged, "--max-steps", 2, "--delta", "a.unsay")
    info = json.loads(command("info", "a.unsay", "--json"))
    shutil.copytree(TINY, tmp_path / "model")
    told = json.loads(command("apply", "model", "a.unsay", "--out", "patched", "--json"))
    assert told["exact"] and told["fingerprint"] == info["after"]
    command("apply", "model", "a.unsay", "--in-place")
    assert json.loads(command("info", "model", "--json"))["fingerprint"] == info["after"]
    command("apply", "model", "a.unsay", "--in-place", status=1)
    assert "a.unsay" in command.err and "before" in command.err
    command("revert", "model", "a.unsay", "--in-place")
    assert json.loads(command("info", "model", "--json"))["fingerprint"] == info["before"]
    for path in TINY.glob("*.onnx"):
        assert (tmp_path / "model" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.unsay", "flagged.jsonl", "model", "patched"]  # fmt: skip


def test_sixteen_bits_are_not_rounded_in_place_unasked(command, debsum, tmp_path):
    (tmp_path / "model").symlink_to(ROOT / "models/debsum")
    with debsum.clone().patch() as patch:
        patch.add("summarize: a tool", "simple tool", avoid=["simple"])
        patch.step()
        patch.delta().save(tmp_path / "a.unsay")
    shutil.copytree(ROOT / "models/debsum", tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in (tmp_path / "copy").glob("*.onnx")}
    command("apply", "copy", "a.unsay", "--in-place", status=1)
    assert "--allow-rounding" in command.err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "copy").glob("*.onnx")}
    told = json.loads(
        command("apply", "copy", "a.unsay", "--in-place", "--allow-rounding", "--json")
    )
    assert "rounded" in command.err and not told["exact"]
    assert json.loads(command("info", "copy", "--json"))["fingerprint"] == told["fingerprint"]


@pytest.fixture(scope="module")
def halves(debsum, tmp_path_factory):
    """A folder of 16-bit weights, a delta that fits it, and another way to spell the folder."""
    folder = tmp_path_factory.mktemp("halves")
    shutil.copytree(ROOT / "models/debsum", folder / "copy")
    (folder / "link").symlink_to("copy")
    with debsum.clone().patch() as patch:
        patch.add("summarize: a tool", "simple tool", avoid=["simple"])
        patch.step()
        patch.delta().save(folder / "a.unsay")
    return folder


@pytest.mark.parametrize(
    "spelling", ["copy", "copy/", "./copy", "link", "copy/../copy", "absolute"]
)
def test_the_source_is_not_rounded_however_it_is_spelt(command, halves, tmp_path, spelling):
    source = halves / "copy"
    before = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    out = source if spelling == "absolute" else os.path.relpath(halves, tmp_path) + "/" + spelling
    command("apply", source, halves / "a.unsay", "--out", out, status=1)
    assert "--allow-rounding" in command.err and "16 bits" in command.err
    one = lines(tmp_path / "one.jsonl", {"input": "summarize: a tool", "output": "simple tool",
                                         "avoid": ["simple"]})  # fmt: skip
    # So many steps that a test which trains first does not end.
    command("patch", source, one, "--max-steps", 10**8, "--max-avoid-p", 0, "--learning-rate",
            1e-9, "--save", out, status=1)  # fmt: skip
    assert "--allow-rounding" in command.err and "16-bit" in command.err
    assert before == {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}


def test_exact_weights_may_replace_their_source(command, flagged, tiny, tmp_path):
    shutil.copytree(TINY, tmp_path / "model")
    command("patch", "model", flagged, "--max-steps", 2, "--delta", "a.unsay", "--save", "model")
    info = json.loads(command("info", "a.unsay", "--json"))
    assert info["before"] == tiny.fingerprint()
    assert json.loads(command("info", "model", "--json"))["fingerprint"] == info["after"]
    command("revert", "model", "a.unsay", "--out", "model/")
    assert json.loads(command("info", "model", "--json"))["fingerprint"] == info["before"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--delta", "absent/a.unsay"], "absent/a.unsay: No such file or directory"),
        (["--delta", "folder"], "folder: Is a directory"),
        (["--delta", "in.jsonl/a"], "in.jsonl/a: Not a directory"),
        (["--report", "absent/r.html"], "absent/r.html: No such file or directory"),
        (["--report", "folder"], "folder: Is a directory"),
        (["--save", "absent/model"], "absent/model: No such file or directory"),
        (["--save", "in.jsonl"], "in.jsonl: Not a directory"),
        (["--delta", "in.jsonl"], "in.jsonl is read by this command"),
        (["--delta", "a.unsay", "--report", "./a.unsay"], "name the same place"),
        (["--report", "r.html", "--report-inputs", "absent.txt"], "absent.txt: No such file"),
        (["--report", "r.html", "--detect", "("], "regular expression"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_destination_that_cannot_be_is_told_before_training(command, tmp_path, options, said):
    lines(tmp_path / "in.jsonl", {"input": "a", "ids": [5, 6, 1], "marks": [-1, 1, 1]})
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    command("patch", TINY, "in.jsonl", "--max-steps", 10**8, "--max-avoid-p", 0, "--learning-rate",
            1e-9, *options, status=1)  # fmt: skip
    assert said in command.err.strip().splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["absent/model", "in.jsonl"])
def test_apply_tells_a_destination_that_cannot_be(command, flagged, tmp_path, name):
    command("patch", TINY, flagged, "--max-steps", 1, "--delta", "a.unsay")
    (tmp_path / "in.jsonl").write_text("")
    command("apply", TINY, "a.unsay", "--out", name, status=1)
    assert command.err.startswith(f"unsay: {name}: No")


def test_an_output_file_that_cannot_be_is_told_before_anything_is_written(command, tmp_path):
    (tmp_path / "folder").mkdir()
    for name, said in (("folder", "Is a directory"), ("absent/out.txt", "No such file")):
        command("generate", TINY, "files", "--output", name, status=1)
        assert command.err == f"unsay: {name}: {said}{' or directory' if 'No' in said else ''}\n"


def test_the_delta_is_written_before_the_report(command, flagged, tmp_path):
    # --num-beams 0 is refused by the report alone: the examples have their outputs.
    command("patch", TINY, flagged, "--max-steps", 2, "--delta", "a.unsay", "--save", "patched",
            "--report", "r.html", "--num-beams", 0, status=1)  # fmt: skip
    assert "delta: a.unsay is written" in command.err and "num_beams" in command.err
    after = unsay.Delta.open(tmp_path / "a.unsay").info.after
    assert json.loads(command("info", "patched", "--json"))["fingerprint"] == after
    assert not (tmp_path / "r.html").exists()


def test_info_tells_sizes_and_weights(command, tiny):
    facts = json.loads(command("info", TINY, "--json", "--tensors"))
    assert facts["fingerprint"] == tiny.fingerprint() and facts["d_model"] == tiny.info.d_model
    assert len(facts["tensors"]) == tiny.info.tensor_count
    assert "shared.weight" in command("info", TINY, "--tensors")


# Eval


def test_eval_counts_outputs_before_and_after(command, tiny, flagged, tmp_path):
    command("patch", TINY, flagged, *GOAL, "--delta", "a.unsay", "--save", "patched")
    old = [output.text for output in tiny.generate(TEXTS, max_new_tokens=6)]
    word = old[0].split()[0]
    with unsay.open(tmp_path / "patched") as patched:
        new = [output.text for output in patched.generate(TEXTS, max_new_tokens=6)]
    measure = ("--max-new-tokens", 6, "--detect", word, "--json", *TEXTS)
    for options in (("--delta", "a.unsay"), ("--against", "patched")):
        facts = json.loads(command("eval", TINY, *options, *measure))
        for name, texts in (("old", old), ("new", new)):
            count = sum(word in text for text in texts)
            low, high = wilson(count, 3)
            assert facts["prevalence"][name] == {
                "count": count, "share": count / 3, "low": low, "high": high}  # fmt: skip
        pairs = [(a, b) for a, b in zip(old, new) if word in a]
        part = facts["old_outputs"]["with"]
        assert part["outputs"] == len(pairs)
        assert part["rouge_l"] == pytest.approx(sum(rouge_l(*pair) for pair in pairs) / len(pairs))
    command("eval", TINY, *measure, "--max-prevalence", 0, status=3)
    assert "--max-prevalence" in command.err


def test_the_interval_and_the_similarity_are_the_known_ones():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=1e-4))
    # Lin 2004: "police kill the gunman" against "police killed the gunman".
    assert rouge_l("police killed the gunman", "police kill the gunman") == 0.75
    assert rouge_l("police killed the gunman", "the gunman kill police") == 0.5
    assert rouge_l("", "") == 1 and rouge_l("a", "") == 0 and not math.isnan(rouge_l("", "a"))


# Interrupts


def interrupted(process, folder, files):
    """Presses Ctrl-C once the command is at work; nothing new may be left behind."""
    line = process.stderr.readline()
    assert "unsay: " in line or "/" in line
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "interrupted" in err
    assert sorted(path.name for path in folder.iterdir()) == files


def test_ctrl_c_is_status_130_and_leaves_nothing_torn(flagged, tmp_path):
    process = start(
        "patch", TINY, flagged, "--max-steps", 10**8, "--max-avoid-p", 0, "--learning-rate",
        1e-9, "--evaluate-every", 10**7, "--delta", "a.unsay", "--save", "patched",
        folder=tmp_path,
    )  # fmt: skip
    interrupted(process, tmp_path, ["flagged.jsonl"])
    (tmp_path / "in.txt").write_text("files\n" * 300)
    process = start(
        "generate", TINY, "--inputs", "in.txt", "--output", "out.txt", "--progress",
        "--min-new-tokens", 3000, "--max-new-tokens", 3000, "--max-batch-tokens", 16,
        folder=tmp_path,
    )  # fmt: skip
    # It says nothing before the first output is there; the library's threads come before that.
    while len(os.listdir(f"/proc/{process.pid}/task")) == 1:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flagged.jsonl", "in.txt"]
