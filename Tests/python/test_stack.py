"""Deltas one on another: listed, taken back from the top, made one, done again elsewhere."""

import threading
import time

import numpy
import pytest
import unsay
from conftest import FIXTURES, MODELS

FREE = {"scope": "all", "max_guard_kl": 1000.0, "max_guard_flips": 1.0, "learning_rate": 1e-3}


@pytest.fixture
def tiny():
    with unsay.open(MODELS / "tiny-v10", threads=2) as model:
        yield model


def change(model, seed, **options):
    with model.patch(seed=seed, **{**FREE, **options}) as patch:
        patch.add([5 + seed, 9, 1], [7 + seed, 8, 1], marks=[-1, 1, 1])
        for _ in range(3):
            patch.step()
        patch.commit()
        return patch.delta()


KINDS = [{}, {"lora_rank": 2}, {"scope": "tokens"}, {"optimizer": "sgd"}, {"scope": "decoder"}]


def test_five_changes_come_off_in_turn_to_the_bit(tiny):
    prints, deltas = [tiny.fingerprint()], []
    for seed, options in enumerate(KINDS):
        deltas.append(change(tiny, seed, **options))
        prints.append(tiny.fingerprint())
    assert [info.after for info in tiny.applied] == prints[1:]
    assert [info.before for info in tiny.applied] == prints[:-1]
    with pytest.raises(unsay.MismatchError):
        tiny.revert(deltas[2])
    for expected in reversed(prints[:-1]):
        tiny.revert()
        assert tiny.fingerprint() == expected
    assert tiny.applied == []
    with pytest.raises(unsay.StateError, match="nothing is applied"):
        tiny.revert()
    for delta, expected in zip(deltas, prints[1:]):
        tiny.apply(delta)
        assert tiny.fingerprint() == expected
    assert [info.after for info in tiny.applied] == prints[1:]


def test_several_become_one(tiny, tmp_path):
    before = tiny.fingerprint()
    deltas = [change(tiny, seed, **options) for seed, options in enumerate(KINDS)]
    after = tiny.fingerprint()
    whole = tiny.squash(deltas)
    assert (whole.info.before, whole.info.after) == (before, after)
    whole.save(tmp_path / "whole.unsay")
    read = unsay.Delta.open(tmp_path / "whole.unsay")
    tiny.revert(read)
    assert tiny.fingerprint() == before
    again = tiny.squash(deltas)
    assert again.info == whole.info
    tiny.apply(again)
    assert tiny.fingerprint() == after
    assert len(whole.metadata["squashed"]) == 5
    with pytest.raises(unsay.MismatchError, match="follow"):
        tiny.squash([deltas[0], deltas[2]])
    with pytest.raises(unsay.MismatchError, match="neither"):
        tiny.squash(deltas[1:3])
    with pytest.raises(unsay.ArgumentError):
        tiny.squash([])


def test_provenance_is_in_the_file(tiny):
    first = change(tiny, 0)
    second = change(tiny, 1, loss="rr", scope=["decoder.*"], optimizer="sgd", momentum=0.5)
    assert first.metadata["applied_before"] == [first.info.after]
    found = second.metadata
    assert found["loss"] == "rr" and found["tensors"] == ["decoder.*"]
    assert found["optimizer"] == "sgd" and found["momentum"] == 0.5
    assert found["steps"] == 3 and len(found["data_sha256"]) == 64
    assert found["library"].startswith("unsay ")
    assert "examples" not in found


def test_a_delta_with_its_examples_does_the_same_elsewhere(tiny):
    with unsay.open(MODELS / "tiny-v10-reference") as other:
        plain = change(tiny, 0)
        with pytest.raises(unsay.StateError, match="examples"):
            other.rebase(plain)
        with pytest.raises(unsay.MismatchError):
            other.apply(plain)
        with tiny.patch(keep_examples=True, alpha=3.0, **FREE) as patch:
            patch.add([5, 9, 1], [7, 8, 1], marks=[-1, 1, 0], also_avoid={1: [12]}, weight=2.0)
            patch.hold_out([6, 9, 1], [7, 1], marks=[-1, 1])
            patch.guard([([9, 9, 1], [8, 1])])
            patch.step()
            delta = patch.delta()
            expected = patch.evaluate()
        with tiny.rebase(delta) as patch:
            assert patch.step().step == 1
            found = patch.evaluate()
            assert found == expected
        with other.rebase(delta) as patch:
            before = patch.evaluate().avoid_p_after
            for _ in range(5):
                patch.step()
            assert patch.evaluate().avoid_p_after < before


def test_a_delta_of_the_first_version_is_still_read(tiny):
    delta = unsay.Delta.open(FIXTURES / "deltas/version-1.unsay")
    before = tiny.fingerprint()
    assert delta.info.before == before
    tiny.apply(delta)
    assert tiny.fingerprint() == delta.info.after != before
    tiny.revert(delta)
    assert tiny.fingerprint() == before


def test_a_delta_of_factors_in_version_2_is_still_read(tiny):
    delta = unsay.Delta.open(FIXTURES / "deltas/version-2.unsay")
    before = tiny.fingerprint()
    tiny.apply(delta)
    assert tiny.fingerprint() == delta.info.after
    tiny.revert()
    assert tiny.fingerprint() == before


def test_commits_whose_delta_nobody_asked_for_are_listed_by_fingerprint(tiny):
    before = tiny.fingerprint()
    with tiny.patch(**FREE) as patch:
        patch.add([5, 9, 1], [7, 8, 1], marks=[-1, 1, 1])
        patch.step()
        patch.commit()
        assert tiny.applied[0].before == before and tiny.applied[0].changed_count == 0
        with pytest.raises(unsay.StateError, match="delta"):
            tiny.revert()
        delta = patch.delta()
    assert tiny.applied == [delta.info]
    twin = tiny.clone()
    twin.revert()
    assert (twin.fingerprint(), len(tiny.applied)) == (before, 1)
    assert numpy.array(twin.tensor("shared.weight")).any()


def test_a_list_of_changes_is_of_one_moment(tiny):
    """Two threads list while one takes everything back and applies it again, over and over.

    Mutation that this caught: to count, then to ask for each by its index.
    """
    prints, deltas = [tiny.fingerprint()], []
    for seed in range(20):  # More than one call has room for at first.
        deltas.append(change(tiny, seed, optimizer="sgd"))
        prints.append(tiny.fingerprint())
    ended, wrong, lengths = threading.Event(), [], set()

    def read():
        while not ended.is_set():
            try:
                listed = tiny.applied
                lengths.add(len(listed))
                if [prints[0], *(info.after for info in listed)] != prints[: len(listed) + 1]:
                    wrong.append(f"no state that there was: {len(listed)} changes")
            except Exception as error:
                wrong.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 1.5
    try:
        while time.monotonic() < until:
            for _ in deltas:
                tiny.revert()
            for delta in deltas:
                tiny.apply(delta)
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(lengths) > 5 and max(lengths) > 16, lengths


def test_two_threads_take_changes_back_until_none_is_left(tiny):
    """The last change is whichever is the last when its turn comes."""
    first = tiny.fingerprint()
    for seed in range(12):
        change(tiny, seed, optimizer="sgd")
    refused = []

    def take_back():
        try:
            for _ in range(6):
                tiny.revert()
        except Exception as error:
            refused.append(repr(error))

    threads = [threading.Thread(target=take_back) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == []
    assert tiny.applied == [] and tiny.fingerprint() == first
