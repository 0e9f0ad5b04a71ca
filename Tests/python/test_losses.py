"""Losses and gradients of given logits against the NumPy reference, and at the edges."""

import numpy
import pytest
import reference_losses as reference
import unsay

LOSSES = sorted(reference.EXACT)
FORMS = sorted(reference.FORMS)


def rows(seed, tokens, width, spread):
    numbers = numpy.random.default_rng(seed)
    z = (spread * numbers.standard_normal((tokens, width))).astype(numpy.float32)
    q = (spread * numbers.standard_normal((tokens, width))).astype(numpy.float32)
    return z, q, numbers.integers(0, width, tokens).tolist()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alpha, retain", [(1.0, 0.0), (2.5, 0.2), (0.3, 1.0)])
def test_values_and_gradients_are_those_of_the_reference(form, loss, alpha, retain):
    z, q, targets = rows(7, 30, 41, 2.0)
    marks = [-1, 0, 1] * 10
    values, gradient = unsay.token_losses(
        loss, z, q, targets, marks, form=form, alpha=alpha, retain=retain
    )
    values, gradient = numpy.asarray(values), numpy.asarray(gradient)
    options = {"alpha": alpha, "retain": retain}
    for row, (x, mark) in enumerate(zip(targets, marks)):
        expected = reference.FORMS[form](loss, z[row], q[row], x, mark, **options)
        assert values[row] == pytest.approx(expected, abs=1e-5, rel=1e-5), (row, mark)
        slopes = reference.gradient(form, loss, z[row], q[row], x, mark, **options)
        assert numpy.abs(gradient[row] - slopes).max() < 1e-5, (row, mark)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_everything_is_finite_where_probabilities_are_0_or_1(form, loss):
    width = 500
    cases = []
    for own in (-1e4, -90.0, 0.0, 90.0, 1e4):
        for other in (-1e4, -90.0, 0.0, 90.0, 1e4):
            for mark in (-1, 1):
                z, q = numpy.zeros(width, numpy.float32), numpy.zeros(width, numpy.float32)
                z[3], q[3] = own, other
                cases.append((z, q, mark))
    z, q = numpy.stack([c[0] for c in cases]), numpy.stack([c[1] for c in cases])
    marks = [c[2] for c in cases]
    values, gradient = unsay.token_losses(loss, z, q, [3] * len(cases), marks, form=form)
    assert numpy.isfinite(numpy.asarray(values)).all()
    assert numpy.isfinite(numpy.asarray(gradient)).all()
    for row, mark in enumerate(marks):
        expected = reference.FORMS[form](loss, z[row], q[row], 3, mark)
        if form == "exact":
            assert values[row] == pytest.approx(expected, rel=1e-5, abs=1e-4), (row, z[row][3])


def test_a_vocabulary_of_a_quarter_of_a_million():
    z, q, targets = rows(3, 2, 250_112, 4.0)
    for form in FORMS:
        for loss in LOSSES:
            values, gradient = unsay.token_losses(loss, z, q, targets, [-1, 1], form=form)
            for row, mark in enumerate([-1, 1]):
                expected = reference.FORMS[form](loss, z[row], q[row], targets[row], mark)
                assert values[row] == pytest.approx(expected, abs=1e-5, rel=1e-5), (form, loss)
            assert abs(numpy.asarray(gradient).sum(1)).max() < 1e-3


def test_unlikelihood_still_pulls_where_the_token_is_certain_and_the_published_one_does_not():
    z = numpy.zeros((1, 50), numpy.float32)
    z[0, 3] = 40
    pulls = {
        form: float(numpy.asarray(unsay.token_losses("ul", z, z, [3], [-1], form=form)[1])[0, 3])
        for form in FORMS
    }
    assert pulls["exact"] == pytest.approx(1.0) and pulls["published"] == 0.0


def marked(model, texts):
    for text in texts:
        output = model.generate(text, max_new_tokens=8)
        yield text, output, [-1] + [1] * (len(output.ids) - 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "likelihood"])
def test_every_loss_lowers_what_is_avoided(model, loss, form):
    options = {"loss": loss, "form": form, "learning_rate": 2e-3, "batch_size": 2, "scope": "all"}
    with model.patch(**options) as patch:
        for text, output, marks in marked(model, ["summarize: a library", "files and tools"]):
            patch.add(text, output, marks=marks)
        before = patch.step().avoid_p
        for _ in range(12):
            last = patch.step()
        assert last.avoid_p < 0.7 * before, f"{before} -> {last.avoid_p}"


def test_micro_batches_add_up_to_the_batch_in_both_forms(model):
    for form in FORMS:
        norms = []
        for size in (0, 1):
            with model.patch(loss="rf", form=form, batch_size=2, micro_batch_size=size) as patch:
                for text, output, marks in marked(model, ["summarize: a library", "files"]):
                    patch.add(text, output, marks=marks)
                step = patch.step()
                norms.append((step.loss, step.gradient_norm))
        assert norms[0] == pytest.approx(norms[1], rel=1e-4)
