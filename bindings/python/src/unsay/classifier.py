"""A token classifier: which tokens of a text are to be marked, learnt from marked texts."""

from __future__ import annotations

from ctypes import POINTER, byref, c_float, c_size_t, c_void_p, cast
from typing import Any, Callable, Iterable, List, Optional, Sequence, Tuple, Union

from . import _types as t
from ._base import BaseModel, view
from ._handle import Handle, Owner
from ._inputs import Sequences, Tokens, one, ranges_of
from ._interrupt import Interrupts
from ._library import functions, initialised, sized
from ._progress import Count, asked
from ._text import to_bytes, to_characters
from ._values import Path, fields, instance, listed, path_bytes, real, wrong
from .errors import ArgumentError, CapacityError, Error
from .results import ClassifierInfo, Floats, Output

Ranges = Sequence[Tuple[int, int]]
"""Characters of a text, from begin to before end."""


class Classifier(Owner):
    """How likely each token of a text is to be marked: a linear head on a model's encoder.

    `Classifier.train` learns one from texts with marked characters, `Classifier.open` reads one
    from a file. It keeps the encoder that the model had then, whatever is patched later, and may
    be used from any threads at once.
    """

    def __init__(self, made: c_void_p) -> None:
        self._handle = Handle(
            made, functions.classifier_close, "classifier", "Classifier.train or Classifier.open"
        )

    @classmethod
    def train(
        cls,
        model: BaseModel,
        texts: Iterable[Tuple[Union[str, Output], Ranges]],
        *,
        passes: Optional[int] = None,
        batch_size: Optional[int] = None,
        max_ids: Optional[int] = None,
        learning_rate: Optional[float] = None,
        weight_decay: Optional[float] = None,
        seed: Optional[int] = None,
        progress: Union[bool, Callable[[int, int], Any], None] = None,
    ) -> Classifier:
        """Learns from pairs of a text and the ranges of characters that are marked in it.

        A token is marked that shares a character with a range. Marked tokens weigh as much
        together as all others. The encoder runs over every text once, of which `max_ids` ids
        count; then a logistic regression makes `passes` over their states by Adam, in batches of
        `batch_size` tokens, in an order that `seed` chooses. An option left out has the
        library's default, which unsay.h states.

        `progress` is True for a bar, or a function `(done, total)` of texts and passes
        together; one that returns exactly `False` ends the training with `CancelledError`.
        What it raises is raised here. Ctrl-C ends it after the batch in progress.

        Raises `ArgumentError` for a range outside its text, and if no token or every one is
        marked.
        """
        instance(model, BaseModel, "model", "a Model")
        options = initialised(t.ClassifierOptions, "classifier")
        fields(
            options,
            {
                "passes": passes,
                "batch_size": batch_size,
                "max_ids": max_ids,
                "learning_rate": learning_rate,
                "weight_decay": weight_decay,
                "seed": seed,
            },
        )
        marked = _MarkedTexts(texts)
        watch = _Watch(progress)
        options.on_progress = watch.function
        out = c_void_p()
        try:
            with model._handle as pointer, watch.interrupts:
                functions.classifier_train(
                    pointer, marked.array, marked.count, byref(options), byref(out)
                )
        except BaseException as error:
            functions.classifier_close(out.value)
            raise (watch.raised if isinstance(error, Error) else None) or error from None
        return cls(out)

    @classmethod
    def open(cls, model: BaseModel, path: Path) -> Classifier:
        """Reads a classifier for use with a model.

        Raises `MismatchError` if it was trained on another encoder: on another model, or on this
        one before a patch that changed the encoder or its embedding. Open it before the patch.
        """
        instance(model, BaseModel, "model", "a Model")
        out, name = c_void_p(), path_bytes(path, "path")
        with model._handle as pointer:
            functions.classifier_open(pointer, name, byref(out))
        return cls(out)

    def save(self, path: Path) -> None:
        """Writes the classifier to a file, whole or not at all."""
        name = path_bytes(path, "path")
        with self._handle as classifier:
            functions.classifier_save(classifier, name)

    @property
    def info(self) -> ClassifierInfo:
        """What it was trained with, and how well it learnt."""
        raw = sized(t.ClassifierInfo)
        with self._handle as classifier:
            functions.classifier_get_info(classifier, byref(raw))
        return ClassifierInfo(
            encoder=bytes(raw.encoder).hex(),
            token_count=raw.token_count,
            marked_count=raw.marked_count,
            loss=raw.loss,
            d_model=raw.d_model,
        )

    def probabilities(self, text: Tokens) -> Floats:
        """The probability of each token to be marked, the end included: float32 [ids]."""
        values, count = self._filled(functions.classifier_probabilities, text, c_float)
        return view((c_float * count).from_buffer(values), (count,))

    def spans(self, text: Union[str, Output], *, threshold: float = 0.5) -> List[Tuple[int, int]]:
        """Runs of tokens at or above the threshold, as ranges of characters of the text.

        They are in order and apart, and neither begin nor end with whitespace; what only
        whitespace separates is one range.
        """
        if not isinstance(text, (str, Output)):
            raise wrong("text", "a str or an Output", text)
        least = real(threshold, "threshold")
        spans, count = self._filled(functions.classifier_spans, text, t.Span, least)
        found = [(span.begin, span.end) for span in spans[:count]]
        return to_characters(str(text), found)

    def _filled(self, function: Any, text: Tokens, kind: Any, *more: Any) -> Tuple[Any, int]:
        """What a function writes about one text, and how much; called twice at most."""
        sequence = Sequences([one(text, "text")], "text")
        capacity, count = 512, c_size_t()
        with self._handle as classifier:
            while True:
                values = (kind * capacity)()
                try:
                    function(classifier, sequence.array, *more, values, capacity, byref(count))
                    return values, count.value
                except CapacityError:
                    if count.value <= capacity:
                        raise
                    capacity = count.value

    def __repr__(self) -> str:
        if self._handle.closed:
            return "Classifier(closed)"
        info = self.info
        return (
            f"Classifier(d_model={info.d_model}, {info.marked_count} of {info.token_count} "
            f"tokens marked, loss={info.loss:.3f})"
        )


