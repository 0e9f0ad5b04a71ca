#!/usr/bin/env python3
"""Writes optimizers.npz: twenty steps of AdamW and SGD by PyTorch, of Adafactor by optax.

Three weights, a large matrix (which Adafactor factors), a small one and a vector; gradients
by a formula, so that nobody has to store them. Adafactor's settings are T5X's. Needs torch,
jax and optax.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import torch

HERE = Path(__file__).resolve().parent
SHAPES = {"large": (160, 144), "small": (40, 24), "vector": (24,)}
STEPS = 20


def values(shape, seed):
    """Numbers of about the size of weights, the same everywhere."""
    index = np.arange(np.prod(shape), dtype=np.float64)
    return (np.sin(index * 12.9898 + seed * 78.233) * 0.1).astype(np.float32).reshape(shape)


def gradients(shape, step):
    return values(shape, 100 + step) * np.float32(10.0 ** (step % 3 - 2))


def by_torch(make):
    weights = {n: torch.tensor(values(s, i)) for i, (n, s) in enumerate(SHAPES.items())}
    optimizer = make(list(weights.values()))
    for step in range(1, STEPS + 1):
        for name, shape in SHAPES.items():
            weights[name].grad = torch.tensor(gradients(shape, step))
        optimizer.step()
    return {name: weight.numpy() for name, weight in weights.items()}


def by_optax():
    weights = {n: jnp.asarray(values(s, i)) for i, (n, s) in enumerate(SHAPES.items())}
    optimizer = optax.adafactor(
        1e-2,
        min_dim_size_to_factor=128,
        decay_rate=0.8,
        clipping_threshold=1.0,
        multiply_by_parameter_scale=True,
        momentum=None,
        weight_decay_rate=None,
    )
    state = optimizer.init(weights)
    for step in range(1, STEPS + 1):
        grads = {n: jnp.asarray(gradients(s, step)) for n, s in SHAPES.items()}
        updates, state = optimizer.update(grads, state, weights)
        weights = optax.apply_updates(weights, updates)
    return {name: np.asarray(weight) for name, weight in weights.items()}


def main():
    results = {
        "adamw": by_torch(lambda w: torch.optim.AdamW(w, lr=1e-2, weight_decay=0.0)),
        "sgd": by_torch(lambda w: torch.optim.SGD(w, lr=1e-2, momentum=0.9)),
        "adafactor": by_optax(),
    }
    np.savez_compressed(
        HERE / "optimizers.npz",
        **{
            f"{kind}/{name}": weight
            for kind, all in results.items()
            for name, weight in all.items()
        },
    )


if __name__ == "__main__":
    main()
