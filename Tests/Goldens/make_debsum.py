#!/usr/bin/env python3
"""Writes debsum_reference.jsonl and debsum_logits.npz: what transformers makes of models/debsum.

The committed float16 weights are read from the ONNX files and run in float32.

    python3 make_debsum.py INPUTS

INPUTS is a JSON lines file of input, input_ids and the greedy_ids of the float32 model;
the debsum_reference.jsonl made before serves (its greedy_ids_float32 are kept). Needs
torch, transformers and onnx; takes two minutes.
"""

import json
import sys
from pathlib import Path

import checkpoint
import numpy as np
import torch
from decoding import encoded, forced_logits, generated, scored

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "models/debsum"
MAX_NEW_TOKENS = 32
FULL = 4  # inputs whose whole logits are kept
SHORTEST, LONGEST = 5, 9  # output ids of those, so that the file stays small


def rounded(values):
    return [round(float(value), 6) for value in values]


def main():
    model = checkpoint.load(MODEL)
    full = {}
    with open(HERE / "debsum_reference.jsonl.new", "w", encoding="utf-8") as file:
        for index, row in enumerate(checkpoint.load_lines(sys.argv[1])):
            input_ids = row["input_ids"]
            greedy = generated(model, input_ids, MAX_NEW_TOKENS)
            beam = generated(model, input_ids, MAX_NEW_TOKENS, num_beams=4)
            logits = forced_logits(model, input_ids, greedy)
            log_p, margins = scored(logits, greedy)
            beam_log_p, _ = scored(forced_logits(model, input_ids, beam), beam)
            file.write(
                json.dumps(
                    {
                        "input": row["input"],
                        "input_ids": input_ids,
                        "greedy_ids": greedy,
                        "log_probs": rounded(log_p),
                        "margins": rounded(margins),
                        "beam4_ids": beam,
                        "beam4_log_prob": round(float(beam_log_p.double().sum()), 5),
                        "greedy_ids_float32": row.get("greedy_ids_float32", row["greedy_ids"]),
                    },
                    ensure_ascii=False,
                )
                + "\n"
            )
            if len(full) < FULL and index % 7 == 0 and SHORTEST <= len(greedy) <= LONGEST:
                full[index] = (encoded(model, input_ids), logits)
    (HERE / "debsum_reference.jsonl.new").rename(HERE / "debsum_reference.jsonl")
    arrays = {"rows": np.array(list(full), dtype=np.int32)}
    for index, (states, logits) in full.items():
        arrays[f"{index}/encoder_output"] = states.numpy()
        arrays[f"{index}/logits"] = logits.numpy()
    np.savez(HERE / "debsum_logits.npz", **arrays)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
