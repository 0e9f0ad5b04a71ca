"""Deltas: a patch apart from its model, exact to the bit."""

import threading

import pytest
import unsay


@pytest.fixture
def patched(model, flagged):
    """The model after a committed patch, its fingerprints before and after, the delta."""
    text, output, marks = flagged
    before = model.fingerprint()
    with model.patch(learning_rate=1e-3) as patch:
        patch.add(text, output, marks=marks)
        patch.run(max_steps=5)
        patch.commit()
        return model, before, model.fingerprint(), patch.delta()


def test_reverting_and_applying_are_exact(patched, flagged):
    model, before, after, delta = patched
    text, output, _ = flagged
    changed = model.generate(text, max_new_tokens=8)
    model.revert(delta)
    assert model.fingerprint() == before
    assert model.generate(text, max_new_tokens=8) == output
    model.apply(delta)
    assert model.fingerprint() == after
    assert model.generate(text, max_new_tokens=8) == changed


def test_a_file_holds_the_same_delta(patched, tmp_path):
    model, before, after, delta = patched
    path = tmp_path / "patch.unsay"
    delta.save(path)
    with unsay.Delta.open(path) as read:
        assert read.info == delta.info
        assert (read.info.before, read.info.after) == (before, after)
        assert read.info.changed_count > 0 and read.info.change_norm > 0
        model.revert(read)
    assert model.fingerprint() == before


def test_the_wrong_model_is_refused_and_left_alone(patched):
    model, _, after, delta = patched
    with pytest.raises(unsay.MismatchError):
        model.apply(delta)
    assert model.fingerprint() == after


def test_a_torn_delta_is_a_format_error(patched, tmp_path):
    path = tmp_path / "patch.unsay"
    patched[3].save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(unsay.FormatError, match=r"patch\.unsay"):
        unsay.Delta.open(path)
    path.write_bytes(b"not a delta at all")
    with pytest.raises(unsay.FormatError, match=r"patch\.unsay"):
        unsay.Delta.open(path)
    with pytest.raises(unsay.NotFoundError):
        unsay.Delta.open(tmp_path / "absent.unsay")


def test_a_delta_without_commit_leads_to_the_trained_weights(model, flagged):
    text, output, marks = flagged
    with model.patch(learning_rate=1e-3) as patch:
        patch.add(text, output, marks=marks)
        patch.step()
        delta = patch.delta()
        before = model.fingerprint()
        with model.clone() as twin:
            twin.apply(delta)
            assert twin.fingerprint() == delta.info.after != before
        assert model.fingerprint() == before


def test_a_closed_delta_says_so(patched):
    model, _, _, delta = patched
    delta.close()
    delta.close()
    with pytest.raises(ValueError, match="the delta is closed"):
        model.revert(delta)
    assert repr(delta) == "Delta(closed)"


@pytest.mark.parametrize("is_main", [True, False], ids=["in parts", "in one call"])
def test_scores_of_many_are_of_one_snapshot_while_a_delta_comes_and_goes(patched, is_main):
    model, _, _, delta = patched
    ended = threading.Event()
    changes = []

    def change():
        while not ended.is_set():
            model.revert(delta)
            model.apply(delta)
            changes.append(1)

    scored = []

    def score():
        ids = [5, 9, 33, 12, 1]
        # Ten groups of what the library runs together.
        scored.extend(model.score([ids] * 4096, [ids] * 4096))

    changing, scoring = threading.Thread(target=change), threading.Thread(target=score)
    changing.start()
    if is_main:
        score()
    else:
        scoring.start()
        scoring.join()
    ended.set()
    changing.join()
    assert len(changes) > 1
    assert len({tuple(each.log_probs) for each in scored}) == 1
