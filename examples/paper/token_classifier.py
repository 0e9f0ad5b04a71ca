"""The annotator "classifier": the library's token classifier, learnt from a file of spans.

It learns from comments with marked characters in the format of Civil Comments Spans; `f1` scores
it as the Toxic Spans task does.

    python -m paper.token_classifier models/debsum civil_comments.csv toxic.classifier
"""

import argparse
from pathlib import Path
from typing import List, Sequence

import unsay

from .annotators import Span
from .tasks import Spanned
from .tasks import spans as spanned


class TokenClassifier:
    """The annotator: what a classifier finds in an output."""

    def __init__(self, classifier: unsay.Classifier, threshold: float = 0.5) -> None:
        self.classifier, self.threshold = classifier, threshold

    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        return [self.classifier.spans(text, threshold=self.threshold) for text in outputs]


def trained(model: unsay.Model, data: Path, kept: Path, threshold: float) -> TokenClassifier:
    """The annotator of a file of spans; learnt once and kept in `kept`."""
    if kept.exists():
        return TokenClassifier(unsay.Classifier.open(model, kept), threshold)
    classifier = learnt(model, list(spanned(data)), data)
    kept.parent.mkdir(parents=True, exist_ok=True)
    classifier.save(kept)
    return TokenClassifier(classifier, threshold)


def learnt(model: unsay.Model, comments: Sequence[Spanned], data: Path) -> unsay.Classifier:
    try:
        return unsay.Classifier.train(model, comments, progress=True)
    except unsay.ArgumentError as error:
        raise SystemExit(f"{data}: {error}") from error


def f1(found: Sequence[Span], expected: Sequence[Span]) -> float:
    """Of the characters of one comment, as the Toxic Spans task scores them."""
    ours = {index for begin, end in found for index in range(begin, end)}
    theirs = {index for begin, end in expected for index in range(begin, end)}
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))


def mean_f1(found: Sequence[Sequence[Span]], tests: Sequence[Spanned]) -> float:
    return sum(f1(ours, ranges) for ours, (_, ranges) in zip(found, tests)) / max(1, len(tests))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="comments with a column spans")
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", type=Path, help="as data; by default a tenth of it")
    options = parser.parse_args()
    comments: List[Spanned] = list(spanned(options.data))
    tests = list(spanned(options.test, "test")) if options.test else comments[::10]
    if not options.test:
        comments = [row for index, row in enumerate(comments) if index % 10]
    with unsay.open(options.model) as model:
        classifier = learnt(model, comments, options.data)
        classifier.save(options.out)
        found = [classifier.spans(text) for text, _ in tests]
    nothing: List[List[Span]] = [[] for _ in tests]
    print(
        f"{len(comments)} comments; F1 on {len(tests)} others {mean_f1(found, tests):.3f}, "
        f"of no mark {mean_f1(nothing, tests):.3f}"
    )


if __name__ == "__main__":
    main()
