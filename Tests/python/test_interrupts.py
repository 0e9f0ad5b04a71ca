"""Ctrl-C during calls that take long."""

import os
import signal
import threading
import time

import pytest
import unsay

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
