#!/usr/bin/env python3
"""Writes and marks outputs for a large corpus on the processors of a Ray cluster.

    python3 mark_corpus.py models/debsum inputs.txt simple marked.jsonl --workers 2

inputs.txt holds an input a line. Each line of marked.jsonl is an input with its output, as
ids, and the marks of what the phrase matches, null where it matches nothing: what
`Patch.add(input, ids, marks=marks)` takes. Inputs go out in batches, so that memory does
not grow with the corpus. Needs ray.
"""

import argparse
import itertools
import json
import sys
from typing import Any, Iterator, List

import ray
import unsay


@ray.remote(num_cpus=1)
class Worker:
    """One process with a model of its own."""

    def __init__(self, folder: str, phrase: str, max_new_tokens: int) -> None:
        self.model = unsay.open(folder, threads=1)
        self.phrase, self.max_new_tokens = phrase, max_new_tokens

    def mark(self, texts: List[str]) -> List[Any]:
        outputs = self.model.generate(texts, max_new_tokens=self.max_new_tokens)
        marked = []
        for text, output in zip(texts, outputs):
            marks = unsay.marks(self.model, output, avoid=[self.phrase])
            marks = marks if -1 in marks else None
            marked.append({"input": text, "output": output.ids, "marks": marks})
        return marked


def batches(path: str, size: int) -> Iterator[List[str]]:
    with open(path, encoding="utf-8") as file:
        lines = (line.rstrip("\n") for line in file)
        while batch := list(itertools.islice(lines, size)):
            yield batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("phrase")
    parser.add_argument("marked")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    options = parser.parse_args()
    ray.init(
        num_cpus=options.workers, include_dashboard=False, log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": ":".join(path for path in sys.path if path)}},
    )  # fmt: skip
    workers = [
        Worker.remote(options.model, options.phrase, options.max_new_tokens)
        for _ in range(options.workers)
    ]
    pool = ray.util.ActorPool(workers)
    count = flagged = 0
    with open(options.marked, "w", encoding="utf-8") as file:
        # In the order of the inputs; a batch goes out as soon as a worker is free.
        work = batches(options.inputs, options.batch_size)
        for marked in pool.map(lambda worker, batch: worker.mark.remote(batch), work):
            for line in marked:
                file.write(json.dumps(line) + "\n")
                count += 1
                flagged += line["marks"] is not None
    ray.shutdown()
    print(f"{count} outputs, {flagged} with {options.phrase!r}")


if __name__ == "__main__":
    main()
