"""Ctrl-C during calls that take long."""

import os
import signal
import threading
import time

import pytest
import unsay
from unsay import _parts

LONG = dict(min_new_tokens=4000, max_new_tokens=4000)
TEXTS = ["summarize: a small library for reading files", "summarize: a tool for mail"]


@pytest.fixture
def python_handler():
    """Python's own handler, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(call, seconds=0.3):
    """Presses Ctrl-C while `call` runs; how long it went on."""
    pressed = []

    def press():
        time.sleep(seconds)
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return time.perf_counter() - pressed[0]


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(log_probs=False),
        dict(prompt_lookup_num_tokens=4),
        dict(num_beams=2),
        dict(num_beams=4, num_beam_groups=2, diversity_penalty=1.0),
        dict(do_sample=True, num_return_sequences=3),
        dict(on_token=lambda *_: None),
        dict(logits_processor=lambda view: None),
        dict(progress=lambda done, total: None),
    ],
    ids=lambda options: next(iter(options), "greedy"),
)
def test_ctrl_c_stops_a_generation(debsum, python_handler, options):
    assert interrupted(lambda: debsum.generate(TEXTS, **LONG, **options)) < 5
    again = debsum.generate(TEXTS[0], max_new_tokens=8)
    assert again.ids == debsum.generate(TEXTS[0], max_new_tokens=8).ids


def test_ctrl_c_stops_a_stream(debsum, python_handler):
    assert interrupted(lambda: list(debsum.stream(TEXTS[0], **LONG))) < 5


def test_ctrl_c_stops_the_outputs_of_a_report(debsum, python_handler):
    with debsum.patch() as patch:
        patch.add(TEXTS[0], "a simple library", avoid=["simple"])
        assert interrupted(lambda: patch.report(TEXTS, **LONG)) < 5


@pytest.fixture
def parts(monkeypatch):
    """Where the parts of a call begin; `parts.press` of them are followed by Ctrl-C."""

    class Parts(list):
        press = None

    begins = Parts()
    end_of_part = _parts.end_of_part

    def noted(sizes, begin, budget):
        begins.append(begin)
        if len(begins) == begins.press:
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
        return end_of_part(sizes, begin, budget)

    monkeypatch.setattr(_parts, "end_of_part", noted)
    return begins


@pytest.mark.parametrize("name", ["score", "embed"])
def test_ctrl_c_stops_between_parts(debsum, python_handler, parts, name):
    ids = debsum.encode(" ".join(TEXTS * 20)).ids
    inputs = [ids] * 3000
    parts.press = 3
    with pytest.raises(KeyboardInterrupt):
        debsum.score(inputs, inputs) if name == "score" else debsum.embed(inputs)
    assert 3 <= len(parts) <= 5
    assert parts[-1] < len(inputs) / 2


def test_many_inputs_have_the_bits_of_one_call(debsum, python_handler, parts, monkeypatch):
    monkeypatch.setattr(_parts, "FIRST_IDS", 20)
    outputs = ["a tool", "a small library for files", debsum.encode("mail").ids] * 9
    inputs = [TEXTS[0], "mail", debsum.encode(TEXTS[1]).ids] * 9

    def told():
        scored = debsum.score(inputs, outputs)
        return (
            [(each.ids, each.log_probs, each.text, each.score) for each in scored],
            debsum.embed(inputs).tobytes(),
            debsum.embed(inputs, normalize=False).tobytes(),
        )

    in_parts = told()
    assert len(parts) > 6
    parts.clear()
    whole = []
    worker = threading.Thread(target=lambda: whole.append(told()))
    worker.start()
    worker.join()
    assert not parts
    assert in_parts == whole[0]


def test_a_wrong_input_is_named_by_its_place_among_all(debsum, python_handler, monkeypatch):
    monkeypatch.setattr(_parts, "FIRST_IDS", 1)
    inputs = [[3, 1]] * 5 + [[3, 99_999_999]] + [[3, 1]]
    with pytest.raises(unsay.ArgumentError, match=r"inputs\[5\]"):
        debsum.embed(inputs)
    with pytest.raises(unsay.ArgumentError, match=r"outputs\[5\]"):
        debsum.score([[3, 1]] * 7, inputs)


@pytest.fixture
def long_patch(debsum):
    """A patch with a guard that takes long to measure."""
    with debsum.patch(max_guard_kl=1.0) as patch:
        patch.add(TEXTS[0], "a simple library", avoid=["simple"])
        patch.step()
        ids = debsum.encode(" ".join(TEXTS * 20)).ids
        patch.guard([(ids, ids)] * 1000)
        yield patch


MEASURING = ["evaluate", "commit", "report", "run", "sweep"]


@pytest.mark.parametrize("name", MEASURING)
def test_ctrl_c_stops_measuring(long_patch, debsum, python_handler, name):
    before = debsum.fingerprint()
    assert interrupted(getattr(long_patch, name)) < 5
    assert debsum.fingerprint() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_ctrl_c_stops_a_plan(debsum, python_handler):
    with debsum.patch() as patch:
        ids = debsum.encode(" ".join(TEXTS * 20)).ids
        marks = [-1] + [1] * (len(ids) - 1)
        patch._session.add("session_add", [ids] * 1000, [ids] * 1000, marks)
        assert interrupted(patch.plan) < 5


def test_a_wakeup_file_of_the_hosts_hears_of_ctrl_c(long_patch, python_handler):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    try:
        interrupted(long_patch.evaluate)
        assert signal.SIGINT in os.read(reading, 64)
    finally:
        assert signal.set_wakeup_fd(-1) == writing
        os.close(reading)
        os.close(writing)


def test_measuring_interrupted_by_somebody_elses_making_is_a_cancelled_error(
    long_patch, python_handler
):
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(unsay.CancelledError):
        long_patch.evaluate()


def test_an_interrupt_of_somebody_elses_making_is_a_cancelled_error(debsum, python_handler):
    calls = []
    signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(unsay.CancelledError):
        debsum.generate(TEXTS, **LONG)
    assert calls == [1]


@pytest.mark.parametrize("options", [dict(), dict(log_probs=False), dict(num_beams=3)], ids=str)
def test_listening_for_ctrl_c_changes_no_output(debsum, python_handler, options):
    outputs = [debsum.generate(TEXTS, max_new_tokens=16, **options)]
    worker = threading.Thread(
        target=lambda: outputs.append(debsum.generate(TEXTS, max_new_tokens=16, **options))
    )
    worker.start()
    worker.join()
    told = [[(each.ids, each.log_probs, each.text) for each in few] for few in outputs]
    assert told[0] == told[1]
