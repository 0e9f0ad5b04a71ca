#!/usr/bin/env python3
"""Writes outputs_{v10,v11}.npz: what transformers makes of Tests/Models/tiny-{v10,v11}.

Eight inputs of 3 to 90 ids, each run alone. Rows of different inputs stand one after
another, without padding. Needs torch, transformers, onnx and sentencepiece.
"""

from pathlib import Path

import checkpoint
import numpy as np
import sentencepiece
import torch
from decoding import encoded, forced_logits, generated, scored

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "Models"
TEXTS = HERE.parents[1] / "models/debsum/held_out.jsonl"
MAX_NEW_TOKENS = 24


def outputs(folder):
    model = checkpoint.load(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    inputs = checkpoint.cut_inputs(pieces, checkpoint.load_lines(TEXTS))
    greedy = [generated(model, ids, MAX_NEW_TOKENS) for ids in inputs]
    beam = [generated(model, ids, MAX_NEW_TOKENS, num_beams=4) for ids in inputs]
    logits = [forced_logits(model, i, o) for i, o in zip(inputs, greedy)]
    beam_log_probs = [scored(forced_logits(model, i, o), o)[0] for i, o in zip(inputs, beam)]
    scores = [scored(rows, ids) for rows, ids in zip(logits, greedy)]
    arrays = {
        "encoder_output": torch.cat([encoded(model, ids) for ids in inputs]).numpy(),
        "logits": torch.cat(logits).numpy(),
        "log_probs": torch.cat([log_p for log_p, _ in scores]).numpy(),
        "margins": torch.cat([margin for _, margin in scores]).numpy(),
        "beam4_log_prob": torch.stack([log_p.sum() for log_p in beam_log_probs]).numpy(),
    }
    for name, rows in (("input", inputs), ("greedy", greedy), ("beam4", beam)):
        arrays[f"{name}_ids"], arrays[f"{name}_lengths"] = checkpoint.padded(rows)
    return arrays


def main():
    for family in ("v10", "v11"):
        np.savez(HERE / f"outputs_{family}.npz", **outputs(MODELS / f"tiny-{family}"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
