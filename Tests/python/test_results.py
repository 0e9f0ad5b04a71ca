"""What docs/results.md says, in tables and in words, is what the study's CSV beside it has."""

import csv
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))

from paper.outputs import slug
from paper.tables import EQUAL_HEADINGS, equal, left, markdown

PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
SENTENCES = " ".join(PAGE.split())
WORD, NAMES = "the word simple", "unsupported names"
HEADS = (10, 20, 50, 80)
"""The columns of the tables at equal reduction, per cent of the prevalence."""


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


def rows(name, **only):
    """The lines of docs/study-NAME.csv that have these values."""
    with open(ROOT / f"docs/study-{name}.csv", encoding="utf-8") as file:
        found = [{key: number(cell) for key, cell in row.items()} for row in csv.DictReader(file)]
    return [row for row in found if all(row[key] == value for key, value in only.items())]


def checkpoints(behaviour, **only):
    return rows(f"{slug(behaviour)}-validation", **only)


def by_run(behaviour, protocol):
    """The checkpoints of each method and seed."""
    found = {}
    for row in checkpoints(behaviour, protocol=protocol):
        found.setdefault((row["method"], row["seed"]), []).append(row)
    return found


def span(values):
    return f"{100 * min(values):.0f} to {100 * max(values):.0f} %"


def says(sentence):
    assert sentence in SENTENCES, f"docs/results.md does not say: {sentence}"


@pytest.mark.parametrize("behaviour", [WORD, NAMES])
def test_tables_at_equal_reduction_are_those_of_the_csv(behaviour):
    assert markdown(EQUAL_HEADINGS, equal(checkpoints(behaviour))) in PAGE


@pytest.mark.parametrize(("behaviour", "share"), [(WORD, 50), (WORD, 80), (NAMES, 10), (NAMES, 20)])
def test_methods_are_ranked_as_in_the_table(behaviour, share):
    """Those that get there with every seed: "FF 92 %, RF and RR 88 %"."""
    groups = {}
    for method, _, *cells in equal(checkpoints(behaviour, protocol="paper")):
        cell = cells[HEADS.index(share)]
        if cell != "-" and "seeds" not in cell:
            name = method if " " in method else method.upper()
            groups.setdefault(f"{float(cell[:-1]):.0f}", []).append(name)
    best_first = sorted(groups.items(), key=lambda group: -int(group[0]))
    says(", ".join(f"{' and '.join(names)} {value} %" for value, names in best_first) + ".")


@pytest.mark.parametrize(
    ("behaviour", "share", "ahead"),
    [
        (WORD, 50, {"ff", "rf", "rr"}),
        (WORD, 80, {"ff", "rf", "rr"}),
        (NAMES, 10, {"rf", "rr"}),
        (NAMES, 20, {"rf", "rr"}),
    ],
)
@pytest.mark.parametrize("measure", ["same", "bleu"])
def test_who_is_ahead_is_so_in_every_seed(behaviour, share, ahead, measure):
    runs = by_run(behaviour, "paper")
    for seed in (1, 2, 3):
        kept = {m: left(each, measure, share / 100) for (m, s), each in runs.items() if s == seed}
        others = [value for method, value in kept.items() if method not in ahead]
        first = min(kept[method] for method in ahead)
        assert not any(value >= first for value in others), (seed, kept)


def test_names_are_hard_to_take_away():
    ff = [each for (method, _), each in by_run(NAMES, "paper").items() if method == "ff"]
    says(f"FF, which takes away {span([max(r['gone'] for r in each) for each in ff])} in 45 steps")
    heads = by_run(NAMES, "recommended").values()
    most = 100 * max(row["gone"] for each in heads for row in each)
    there = [each for each in heads if max(row["gone"] for row in each) >= 0.2]
    stays = 100 * sum(left(each, "same", 0.2) for each in there) / len(there)
    assert (len(there), len(heads)) == (6, 21)
    says(f"take away {most:.0f} % at most, a fifth in six runs of 21, which leave {stays:.0f} %")


def test_what_the_rules_choose():
    others = ["fll", "rll", "ul", "nl", "corrective", "clean"]
    chosen = rows("the-word-simple-test", protocol="paper")
    for rule in ("loss", "guard"):
        same = [r["same"] for r in chosen if r["rule"] == rule and r["method"] in others]
        said = f"leave {span(same)} of the other outputs as they were"
        says(f"it takes checkpoints that {said}" if rule == "loss" else f"the same runs {said}")
    heads = rows("the-word-simple-test", protocol="recommended", method="ff", rule="guard")
    after = " ".join(f"{row['after']:.0f}" for row in heads)
    says(f"48 to {after.replace(' ', ', ', 1).replace(' 1', ' and 1')} of 1,200 test outputs")


def test_flags_and_wrong_flags():
    flags = {n: [r["gone"] for r in rows("flagged", behaviour=WORD, flagged=n)] for n in (1, 10)}
    many = [row["gone"] for row in rows("flagged", behaviour=WORD) if row["flagged"] >= 100]
    says(f"One flag takes away {span(flags[1])} of the word's outputs, ten {span(flags[10])}")
    says(f"a hundred and a thousand {span(many)}")
    stays = {
        n: span([r["same"] for r in rows("noise", behaviour=WORD, noise=n)]) for n in (0.05, 0.2)
    }
    says(f"{stays[0.05]} stay where one flag in twenty is wrong, {stays[0.2]} where one in five is")
    assert len(rows("flagged", behaviour=NAMES, flagged=1000)) == 1
    says("with a thousand the guard holds for one seed of three")
