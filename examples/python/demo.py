#!/usr/bin/env python3
"""Makes a model unsay a word, and measures that on inputs it was not trained on.

A small T5, trained to summarise Debian package descriptions, is fond of the word
"simple". The demo flags it in some outputs, patches the model, and compares the outputs
for other inputs before and after; then takes the patch back, applies it again, and
saves the patched ONNX folder.

    python3 examples/python/demo.py
"""

import argparse
import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple

import unsay

ROOT = Path(__file__).resolve().parents[2]
MAX_NEW_TOKENS = 32


class Parts(NamedTuple):
    """Held-out inputs by their part in the demo."""

    trained: List[str]
    """Outputs have the word; flagged and trained on."""
    unseen: List[str]
    """Outputs have the word; measured only."""
    guard: List[str]
    """Outputs lack the word; watched during training."""
    others: List[str]
    """Outputs lack the word; measured only."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a model unsay a word, and measure it.")
    parser.add_argument("--model", type=Path, default=ROOT / "models/debsum")
    parser.add_argument("--word", default="simple")
    parser.add_argument("--examples", type=int, default=32, help="outputs to flag")
    parser.add_argument("--guard", type=int, default=32, help="inputs that must not change")
    parser.add_argument("--measure", type=int, default=64, help="inputs of each kind to measure")
    parser.add_argument("--max-steps", type=int, default=60)
    parser.add_argument("--save", type=Path, help="default: build/debsum-without-WORD")
    return parser.parse_args()


def divide(texts: List[str], before: Dict[str, unsay.Output], options, has_word) -> Parts:
    """Splits the inputs by whether their output has the word; half of those are trained on."""
    found = [text for text in texts if has_word(before[text])]
    clean = [text for text in texts if not has_word(before[text])]
    count = min(options.examples, len(found) // 2)
    return Parts(
        trained=found[:count],
        unseen=found[count : count + options.measure],
        guard=clean[: options.guard],
        others=clean[options.guard : options.guard + options.measure],
    )


def share(flags: List[bool]) -> float:
    return sum(flags) / max(1, len(flags))


def say(line: str = "") -> None:
    print(line, flush=True)


def patch_model(model, parts, before, options):
    """Trains away from the word and commits; the run's report and the delta."""
    with model.patch(
        max_avoid_p=0.02,
        max_guard_kl=0.05,
        max_guard_flips=0.05,  # the model is full of near-ties
    ) as patch:
        for text in parts.trained:
            patch.add(text, before[text], avoid=[options.word])
        patch.guard((text, before[text]) for text in parts.guard)
        report = patch.run(
            max_steps=options.max_steps, evaluate_every=4, progress=sys.stderr.isatty()
        )
        patch.commit()
        return report, patch.delta()


def print_table(parts, before, after, has_word, report) -> None:
    def prevalence(texts, outputs):
        return share([has_word(outputs[text]) for text in texts])

    def unchanged(texts):
        return share([before[text].ids == after[text].ids for text in texts])

    evaluation = report.evaluation
    say(f"{'':50}{'before':>9}{'after':>9}")
    for name, texts in (("trained on", parts.trained), ("not trained on", parts.unseen)):
        then, now = prevalence(texts, before), prevalence(texts, after)
        say(f"{f'outputs with the word, {len(texts)} inputs {name}':50}{then:9.1%}{now:9.1%}")
    then, now = evaluation.avoid_p_before, evaluation.avoid_p_after
    say(f"{'probability of the flagged tokens':50}{then:9.1%}{now:9.1%}")
    say(
        f"{f'other outputs unchanged, {len(parts.guard)} guarded':50}{unchanged(parts.guard):18.1%}"
    )
    say(f"{f'other outputs unchanged, {len(parts.others)} not':50}{unchanged(parts.others):18.1%}")
    say(f"{'guard KL, nats per token':50}{evaluation.guard_kl:18.4f}")
    say(f"{f'steps (ended by: {report.ending})':50}{report.steps:18}")
    say(f"{'seconds of training':50}{report.seconds:18.1f}")


def print_pairs(texts, before, after, count=3) -> None:
    for text in texts[:count]:
        say(f"  input   {text[:84]}...")
        say(f"  before  {before[text]}")
        say(f"  after   {after[text]}")
        say()


def prove_reversible(model, delta, first, second, texts, before, after) -> None:
    """Takes the patch back and applies it again; both must be exact."""
    model.revert(delta)
    same = model.generate(texts, max_new_tokens=MAX_NEW_TOKENS)
    reverted = model.fingerprint() == first and same == [before[text] for text in texts]
    model.apply(delta)
    again = model.generate(texts, max_new_tokens=MAX_NEW_TOKENS)
    applied = model.fingerprint() == second and again == [after[text] for text in texts]
    say(f"reverted: weights and {len(texts)} outputs bit for bit as before: {reverted}")
    say(f"applied again: bit for bit as patched: {applied}")
    if not (reverted and applied):
        raise SystemExit("the delta is not exact")


def main() -> None:
    options = arguments()
    started = time.perf_counter()
    whole_word = re.compile(rf"\b{re.escape(options.word)}\b", re.IGNORECASE)

    def has_word(output: unsay.Output) -> bool:
        return whole_word.search(output.text) is not None

    with open(options.model / "held_out.jsonl", encoding="utf-8") as lines:
        texts = [json.loads(line)["input"] for line in lines]
    model = unsay.open(options.model)
    say(f"{options.model.name}: {model.info.parameter_count:,} parameters, {unsay.build_info()}")
    before = dict(zip(texts, model.generate(texts, max_new_tokens=MAX_NEW_TOKENS)))
    parts = divide(texts, before, options, has_word)
    if not parts.trained:
        raise SystemExit(f"the model hardly says {options.word!r} here: nothing to unsay")
    say(f"{len(texts)} held-out inputs; flagging {options.word!r} in {len(parts.trained)} outputs")

    original = model.fingerprint()
    report, delta = patch_model(model, parts, before, options)
    patched = model.fingerprint()
    after = dict(zip(texts, model.generate(texts, max_new_tokens=MAX_NEW_TOKENS)))
    say()
    print_table(parts, before, after, has_word, report)
    say()
    print_pairs(parts.unseen, before, after)

    prove_reversible(model, delta, original, patched, parts.unseen[:16], before, after)
    folder = options.save
    if folder is None:
        folder = ROOT / f"build/{options.model.name}-without-{options.word}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
    model.save(folder)
    say(f"saved to {folder}; {time.perf_counter() - started:.0f} seconds in all")


if __name__ == "__main__":
    main()
