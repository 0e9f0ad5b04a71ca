#!/usr/bin/env python3
"""Measures opening, generating and training on this machine: the best of some runs."""

import argparse
import json
import resource
from pathlib import Path

import unsay
from measuring import best

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/debsum")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()

    with open(options.model / "held_out.jsonl", encoding="utf-8") as lines:
        texts = [json.loads(line)["input"] for line in lines][:32]
    print(unsay.build_info())
    opening = best(lambda: unsay.open(options.model, threads=options.threads), options.runs)
    print(f"open {1000 * opening:26.0f} ms")
    model = unsay.open(options.model, threads=options.threads)
    for size in (1, 8, 32):
        outputs = model.generate(texts[:size], max_new_tokens=32)
        tokens = sum(len(output.ids) for output in outputs)
        seconds = best(lambda n=size: model.generate(texts[:n], max_new_tokens=32), options.runs)
        print(f"generate, batch of {size:2} {tokens / seconds:10.0f} tokens/s")

    outputs = model.generate(texts, max_new_tokens=32)
    for size in (8, 32):
        with model.patch(batch_size=size) as patch:
            for text, output in zip(texts, outputs):
                patch.add(text, output, marks=[-1] + [1] * (len(output.ids) - 1))
            patch.step()
            seconds = best(patch.step, options.runs)
            print(f"training step, {size:2} examples {1000 * seconds:8.0f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak resident memory {peak:12.0f} MB")


if __name__ == "__main__":
    main()
