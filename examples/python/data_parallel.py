#!/usr/bin/env python3
"""Trains one patch on the ranks of an MPI job, each with its share of the examples.

    mpirun -np 2 python3 data_parallel.py models/debsum examples.tsv simple 10

examples.tsv holds an input and an output a line, with a tab between; the phrase is avoided
where an output has it. The losses are those that one rank has with all lines in one
batch. Needs mpi4py and numpy.
"""

import sys

import numpy
import unsay
from mpi4py import MPI

RANKS = MPI.COMM_WORLD


def share(gradients: unsay.Gradients) -> None:
    """Replaces gradients and loss by their means over all ranks, each rank's counting as
    much as the tokens it is a mean over."""
    weight = RANKS.allreduce(gradients.weight)
    values = numpy.asarray(gradients.values)
    if not gradients.is_sum:
        values *= gradients.weight / weight if weight else 0.0
    RANKS.Allreduce(MPI.IN_PLACE, values)
    total = RANKS.allreduce(gradients.loss * gradients.weight)
    gradients.loss = total / weight if weight else 0.0
    gradients.weight = weight


def main(folder: str, examples: str, phrase: str, steps: str) -> None:
    with open(examples, encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t") for line in file]
    model = unsay.open(folder, threads=1)
    # The same weights on every rank, whatever its share of the examples avoids.
    options = {"scope": "all", "batch_size": 1 << 20, "micro_batch_size": 8}
    with model.patch(on_gradients=share, **options) as patch:
        for input, output in pairs[RANKS.rank :: RANKS.size]:
            has_phrase = phrase in output.split()
            patch.add(input, output, avoid=[phrase] if has_phrase else None)
        for _ in range(int(steps)):
            step = patch.step()
            if RANKS.rank == 0:
                print(f"step {step.step}: loss {step.loss:.7f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