class _MarkedTexts:
    """An array of `unsay_marked_text`, with what it points to kept alive."""

    def __init__(self, texts: Iterable[Tuple[Union[str, Output], Ranges]]) -> None:
        expected = "(text, ranges)"
        pairs = [
            listed(pair, f"texts[{index}]", expected)
            for index, pair in enumerate(listed(texts, "texts", f"a list of {expected}"))
        ]
        for index, pair in enumerate(pairs):
            if len(pair) != 2:
                raise ArgumentError(f"texts[{index}]: expected {expected}, found {len(pair)} parts")
            if not isinstance(pair[0], (str, Output)):
                raise wrong(f"text {index}", "a str or an Output", pair[0])
        self._sequences = Sequences([one(text, "text") for text, _ in pairs], "text")
        self._spans: List[Any] = []
        self.count = len(pairs)
        self.array = (t.MarkedText * max(1, self.count))()
        for index, (text, ranges) in enumerate(pairs):
            spans = self._spans_of(str(text), ranges, f"text {index}")
            self.array[index].text = self._sequences.array[index]
            self.array[index].spans = cast(spans, POINTER(t.Span))
            self.array[index].span_count = len(spans)
            self._spans.append(spans)

    @staticmethod
    def _spans_of(text: str, ranges: Ranges, name: str) -> Any:
        checked = ranges_of(ranges, f"{name}: ranges")
        try:
            pairs = to_bytes(text, checked, "text")
        except ArgumentError as error:
            raise ArgumentError(f"{name}: {error}") from None
        spans = (t.Span * len(pairs))()
        for span, (begin, end) in zip(spans, pairs):
            span.begin, span.end = begin, end
        return spans


class _Watch:
    """The progress of a training: shows it, and ends it where that is asked for."""

    def __init__(self, progress: Union[bool, Callable[[int, int], Any], None]) -> None:
        self.raised: Optional[BaseException] = None
        self.interrupts = Interrupts()
        wanted = asked(progress)
        self._report: Any = Count("train") if wanted is True else wanted
        self.function = t.ProgressFunction(self._done)

    def _done(self, _: Any, done: int, total: int) -> int:
        try:
            if self.interrupts.interrupted:
                return t.STOP
            if self._report is not None and self._report(done, total) is False:
                return t.STOP
            return t.CONTINUE
        except BaseException as error:
            self.raised = error
            return t.STOP
