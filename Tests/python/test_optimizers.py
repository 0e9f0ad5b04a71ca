"""Twenty steps of every optimizer, schedule and decay against NumPy, and NumPy against PyTorch
and optax."""

import importlib.util

import numpy
import pytest
import unsay
from conftest import DEBSUM, GOLDENS
from reference_optimizers import OPTIMIZERS, learning_rate

SPEC = importlib.util.spec_from_file_location("make_optimizers", GOLDENS / "make_optimizers.py")
# Weights of every kind: matrices that Adafactor factors, a table that it does not, a vector.
SCOPE = ["decoder.block.0.layer.0.*", "decoder.block.0.layer.2.DenseReluDense.wi"]


def formula(shape, seed):
    """As in make_optimizers.py."""
    index = numpy.arange(numpy.prod(shape), dtype=numpy.float64)
    return (numpy.sin(index * 12.9898 + seed * 78.233) * 0.1).astype(numpy.float32).reshape(shape)


def gradient(shape, step):
    return formula(shape, 100 + step) * numpy.float32(10.0 ** (step % 3 - 2))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_reference_takes_the_steps_of_pytorch_and_optax(kind):
    golden = numpy.load(GOLDENS / "optimizers.npz")
    optimizer = OPTIMIZERS[kind](1e-2)
    weights = {}
    for seed, name in enumerate(("large", "small", "vector")):
        weights[name] = formula(golden[f"{kind}/{name}"].shape, seed).astype(numpy.float64)
    for step in range(1, 21):
        for name, weight in weights.items():
            weights[name] = optimizer.step(name, weight, gradient(weight.shape, step))
        optimizer.steps += 1
    for name, weight in weights.items():
        worst = numpy.abs(weight - golden[f"{kind}/{name}"]).max()
        assert worst < 2e-6, f"{kind} {name}: {worst}"


CASES = [
    ("adamw", {"learning_rate": 1e-3}),
    ("adamw", {"learning_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 5, "decay_steps": 30}),
    ("sgd", {"learning_rate": 1e-2, "momentum": 0.9}),
    ("sgd", {"learning_rate": 1e-2, "momentum": 0.5, "weight_decay": 0.2, "warmup_steps": 3}),
    ("adafactor", {"learning_rate": 1e-2}),
    ("adafactor", {"learning_rate": 1e-2, "schedule": "inverse_sqrt", "warmup_steps": 6}),
    ("adafactor", {"learning_rate": 1e-2, "weight_decay": 0.3, "schedule": "inverse_sqrt"}),
]


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("kind, options", CASES)
def test_twenty_steps_follow_the_reference(kind, options, clip):
    with unsay.open(DEBSUM) as model:
        shapes = {}

        def replace(gradients):
            values = numpy.asarray(gradients.values)
            values[:] = 0
            offset = 0
            for shape in shapes.values():
                count = int(numpy.prod(shape))
                values[offset : offset + count] = gradient(shape, len(taken) + 1).ravel()
                offset += (count + 15) // 16 * 16
            assert offset == values.size

        taken = []
        with model.patch(
            optimizer=kind, scope=SCOPE, gradient_clip=clip, on_gradients=replace,
            max_guard_kl=1000.0, **options,
        ) as patch:  # fmt: skip
            patch.add("summarize: a tool", "a simple tool", avoid=["simple"])
            chosen = ("decoder.block.0.layer.0.", "decoder.block.0.layer.2.DenseReluDense.wi")
            shapes = {t.name: t.shape for t in model.tensors() if t.name.startswith(chosen)}
            original = {name: numpy.array(model.tensor(name)) for name in shapes}
            for _ in range(20):
                taken.append(patch.step())
            with patch.model() as trained:
                found = {name: numpy.array(trained.tensor(name)) for name in shapes}

    rates = {"schedule": "linear", "warmup_steps": 0, "decay_steps": 0}
    rates |= {name: options[name] for name in rates if name in options}
    optimizer = OPTIMIZERS[kind](0.0, decay=options.get("weight_decay", 0.0))
    if "momentum" in options:
        optimizer.momentum = options["momentum"]
    weights = {name: value.astype(numpy.float64) for name, value in original.items()}
    for step in range(1, 21):
        optimizer.rate = learning_rate(step, options["learning_rate"], **rates)
        all = {name: gradient(shape, step).astype(numpy.float64) for name, shape in shapes.items()}
        norm = numpy.sqrt(sum((g**2).sum() for g in all.values()))
        assert taken[step - 1].gradient_norm == pytest.approx(norm, rel=1e-5)
        scale = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        for name, weight in weights.items():
            weights[name] = optimizer.step(name, weight, scale * all[name], original[name])
        optimizer.steps += 1
    for name, weight in weights.items():
        moved = numpy.abs(weight - original[name]).max()
        worst = numpy.abs(weight - found[name]).max()
        # Each step rounds the weight itself.
        rounding = 20 * 2.0**-24 * numpy.abs(weight).max()
        assert worst <= 1e-4 * moved + rounding, f"{kind} {name}: off by {worst}, moved by {moved}"
