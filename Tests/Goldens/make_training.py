#!/usr/bin/env python3
"""Writes training_{v10,v11}.npz: losses, gradients and ten steps, by PyTorch's autograd.

One batch of four ragged examples on Tests/Models/tiny-{v10,v11}, no dropout, float32:

    likelihood     -log p of every marked token
    ff             q is the untrained model: at first only avoided tokens pull
    ff_reference   q is tiny-*-reference, and alpha is not 1: kept tokens pull too
    ff_sgd         ff by plain gradient descent, in place of AdamW

README.md beside this file lists the keys. Each run is repeated in float64, which says
how far float32 itself can be trusted. Needs torch, transformers, onnx and sentencepiece.
"""

from pathlib import Path

import checkpoint
import numpy as np
import sentencepiece
import torch
from decoding import forced_logits, generated
from losses import forward_forward, likelihood, mean_per_marked_token

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "Models"
TEXTS = HERE.parents[1] / "models/debsum/held_out.jsonl"
STEPS = 10
GRADIENT_CLIP = 1.0


def adamw(weights):
    return torch.optim.AdamW(weights, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def sgd(weights):
    return torch.optim.SGD(weights, lr=2e-3)


RUNS = {  # name: loss, the reference's folder suffix, alpha, optimizer
    "likelihood": (likelihood, "", 1.0, adamw),
    "ff": (forward_forward, "", 1.0, adamw),
    "ff_reference": (forward_forward, "-reference", 1.5, adamw),
    "ff_sgd": (forward_forward, "", 1.0, sgd),
}


def batch(folder):
    """Two of the model's own outputs and two targets from the corpus, with their marks."""
    model = checkpoint.load(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    rows = checkpoint.load_lines(TEXTS)[8:]
    inputs = [[*pieces.encode(r["input"])[: n - 1], 1] for r, n in zip(rows, (7, 19, 41, 12))]
    outputs = [generated(model, ids, max_new_tokens=n) for ids, n in zip(inputs, (6, 9))]
    outputs = [ids if ids[-1] == 1 else [*ids, 1] for ids in outputs]
    outputs += [[*pieces.encode(r["target"])[: n - 1], 1] for r, n in zip(rows[2:], (13, 5))]
    marks = [[1] * len(ids) for ids in outputs]
    # The last token that counts is avoided, in each: where only kept tokens look back at a
    # weight and q is p, its gradient is rounding noise, which AdamW would blow up to a step.
    marks[0][1] = marks[0][-2] = marks[1][0] = marks[1][-2] = -1
    marks[2][4] = marks[2][5] = marks[2][-2] = marks[3][-1] = -1
    marks[0][-1] = marks[1][-1] = marks[2][-1] = marks[2][0] = marks[2][8] = marks[3][0] = 0
    return inputs, outputs, marks


def example_logits(model, input_ids, output_ids):
    start = model.config.decoder_start_token_id
    return model(
        input_ids=torch.tensor([input_ids]),
        decoder_input_ids=torch.tensor([[start, *output_ids[:-1]]]),
    ).logits[0]


def joined(lists):
    return [value for each in lists for value in each]


def train(family, run, examples, dtype):
    """Ten steps on the whole batch; what a step measures is of the weights before it."""
    loss_of, suffix, alpha, optimizer_of = RUNS[run]
    inputs, outputs, marks = examples
    folder = MODELS / f"tiny-{family}"
    model = checkpoint.load(folder, dtype)
    frozen = checkpoint.load(f"{folder}{suffix}", dtype)
    reference = torch.cat([forced_logits(frozen, i, o) for i, o in zip(inputs, outputs)])
    targets = torch.tensor(joined(outputs))
    flat_marks = torch.tensor(joined(marks))
    avoided = flat_marks < 0
    optimizer = optimizer_of(model.parameters())
    result = {name: [] for name in ("losses", "gradient_norms", "avoid_ps")}
    for step in range(STEPS):
        optimizer.zero_grad()
        z = torch.cat([example_logits(model, i, o) for i, o in zip(inputs, outputs)])
        losses = loss_of(z, reference, targets, flat_marks, alpha)
        loss = mean_per_marked_token(losses, flat_marks)
        loss.backward()
        if step == 0:
            result["logits"] = z.detach().clone()
            result["reference_logits"] = reference
            result["token_losses"] = losses.detach()
            for name, weight in model.named_parameters():
                result[f"gradient/{name}"] = weight.grad.clone()
        p = z.detach().softmax(dim=-1).gather(1, targets[:, None])[:, 0]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        result["losses"].append(float(loss.detach()))
        result["gradient_norms"].append(float(norm))
        result["avoid_ps"].append(float(p[avoided].mean()))
        optimizer.step()
    return result


def distance(one, other):
    """The largest difference, relative to the largest value."""
    one, other = torch.as_tensor(one).double(), torch.as_tensor(other).double()
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))


def main():
    for family in ("v10", "v11"):
        examples = batch(MODELS / f"tiny-{family}")
        arrays = {"alpha": np.array([RUNS[run][2] for run in RUNS], dtype=np.float32)}
        names, fillers = ("input_ids", "output_ids", "marks"), (-1, -1, 0)
        for name, rows, filler in zip(names, examples, fillers):
            arrays[name], lengths = checkpoint.padded(rows, filler)
            if name != "marks":
                arrays[name.replace("ids", "lengths")] = lengths
        for run in RUNS:
            result = train(family, run, examples, torch.float32)
            exact = train(family, run, examples, torch.float64)
            for name, value in result.items():
                if run == "ff_sgd" and name not in ("losses", "gradient_norms", "avoid_ps"):
                    continue  # the same as ff's
                arrays[f"{run}/{name}"] = np.asarray(value, dtype=np.float32)
            gap = max(distance(result[k], exact[k]) for k in result if k.startswith("gradient/"))
            arrays[f"{run}/losses_float64"] = np.asarray(exact["losses"], dtype=np.float32)
            print(
                f"{family} {run}: losses {result['losses'][0]:.5f} to {result['losses'][-1]:.5f}; "
                f"from float64: losses {distance(result['losses'], exact['losses']):.1e}, "
                f"gradients {gap:.1e}"
            )
        np.savez(HERE / f"training_{family}.npz", **arrays)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
