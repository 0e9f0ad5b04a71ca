"""What trials of examples/paper train on, how they are measured, chosen and compared."""

import sys
from dataclasses import asdict, replace

import pytest
import unsay
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))

from paper import choosing, measures, tables, trials, updating
from paper.outputs import Written
from paper.settings import Protocol, Settings, made
from paper.store import write_json


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
    assert measures.gone({"before": 200, "after": 180}) == 0.1  # as a share of choosing.SHARES
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

    def history(alpha, *entries):
        return {"trial": {"alpha": alpha}, "checkpoints": [
            {"step": step, "held_out_loss": loss, "guard_kl": kl, "guard_flips": 0.0,
             "validation": {"after": after, "others": {"bleu": bleu}}}
            for step, loss, kl, after, bleu in entries]}  # fmt: skip

    histories = [
        history(1.0, (1, 0.5, 0.01, 4, 99), (2, 0.3, 0.05, 3, 95), (3, 0.4, 0.3, 0, 50)),
        history(4.0, (1, 0.1, 0.02, 3, 97)),
    ]
    assert choosing.best(settings, histories, "loss")[1]["step"] == 2
    best, point = choosing.best(settings, histories, "guard")
    assert best is histories[1] and point["step"] == 1
    assert choosing.best(settings, [history(1.0, (1, 0.1, 0.3, 0, 50))], "guard") is None


def test_the_first_seed_sweeps_and_the_others_take_what_was_of_use(tmp_path):
    protocol = Protocol(["ff"], [1e-3, 1e-4, 1e-5], [1.0, 4.0])
    settings = Settings("pairs", "", {"b": None}, {"p": protocol}, seeds=[3, 5], sweep="first",
                        max_guard_kl=0.1, max_guard_flips=1.0)  # fmt: skip
    first, other = updating.main_groups(settings, "b")
    assert updating.tuned(settings, tmp_path, other) == other, "nothing is known yet"

    # In the order of the group: by alpha, then by rate. (loss, KL, outputs that are left, same)
    found = [(0.3, 0.5, 0, 0.2), (0.2, 0.05, 6, 0.9), (0.9, 0.0, 10, 1.0),
             (0.1, 0.5, 1, 0.6), (0.1, 0.08, 5, 0.8), (0.1, 0.0, 10, 1.0)]  # fmt: skip
    for trial, (loss, kl, after, same) in zip(first, found):
        point = {"step": 20, "held_out_loss": loss, "guard_kl": kl, "guard_flips": 0.0,
                 "validation": {"before": 10, "after": after, "others": {
                     "same": same, "bleu": 100 * same}}}  # fmt: skip
        history = {"trial": asdict(trial), "checkpoints": [point], "done": True}
        write_json(tmp_path / trial.folder / "history.json", history)
    # (1e-4, 1) by loss, and where 10 and 20 % are gone; (1e-4, 4) guarded, and where 50 % are;
    # (1e-3, 4) where 80 % are.
    chosen = updating.tuned(settings, tmp_path, other)
    assert [(t.learning_rate, t.alpha, t.seed) for t in chosen] == [
        (1e-4, 1.0, 5), (1e-3, 4.0, 5), (1e-4, 4.0, 5),
    ]  # fmt: skip
    assert updating.tuned(settings, tmp_path, first) == first
    every = replace(settings, sweep="every")
    assert updating.tuned(every, tmp_path, other) == other
    assert len(updating.planned(settings, tmp_path)) == 9


def test_settings_are_what_they_were_after_being_written_down():
    settings = Settings("pairs", "m", {}, {"p": Protocol(["ff"], [1e-3])})
    assert made(asdict(settings), "x") == settings
    with pytest.raises(SystemExit, match="sweep is 'all'"):
        made({**asdict(settings), "sweep": "all"}, "x")


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
