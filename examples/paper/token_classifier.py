"""A token classifier: a linear head on the states of a T5 encoder.

The library computes the states (`Model.encoder_states`, which is unsay_encoder_states of the C
ABI); the head is trained and run here, in numpy. It learns from comments with marked characters
in the format of Civil Comments Spans, and is an annotator like the others.

    python -m paper.token_classifier models/debsum civil_comments.csv head.npz
"""

import argparse
import io
from pathlib import Path
from typing import Iterable, List, Sequence, Tuple

import numpy
import unsay

from .annotators import Span
from .store import Progress, write_bytes
from .tasks import Spanned
from .tasks import spans as spanned

Array = numpy.ndarray


def labels(model: unsay.Model, text: str, marked: Sequence[Span]) -> Array:
    """1 for each token that shares a character with a marked range; the end has 0."""
    found = numpy.zeros(len(model.encode(text).ids), numpy.float32)
    for index, (begin, end) in enumerate(model.encode(text).spans):
        found[index] = any(begin < stop and start < end for start, stop in marked)
    return found


class Classifier:
    """p(marked | token), from the encoder's state of the token."""

    def __init__(self, mean: Array, scale: Array, weights: Array, bias: float) -> None:
        self.mean, self.scale = mean, scale
        self.weights, self.bias = weights, bias

    def probabilities(self, model: unsay.Model, text: str) -> Array:
        """[tokens of the text, the end included]."""
        states = numpy.asarray(model.encoder_states(text))
        scores = ((states - self.mean) / self.scale) @ self.weights + self.bias
        return numpy.asarray(1 / (1 + numpy.exp(-numpy.clip(scores, -30, 30))))

    def spans(self, model: unsay.Model, text: str, threshold: float = 0.5) -> List[Span]:
        """Runs of tokens at or above the threshold, as characters of the text."""
        if not text.strip():
            return []
        found: List[Span] = []
        p = self.probabilities(model, text)
        for (begin, end), value in zip(model.encode(text).spans, p):
            while begin < end and text[begin].isspace():
                begin += 1
            if value < threshold or begin >= end:
                continue
            if found and text[found[-1][1] : begin].strip() == "":
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
        return found

    def save(self, path: Path) -> None:
        file = io.BytesIO()
        numpy.savez(file, mean=self.mean, scale=self.scale, weights=self.weights, bias=self.bias)
        write_bytes(path, file.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        with numpy.load(path) as file:
            return cls(file["mean"], file["scale"], file["weights"], float(file["bias"]))


def train(
    model: unsay.Model,
    comments: Iterable[Spanned],
    *,
    passes: int = 40,
    rate: float = 0.02,
    decay: float = 1e-3,
    batch_size: int = 512,
    max_ids: int = 512,
    seed: int = 0,
) -> Classifier:
    """Logistic regression by Adam; marked tokens weigh as much as all others together."""
    listed = list(comments)
    states, marked = [], []
    for text, ranges in Progress("encode", len(listed), unit="comments").over(listed):
        if not text.strip():
            continue
        ids = model.encode(text).ids[:max_ids]
        states.append(numpy.asarray(model.encoder_states(ids)).copy())
        marked.append(labels(model, text, ranges)[: len(ids)])
    x, y = numpy.concatenate(states), numpy.concatenate(marked)
    if not 0 < y.mean() < 1:
        raise SystemExit(f"{int(y.sum())} of {len(y)} tokens are marked: nothing to learn from")
    mean, scale = x.mean(0), x.std(0) + 1e-6
    x = (x - mean) / scale
    weight = numpy.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean())).astype(numpy.float32)
    w = numpy.zeros(x.shape[1] + 1, numpy.float32)
    first, second = numpy.zeros_like(w), numpy.zeros_like(w)
    order, count = numpy.random.default_rng(seed), 0
    for _ in range(passes):
        shuffled = order.permutation(len(y))
        for begin in range(0, len(y), batch_size):
            rows = shuffled[begin : begin + batch_size]
            p = 1 / (1 + numpy.exp(-numpy.clip(x[rows] @ w[:-1] + w[-1], -30, 30)))
            error = (p - y[rows]) * weight[rows] / len(rows)
            gradient = numpy.append(x[rows].T @ error + decay * w[:-1], error.sum())
            count += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            step = (first / (1 - 0.9**count)) / (numpy.sqrt(second / (1 - 0.999**count)) + 1e-8)
            w = (w - rate * step).astype(numpy.float32)
    return Classifier(mean, scale, w[:-1], float(w[-1]))


def f1(found: Sequence[Span], expected: Sequence[Span]) -> float:
    """Of the characters of one comment, as the Toxic Spans task scores them."""
    ours = {index for begin, end in found for index in range(begin, end)}
    theirs = {index for begin, end in expected for index in range(begin, end)}
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))


class TokenClassifier:
    """The annotator: a classifier with the model whose encoder it reads."""

    def __init__(self, model: unsay.Model, classifier: Classifier, threshold: float = 0.5) -> None:
        self.model, self.classifier, self.threshold = model, classifier, threshold

    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        return [self.classifier.spans(self.model, text, self.threshold) for text in outputs]


def trained(model: unsay.Model, data: Path, kept: Path, threshold: float) -> TokenClassifier:
    """The annotator of a file of spans; learnt once and kept in `kept`."""
    if not kept.exists():
        train(model, spanned(data)).save(kept)
    return TokenClassifier(model, Classifier.load(kept), threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="comments with a column spans")
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", type=Path, help="as data; by default a tenth of it")
    options = parser.parse_args()
    with unsay.open(options.model) as model:
        comments: List[Spanned] = list(spanned(options.data))
        tests = list(spanned(options.test, "test")) if options.test else comments[::10]
        if not options.test:
            comments = [row for index, row in enumerate(comments) if index % 10]
        classifier = train(model, comments)
        classifier.save(options.out)
        scores: List[Tuple[float, float]] = [
            (f1(classifier.spans(model, text), ranges), f1([], ranges)) for text, ranges in tests
        ]
    ours, nothing = numpy.mean(scores, axis=0)
    print(
        f"{len(comments)} comments; F1 on {len(tests)} others {ours:.3f}, of no mark {nothing:.3f}"
    )


if __name__ == "__main__":
    main()
