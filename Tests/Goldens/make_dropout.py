#!/usr/bin/env python3
"""Writes dropout.json: the loss and gradient norm of one FF step with dropout, by transformers.

transformers' own dropout is replaced, at every place where T5 has one, by the masks that
the library draws: a hash of seed, step, example, place and index (Sources/T5/DropoutSite.swift,
Sources/CKernels/dropout.inc.h), written down again here. Needs torch, transformers, onnx and
sentencepiece.
"""

import json
from pathlib import Path

import checkpoint
import numpy as np
import torch
from decoding import forced_logits
from losses import forward_forward, mean_per_marked_token
from make_training import batch, example_logits, joined

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "Models"
MASK = (1 << 64) - 1
EMBEDDING, SELF, SELF_OUT, CROSS, CROSS_OUT, ACTIVATION, DENSE_OUT, STATES = range(8)


def mixed(key, other):
    z = (key + (other + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def factors(key, count, rate):
    """0, or 1 / (1 - rate), for `count` elements."""
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) ^ np.uint32(key & 0xFFFFFFFF)
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, None)):
        h ^= h >> np.uint32(shift)
        if factor:
            h *= np.uint32(factor)
    h += np.uint32(key >> 32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
        h ^= h >> np.uint32(shift)
        if factor:
            h *= np.uint32(factor)
    threshold = np.uint32(min(rate * 2**32, 2**32 - 1))
    return np.where(h >= threshold, np.float32(1 / (1 - rate)), np.float32(0))


class Masks:
    """Puts our masks in place of the dropout of a model."""

    def __init__(self, model, rate):
        self.rate, self.key = rate, 0
        for is_decoder, stack in ((False, model.encoder), (True, model.decoder)):
            self.stack(stack, is_decoder)
        torch.nn.functional.dropout = self.attention

    def stack(self, stack, is_decoder):
        calls = []
        stack.register_forward_pre_hook(lambda *_: calls.clear())

        def around(x):
            calls.append(1)
            return self.drop(x, is_decoder, 0, EMBEDDING if len(calls) == 1 else STATES)

        stack.dropout.forward = around
        for index, block in enumerate(stack.block):
            layers = list(block.layer)
            sites = [(SELF, SELF_OUT), (CROSS, CROSS_OUT)][: len(layers) - 1]
            for layer, (weights, out) in zip(layers, sites):
                own = layer.SelfAttention if weights == SELF else layer.EncDecAttention
                own.register_forward_pre_hook(
                    lambda *_, place=(is_decoder, index, weights): setattr(self, "place", place)
                )
                layer.dropout.forward = lambda x, out=out, index=index: self.drop(
                    x, is_decoder, index, out
                )
            dense = layers[-1]
            dense.dropout.forward = lambda x, index=index: self.drop(
                x, is_decoder, index, DENSE_OUT
            )
            dense.DenseReluDense.dropout.forward = lambda x, index=index: self.drop(
                x, is_decoder, index, ACTIVATION
            )

    def place_key(self, is_decoder, block, site):
        return mixed(self.key, (int(is_decoder) << 32) | block << 8 | site)

    def drop(self, x, is_decoder, block, site):
        key = mixed(self.place_key(is_decoder, block, site), 0)
        return x * torch.tensor(factors(key, x.numel(), self.rate)).reshape(x.shape)

    def attention(self, weights, p=0.0, training=False):
        key = self.place_key(*self.place)
        heads = [
            torch.tensor(factors(mixed(key, head), weights[0, head].numel(), self.rate))
            for head in range(weights.shape[1])
        ]
        return weights * torch.stack(heads).reshape(weights.shape)


def main():
    results = {}
    seed, rate, alpha = 9, 0.3, 1.5
    for family in ("v10", "v11"):
        folder = MODELS / f"tiny-{family}"
        inputs, outputs, marks = batch(folder)
        frozen = checkpoint.load(f"{folder}-reference", torch.float32)
        reference = torch.cat([forced_logits(frozen, i, o) for i, o in zip(inputs, outputs)])
        model = checkpoint.load(folder, torch.float32)
        original = torch.nn.functional.dropout
        masks = Masks(model, rate)
        step = mixed(mixed(seed, 0x64726F70), 1)
        logits = []
        for index, (i, o) in enumerate(zip(inputs, outputs)):
            masks.key = mixed(step, index)
            logits.append(example_logits(model, i, o))
        torch.nn.functional.dropout = original
        flat = torch.tensor(joined(marks))
        losses = forward_forward(
            torch.cat(logits), reference, torch.tensor(joined(outputs)), flat, alpha
        )
        loss = mean_per_marked_token(losses, flat)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        results[family] = {
            "seed": seed,
            "dropout": rate,
            "alpha": alpha,
            "loss": float(loss.detach()),
            "gradient_norm": float(norm),
        }
    (HERE / "dropout.json").write_text(json.dumps(results, indent=1) + "\n")
    print(results)


if __name__ == "__main__":
    main()
