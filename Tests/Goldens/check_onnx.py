#!/usr/bin/env python3
"""Checks that onnxruntime, running the committed ONNX files, agrees with the goldens.

Decodes each golden input greedily with the key-value cache, as Optimum would, and compares
ids and log-probabilities. debsum's graphs compute in float16 there, so a near-tie may fall
the other way; the tiny models must agree. Needs onnxruntime and numpy.

    python3 check_onnx.py
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
DEBSUM = HERE.parents[1] / "models/debsum"
END = 1


class Model:
    """An encoder and a decoder with a cache: merged, or in two files."""

    def __init__(self, folder):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1

        def session(name):
            return onnxruntime.InferenceSession(folder / f"{name}.onnx", options)

        config = json.loads((folder / "config.json").read_text())
        self.heads, self.d_kv = config["num_heads"], config["d_kv"]
        self.encoder = session("encoder_model")
        self.is_merged = (folder / "decoder_model_merged.onnx").exists()
        self.first = session("decoder_model_merged" if self.is_merged else "decoder_model")
        self.later = self.first if self.is_merged else session("decoder_with_past_model")

    def run(self, session, feeds, cache):
        names = [i.name for i in session.get_inputs()]
        is_first = not cache
        if self.is_merged:
            feeds["use_cache_branch"] = np.array([not is_first])
        empty = np.zeros((1, self.heads, 0, self.d_kv), np.float32)
        for name in names:
            if name.startswith("past_key_values."):
                feeds[name] = cache.get(name.removeprefix("past_key_values."), empty)
        outputs = session.run(None, {n: v for n, v in feeds.items() if n in names})
        for output, value in zip(session.get_outputs(), outputs):
            kind = output.name.removeprefix("present.")
            if kind != output.name and (is_first or ".decoder." in kind):
                cache[kind] = value
        return outputs[0][0, -1].astype(np.float64)

    def greedy(self, input_ids, max_new_tokens):
        ids = np.array([input_ids], dtype=np.int64)
        mask = np.ones_like(ids)
        states = self.encoder.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        written, log_probs, cache = [], [], {}
        while len(written) < max_new_tokens and END not in written:
            logits = self.run(
                self.later if written else self.first,
                {
                    "input_ids": np.array([written[-1:] or [0]], dtype=np.int64),
                    "encoder_hidden_states": states,
                    "encoder_attention_mask": mask,
                },
                cache,
            )
            written.append(int(logits.argmax()))
            top = logits.max()
            log_probs.append(-np.log(np.exp(logits - top).sum()))
        return written, log_probs


def goldens():
    """(name, folder, input ids, new tokens at most, greedy ids, log-probabilities) of each."""
    for family in ("v10", "v11"):
        arrays = np.load(HERE / f"outputs_{family}.npz")
        ends = np.cumsum(arrays["greedy_lengths"])
        for row, (end, length) in enumerate(zip(ends, arrays["greedy_lengths"])):
            input_ids = arrays["input_ids"][row, : arrays["input_lengths"][row]]
            yield (
                f"tiny-{family}",
                HERE.parent / f"Models/tiny-{family}",
                input_ids.tolist(),
                24,
                arrays["greedy_ids"][row, :length].tolist(),
                arrays["log_probs"][end - length : end],
            )
    for line in (HERE / "debsum_reference.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield "debsum", DEBSUM, row["input_ids"], 32, row["greedy_ids"], row["log_probs"]


def main():
    models, differing, worst, count = {}, {}, {}, {}
    for name, folder, input_ids, most, ids, log_probs in goldens():
        if name not in models:
            models[name] = Model(folder)
        found, found_log_probs = models[name].greedy(input_ids, most)
        count[name] = count.get(name, 0) + 1
        differing[name] = differing.get(name, 0) + (found != ids)
        if found == ids:
            gap = float(np.abs(np.array(found_log_probs) - log_probs).max())
            worst[name] = max(worst.get(name, 0.0), gap)
    for name in count:
        print(
            f"{name}: {differing[name]} of {count[name]} outputs differ; "
            f"log-probabilities within {worst.get(name, 0.0):.1e}"
        )
    sys.exit(any(differing[name] for name in count if name != "debsum"))


if __name__ == "__main__":
    main()
