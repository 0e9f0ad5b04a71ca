"""What docs/results.md says in words is what its tables say."""

import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
SENTENCES = " ".join(PAGE.split())


def rows(behaviour, kind):
    """The cells of a behaviour's tables, by the first two: of what is "chosen", or "equal"."""
    found = PAGE.split(f"<!-- study {behaviour} -->")[1].split(f"<!-- end of study {behaviour}")[0]
    table = found.strip().split("At equal reduction")[kind == "equal"]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return {(method, setting.strip()): rest for method, setting, *rest in cells[2:]}


def ranking(behaviour, share):
    """Methods that train all weights, by what they leave of other outputs where that share of the
    behaviour is gone, those that get there with every seed: "FF 92 %, RF and RR 88 %"."""
    column = (10, 20, 50, 80).index(share)
    groups = {}
    for (method, protocol), cells in rows(behaviour, "equal").items():
        if protocol == "paper" and re.fullmatch(r"[\d.]+%", cells[column]):
            name = method if " " in method else method.upper()
            groups.setdefault(f"{float(cells[column][:-1]):.0f}", []).append(name)
    best_first = sorted(groups.items(), key=lambda group: -int(group[0]))
    return ", ".join(f"{' and '.join(names)} {value} %" for value, names in best_first)


@pytest.mark.parametrize(
    ("behaviour", "share"),
    [
        ("the word simple", 50),
        ("the word simple", 80),
        ("unsupported names", 10),
        ("unsupported names", 20),
    ],
)
def test_methods_are_ranked_as_in_the_table(behaviour, share):
    said = ranking(behaviour, share)
    assert f"{said}." in SENTENCES, f"docs/results.md does not say: {said}"
