"""What is measured on outputs: prevalence, similarity, quality, fluency, drift."""

import functools
import math
import re
from typing import Any, Dict, Sequence, Tuple

import unsay

Pairs = Sequence[Tuple[str, str]]


@functools.cache
def _scorer(kinds: Tuple[str, ...]) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(kinds))


def rouge(pairs: Pairs, kind: str = "rougeL") -> float:
    """Mean F-measure of (expected, written), in percent."""
    scorer = _scorer((kind,))
    scores = [scorer.score(expected, text)[kind].fmeasure for expected, text in pairs]
    return float(100 * sum(scores) / len(scores))


def bleu(pairs: Pairs) -> float:
    import sacrebleu

    found = sacrebleu.corpus_bleu([text for _, text in pairs], [[wanted for wanted, _ in pairs]])
    return float(found.score)


def similarity(pairs: Pairs) -> Dict[str, float]:
    """How much of old texts is left in new ones: the share that is identical, BLEU, ROUGE-L."""
    if not pairs:
        return {"count": 0, "same": 1.0, "bleu": 100.0, "rouge_l": 100.0}
    return {
        "count": len(pairs),
        "same": sum(old == new for old, new in pairs) / len(pairs),
        "bleu": bleu(pairs),
        "rouge_l": rouge(pairs),
    }


def interval(hits: int, count: int, z: float = 1.96) -> Tuple[float, float]:
    """Wilson's interval of a share, of 95 % by default."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    whole = 1 + z * z / count
    low, high = (middle - half) / whole, (middle + half) / whole
    return (0.0 if hits == 0 else low), (1.0 if hits == count else high)


SMALL = "a an and are as at be by for from has in is it its of on or that the this to with"
SMALL_WORDS = frozenset(SMALL.split())


def repeats(text: str) -> bool:
    """Whether a content word stands twice, or three words in a row come back."""
    words = re.findall(r"\w+", text.lower())
    content = [word for word in words if word not in SMALL_WORDS and len(word) > 1]
    triples = list(zip(words, words[1:], words[2:]))
    return len(set(content)) < len(content) or len(set(triples)) < len(triples)


def disfluency(outputs: Sequence[unsay.Output]) -> Dict[str, float]:
    """Shares of outputs that repeat themselves, are empty, or were cut off at the limit."""
    count = max(1, len(outputs))
    return {
        "repeats": sum(repeats(output.text) for output in outputs) / count,
        "empty": sum(not output.text.strip() for output in outputs) / count,
        "too_long": sum(output.finish == "length" for output in outputs) / count,
    }


def quality(outputs: Sequence[unsay.Output], references: Sequence[str]) -> Dict[str, float]:
    """Against what people wrote."""
    pairs = [(reference, output.text) for reference, output in zip(references, outputs)]
    if not pairs:
        return {"bleu": 0.0, "rouge_1": 0.0, "rouge_l": 0.0}
    return {"bleu": bleu(pairs), "rouge_1": rouge(pairs, "rouge1"), "rouge_l": rouge(pairs)}


def comparison(
    old: Sequence[str], new: Sequence[str], had: Sequence[bool], has: Sequence[bool]
) -> Dict[str, Any]:
    """Prevalence before and after, and what is left of the outputs that had the behaviour and
    of the others."""
    before, after = sum(had), sum(has)
    pairs = list(zip(old, new))
    low, high = interval(after, len(pairs))
    return {
        "inputs": len(pairs),
        "before": before,
        "after": after,
        "after_low": low,
        "after_high": high,
        "had": similarity([pair for pair, shown in zip(pairs, had) if shown]),
        "others": similarity([pair for pair, shown in zip(pairs, had) if not shown]),
    }


def gone(measured: Dict[str, Any]) -> float:
    """The share of the prevalence that is gone; negative where there is more of it. One division,
    so that 20 of 200 are 0.1 and not less."""
    return float((measured["before"] - measured["after"]) / max(1, measured["before"]))


def drift(
    original: unsay.Model, patched: unsay.Model, pairs: Sequence[Tuple[str, str]]
) -> Dict[str, float]:
    """KL(original | patched) on given texts, nats a token, and the share of tokens whose most
    likely choice differs."""
    if not pairs:
        return {"kl": 0.0, "flips": 0.0}
    with patched.patch(root=original, scope="all") as patch:
        patch.guard(pairs)
        found = patch.evaluate()
    return {"kl": found.root_kl, "flips": found.root_flips}
