"""What trials of examples/paper train on, how they are measured, chosen and compared."""

import sys

import pytest
import unsay
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))

from paper import measures, tables, trials
from paper.outputs import Written
from paper.settings import Settings


def test_measures():
    assert measures.interval(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert measures.interval(83, 1964) == (
        pytest.approx(0.03422, abs=1e-5), pytest.approx(0.05209, abs=1e-5),
    )  # fmt: skip
    assert measures.repeats("simple tool for simple files") and not measures.repeats("a b and a b")
    found = measures.comparison(
        ["a b c d e", "x y", "z"], ["a b c d f", "x y", "z"], [True, False, False], [False] * 3
    )
    assert (found["before"], found["after"], measures.gone(found)) == (1, 0, 1.0)
    assert found["others"]["same"] == 1 and found["had"]["same"] == 0
    assert found["had"]["rouge_l"] == pytest.approx(80) and 0 < found["had"]["bleu"] < 80


def rows(flagged, clean):
    output = unsay.Output("a b", [5, 6, 1], [], 0.0, "end")
    return [
        Written(f"{has} {index}", "", output, [(0, 1)] if has else [], [-1 if has else 1, 1, 1])
        for has, count in ((True, flagged), (False, clean))
        for index in range(count)
    ]


def test_fewer_flags_are_among_more_and_wrong_flags_keep_their_number():
    settings = Settings("pairs", "", {}, {}, kept=20, guard=5, held_out=8)
    train, validation = rows(20, 60), rows(9, 30)

    def chosen(flagged, noise=0.0):
        trial = trials.Trial("b", "p", "ff", 1e-3, 1.0, 7, flagged, noise)
        return trials.examples(settings, trial, train, validation)

    few, many, wrong = chosen(5), chosen(20), chosen(20, 0.2)
    assert [r.input for r in few.flagged] == [r.input for r in many.flagged[:5]]
    assert len(many.held_out) == 8 and sum(r.has for r in many.held_out) == 4
    assert len(wrong.flagged) == 20 and sum(not r.has for r in wrong.flagged) == 4
    assert all(-1 in r.marks for r in wrong.flagged)
    missed = [r for r in wrong.kept if r.has]
    assert len(missed) == 4 and all(r.marks == [1, 1, 1] for r in missed)
    guarded = {r.input for r in many.guard}
    assert not guarded & {r.input for each in (many, wrong) for r in each.kept + each.flagged}


def test_rules_choose_by_loss_as_the_paper_does_or_by_prevalence_within_the_guard():
    settings = Settings("pairs", "", {}, {}, max_guard_kl=0.1, max_guard_flips=0.5)
    runner = trials.Runner(settings, ROOT, None, None, [], [], {})

    def history(alpha, *entries):
        return {"trial": {"alpha": alpha}, "checkpoints": [
            {"step": step, "held_out_loss": loss, "guard_kl": kl, "guard_flips": 0.0,
             "validation": {"after": after, "others": {"bleu": bleu}}}
            for step, loss, kl, after, bleu in entries]}  # fmt: skip

    histories = [
        history(1.0, (1, 0.5, 0.01, 4, 99), (2, 0.3, 0.05, 3, 95), (3, 0.4, 0.3, 0, 50)),
        history(4.0, (1, 0.1, 0.02, 3, 97)),
    ]
    assert runner.best(histories, "loss")[1]["step"] == 2
    best, point = runner.best(histories, "guard")
    assert best is histories[1] and point["step"] == 1
    assert runner.best([history(1.0, (1, 0.1, 0.3, 0, 50))], "guard") is None


def test_methods_are_compared_where_they_remove_equally_much():
    def row(method, seed, gone, same):
        return {"protocol": "paper", "method": method, "seed": seed, "gone": gone, "same": same,
                "bleu": 100 * same}  # fmt: skip

    rows = [row("ff", 1, 1.0, 0.9), row("ff", 1, 0.6, 0.98), row("ff", 2, 0.8, 0.94),
            row("ul", 1, 0.5, 0.7), row("ul", 2, 0.4, 0.9)]  # fmt: skip
    ff, ul = tables.equal(rows)
    assert ff[:2] == ["ff", "paper"] and len(ff) == len(tables.EQUAL_HEADINGS)
    assert ff[2:6] == ["96.0%", "96.0%", "96.0%", "92.0%"]
    assert ff[6:10] == ["96.0", "96.0", "96.0", "92.0"]
    assert ul[2:6] == ["80.0%", "80.0%", "70.0% (1 of 2 seeds)", "-"]
    assert tables.frontier(rows[:2], "bleu")[::4] == [100, 98, 98, 98, 90, 90]


def test_checkpoints_are_measured_on_outputs_with_the_behaviour_first():
    few, many, others = rows(3, 0), rows(40, 0), rows(0, 50)

    def checked(validation):
        settings = Settings("pairs", "", {}, {}, checked=20)
        return trials.Runner(settings, ROOT, None, None, [], validation, {}).checked

    assert checked(others + few) == few + others[:17]
    assert checked(many + others) == many[:10] + others[:10]
    assert checked(few) == few
