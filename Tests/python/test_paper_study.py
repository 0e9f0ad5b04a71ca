"""A whole study of examples/paper on the tiny model: measured, killed, documented, looked at."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from browser import Browser
from conftest import DEBSUM, ROOT

sys.path.insert(0, str(ROOT / "examples"))

from paper import document
from paper.settings import load


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Settings of a study that takes seconds, and its data."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "data").mkdir()
    lines = (DEBSUM / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    for name, begin, end in (("train", 0, 40), ("validation", 200, 212), ("test", 300, 316)):
        text = "\n".join(lines[begin:end]) + "\n"
        (folder / f"data/{name}.jsonl").write_text(text, encoding="utf-8")
    adafactor = {"learning_rates": [1e-3], "steps": 4, "evaluate_every": 2, "batch_size": 4}
    settings = {
        "task": "pairs", "data": str(folder / "data"), "model": "Tests/Models/tiny-v10",
        "training": {"steps": 8, "evaluate_every": 4, "batch_size": 4, "save_every": 2},
        "max_input_ids": 48, "max_new_tokens": 8, "tries": 2,
        "behaviours": {
            "a phrase": {"annotator": "phrases", "phrases": ["on", "an", "GNOME"]},
            "names": {"annotator": "names"},
        },
        "protocols": {
            "paper": {"methods": ["ff", "corrective", "clean"], **adafactor},
            "recommended": {"methods": ["nl"], "scope": "tokens", **adafactor},
        },
        "flagged": 8, "kept": 8, "guard": 4, "held_out": 6, "drift": 4, "seeds": [1],
        "max_guard_kl": 10, "max_guard_flips": 1,
        "extras": {"learning_rate": 1e-3, "alpha": 1, "method": "nl", "flag_counts": [1, 3],
                   "noise": [0.2], "iterated": True},
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def command(tiny, stage, out):
    return [sys.executable, "-m", "paper", stage, "--settings", str(tiny / "settings.json"),
            "--out", str(out)]  # fmt: skip


ENVIRONMENT = dict(
    os.environ,
    PYTHONPATH=os.pathsep.join(str(ROOT / p) for p in ("examples", "bindings/python/src")),
)


def study(tiny, stage, out):
    done = subprocess.run(
        command(tiny, stage, out), env=ENVIRONMENT, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(tiny):
    """The folder of a study that was not disturbed."""
    study(tiny, "data", tiny / "whole")
    assert "together" in study(tiny, "estimate", tiny / "whole")
    said = study(tiny, "all", tiny / "whole")
    assert "trials/" not in said and "to go" in said and "evaluate: done in" in said
    return tiny / "whole"


def test_a_study_measures_every_method(whole):
    results = json.loads((whole / "results.json").read_text())
    for name in ("a phrase", "names"):
        original = results[f"{name} | original"]["test"]
        assert original["before"] == original["after"] > 0
        assert original["others"]["same"] == original["had"]["same"] == 1
        assert results[f"{name} | ban"]["test"]["others"]["same"] == 1
        for method in ("ff", "corrective", "clean"):
            for rule in ("loss", "guard"):
                found = results[f"{name} | paper | {method} | seed 1 | 8 flagged | {rule}"]
                assert found["chosen"]["step"] in (2, 4) and found["test"]["drift"]["kl"] > 0
    assert results["a phrase | ban"]["test"]["after"] == 0
    counts = [key for key in results if "| 3 flagged" in key or "noise 0.2" in key]
    assert len(counts) == 4
    iterated = json.loads((whole / "iterated.json").read_text())
    assert list(iterated) == [
        "seed 1 | 1 | a phrase",
        "seed 1 | 2 | names",
        "seed 1 | 3 | a phrase",
    ]
    drifts = [entry["names"]["drift"]["kl"] for entry in iterated.values()]
    assert all(kl > 0 for kl in drifts) and len(set(drifts)) == 3


def test_a_study_that_is_killed_again_and_again_has_the_same_results(tiny, whole):
    out = tiny / "killed"
    for waited in ("train/state.session", "outputs/test.jsonl", "trials/*/state.session",
                   "trials/*nl*/*.unsay", "results.json"):  # fmt: skip
        process = subprocess.Popen(
            command(tiny, "all", out), env=ENVIRONMENT, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and not list(out.glob(waited)):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"done before {waited} was seen"
    study(tiny, "all", out)

    def files(folder):
        kept = ("*.jsonl", "results.json", "iterated.json", "report/*.csv", "history.json")
        paths = {path for pattern in kept for path in folder.rglob(pattern)}
        return {
            str(path.relative_to(folder)): path.read_text(encoding="utf-8")
            for path in paths
            if path.name != "steps.jsonl"  # has the seconds of each step
        }

    expected, found = files(whole), files(out)
    assert sorted(found) == sorted(expected)
    different = [name for name in expected if found[name] != expected[name]]
    assert different == []


def test_a_finished_study_goes_into_a_document_and_no_other_does(tiny, whole, tmp_path):
    settings = load(tiny / "settings.json")
    place = "# Results\n<!-- study {0} -->\nold\n<!-- end of study {0} -->\nend\n"
    page = tmp_path / "results.md"
    page.write_text("".join(map(place.format, ("a phrase", "names", "update upon update"))))
    document.write(settings, whole, page)
    text = page.read_text()
    assert "old" not in text and text.count("| ff | paper, guarded |") == 2
    assert text.count("# Results") == text.count("\nend\n") == 3
    assert text.count("| ff | paper | ") == 2 and "| 3. a phrase | names | " in text
    assert (tmp_path / "study-names-paper.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "study-noise.png").exists()
    assert (tmp_path / "study-a-phrase-test.csv").read_text().count("\n") > 8
    unfinished = load(tiny / "settings.json", seeds=[1, 2])
    with pytest.raises(SystemExit, match=r"not done, such as .*seed 2"):
        document.write(unfinished, whole, page)


def test_a_folder_belongs_to_one_study_and_settings_are_checked(tiny, whole):
    settings = json.loads((tiny / "settings.json").read_text())
    other = tiny / "other.json"
    other.write_text(json.dumps({**settings, "seeds": [2]}))
    done = subprocess.run(
        [*command(tiny, "report", whole), "--settings", str(other)], env=ENVIRONMENT, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1 and "other settings" in done.stderr
    other.write_text(json.dumps({**settings, "sedes": [2]}))
    with pytest.raises(SystemExit, match="no 'sedes'"):
        load(other)


def test_the_studies_that_are_shipped_are_valid():
    paths = sorted((ROOT / "examples/paper/studies").glob("*.json"))
    assert len(paths) >= 5
    for path in paths:
        assert load(path).task


@pytest.mark.skipif(Browser.path is None, reason="needs chromium")
def test_the_report_reads_well_on_a_phone(whole, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(whole / "report/report.html")
        pictures = browser.value(
            "Promise.all([...document.images].map(i => i.decode().then(() => "
            "[i.naturalWidth, i.getBoundingClientRect().width, i.alt])))"
        )
        assert len(pictures) == 6
        for natural, shown, alternative in pictures:
            assert 200 < shown <= 390 and shown > 0.75 * natural and alternative
        assert browser.value("document.documentElement.scrollWidth") <= 390
        assert browser.value("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
        assert browser.value("document.querySelectorAll('table').length") >= 4
        assert browser.value("document.querySelectorAll('.pair').length") > 0
        sizes = browser.value(
            "[...document.querySelectorAll('td')].map("
            "cell => parseFloat(getComputedStyle(cell).fontSize))"
        )
        assert min(sizes) >= 13
        assert browser.value("performance.getEntriesByType('resource').filter("
                             "e => !e.name.startsWith('data:')).length") == 0  # fmt: skip
        assert browser.complaints() == []
