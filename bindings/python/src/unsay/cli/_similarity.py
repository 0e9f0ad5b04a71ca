"""How alike two texts are."""

from typing import List, Optional, Sequence


def rouge_l(old: str, new: str) -> float:
    """The F-measure of the longest common subsequence of words, 0...1; 1 if both are empty."""
    a, b = old.lower().split(), new.lower().split()
    if not a or not b:
        return float(a == b)
    return 2 * _common(a, b) / (len(a) + len(b))


def _common(a: List[str], b: List[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for index, other in enumerate(b, 1):
            above = row[index]
            row[index] = diagonal + 1 if word == other else max(above, row[index - 1])
            diagonal = above
    return row[-1]


def bleu(old: Sequence[str], new: Sequence[str]) -> Optional[float]:
    """The corpus BLEU of new against old texts by sacrebleu; None if it is not installed."""
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        return None
    return float(corpus_bleu(list(new), [list(old)]).score)


def mean(values: Sequence[float]) -> Optional[float]:
    return sum(values) / len(values) if values else None
