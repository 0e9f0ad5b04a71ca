"""A patch's report: figures, outputs side by side, the same as JSON and as a page."""

import html.parser
import json
import math

import numpy
import pytest
import unsay

FREE = {"scope": "all", "learning_rate": 2e-4, "max_guard_kl": 1000.0, "max_guard_flips": 1.0}
TEXTS = ["summarize: a tool for files", "summarize: a library", "summarize: fonts & <b>bold</b>"]


@pytest.fixture
def patched(model):
    output = model.generate(TEXTS[0], max_new_tokens=8)
    word = output.text.split()[0]
    patch = model.patch(**FREE)
    patch.add(TEXTS[0], output, avoid=[word])
    patch.guard([(TEXTS[1], model.generate(TEXTS[1], max_new_tokens=8))])
    patch.run(max_steps=30, evaluate_every=3)
    with patch:
        yield patch, word


def test_a_report_compares_outputs_token_by_token(model, patched):
    patch, word = patched
    before = [model.generate(text, max_new_tokens=8) for text in TEXTS]
    with patch.model() as trained:
        after = [trained.generate(text, max_new_tokens=8) for text in TEXTS]
        report = patch.report(
            TEXTS, detect=lambda text: word in text, title="No more", max_new_tokens=8
        )
        changed = [i for i in range(3) if before[i].ids != after[i].ids]
        assert [change.index for change in report.changes] == changed and 0 in changed
        for change in report.changes:
            old, new = before[change.index], after[change.index]
            assert (change.before, change.after) == (old.text, new.text)
            same = [a == b for a, b in zip(old.ids, new.ids)]
            place = same.index(False) if False in same else len(same)
            assert change.position == place
            text = TEXTS[change.index]
            ids = (old if place < len(old.ids) else new).ids[: place + 1]
            q, p = (
                numpy.asarray(m.logits(text, ids))[place].astype(float) for m in (model, trained)
            )
            q, p = (x - numpy.log(numpy.exp(x - x.max()).sum()) - x.max() for x in (q, p))
            assert change.kl == pytest.approx(float((numpy.exp(q) * (q - p)).sum()), rel=1e-3)
    assert report.shown_before == sum(word in output.text for output in before)
    assert report.shown_after == sum(word in output.text for output in after)
    assert report.evaluation == patch.evaluate() or math.isclose(
        report.evaluation.avoid_p_after, patch.evaluate().avoid_p_after, rel_tol=1e-5
    )
    steps = [step for step, _ in report.history]
    assert steps == sorted(steps) and steps[0] == 0 and len(steps) > 1


def test_tensors_are_listed_by_size_of_change(model, patched):
    patch, _ = patched
    report = patch.report()
    assert report.outputs == 0 and report.changes == [] and report.shown_before is None
    sizes = [tensor.change for tensor in report.tensors]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 10
    top = report.tensors[0]
    with patch.model() as trained:
        old, new = (numpy.asarray(m.tensor(top.name)).astype(float) for m in (model, trained))
    assert top.change == pytest.approx(float(numpy.sqrt(((new - old) ** 2).sum())), rel=1e-5)
    assert top.weight == pytest.approx(float(numpy.sqrt((old**2).sum())), rel=1e-5)


class Page(html.parser.HTMLParser):
    """Collects what a page opens, closes, loads and says."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.loads += [v for k, v in attributes if k in ("src", "href", "srcset", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_loads_nothing_and_escapes_what_it_shows(patched, tmp_path):
    patch, _ = patched
    report = patch.report(TEXTS, title="<script>alert(1)</script>", max_new_tokens=8)
    page = Page()
    page.feed(report.html)
    assert page.open == [] and page.loads == []
    assert "<script" not in report.html and "url(" not in report.html
    assert "<script>alert(1)</script>" in page.text
    assert 'name="viewport"' in report.html and "<svg" in report.html
    for change in report.changes:
        assert change.after in page.text
    report.save(tmp_path / "report.html")
    report.save(tmp_path / "report.json")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.html
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["outputs"] == 3


def test_what_a_detector_raises_comes_out(patched):
    patch, _ = patched
    with pytest.raises(LookupError, match="detector"):
        patch.report(TEXTS, detect=lambda text: {}["detector"], max_new_tokens=2)
    with pytest.raises(unsay.ArgumentError, match="no option"):
        patch.report(TEXTS, temperatur=1)
