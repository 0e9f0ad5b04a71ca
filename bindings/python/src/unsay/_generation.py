"""Options of a generation, named as in transformers, on their way into the library."""

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int32, cast
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import _types as t
from ._handle import Handle
from ._inputs import Sequences, int32s, one
from ._interrupt import Interrupts
from ._library import functions
from ._progress import Count, asked
from ._values import (
    c_strings,
    choice,
    fields,
    found,
    function,
    is_integer,
    is_mapping,
    listed,
    real,
)
from .errors import ArgumentError
from .results import LogitsView

SCALARS = (
    "max_new_tokens", "min_new_tokens", "num_beams", "num_return_sequences",
    "num_beam_groups", "diversity_penalty", "length_penalty", "do_sample", "top_k", "top_p",
    "min_p", "typical_p", "temperature", "repetition_penalty", "no_repeat_ngram_size", "seed",
    "epsilon_cutoff", "eta_cutoff", "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size", "forced_bos_token_id", "forced_eos_token_id",
    "num_alternatives", "cross_attention", "prompt_lookup_num_tokens",
    "max_matching_ngram_size", "max_batch_tokens", "log_probs",
)  # fmt: skip
IDS = {
    "eos_token_id": ("eos_token_ids", "eos_token_id_count"),
    "suppress_tokens": ("suppress_tokens", "suppress_token_count"),
    "begin_suppress_tokens": ("begin_suppress_tokens", "begin_suppress_token_count"),
    "prefix_ids": ("prefix_ids", "prefix_id_count"),
}
OTHERS = (
    "early_stopping", "bad_words_ids", "banned_phrases", "force_words_ids",
    "sequence_bias", "stop_strings", "prefixes",
    "on_token", "logits_processor", "prefix_allowed_tokens_fn", "progress",
)  # fmt: skip


class Generation:
    """An `unsay_generate_options`, with what it points to kept alive: the model's defaults,
    and over them the options that were given.

    Arrays of the defaults are borrowed from the model: keep its handle for the call.

    An exception in a callback stops the generation and is kept in `raised`. Run the call
    inside `with generation.interrupts:`, so that Ctrl-C stops it after the step in progress.
    """

    def __init__(self, options: Dict[str, Any], model: Handle) -> None:
        self.options = t.GenerateOptions()
        with model as pointer:
            functions.model_generate_options(
                pointer, ctypes.byref(self.options), ctypes.sizeof(self.options)
            )
        # What `generate` returns has the shape that its caller asked for.
        self.options.num_return_sequences = 1
        self.raised: Optional[BaseException] = None
        self.stopped = False
        self.interrupts = Interrupts()
        self._alive: List[Any] = []
        options = {name: value for name, value in options.items() if value is not None}
        for name in options:
            if name not in SCALARS and name not in IDS and name not in OTHERS:
                raise ArgumentError(f"generate has no option {name!r}")
        scalars = {name: options[name] for name in SCALARS if name in options}
        fields(self.options, scalars)
        for name, (field, count) in IDS.items():
            if name in options:
                value = options[name]
                self._ids(field, count, [value] if is_integer(value) else value, name)
        if "early_stopping" in options:
            value = options["early_stopping"]
            self.options.early_stopping = choice(t.EARLY_STOPPINGS, value, "early_stopping")
        for field, count, name in (
            ("bad_words", "bad_word_count", "bad_words_ids"),
            ("prefixes", "prefix_count", "prefixes"),
            ("force_words", "force_word_count", "force_words_ids"),
        ):
            self._runs(field, count, options.get(name), name)
        self._bias(options.get("sequence_bias"))
        self._strings("stop_strings", "stop_string_count", options.get("stop_strings"))
        self._strings("banned_phrases", "banned_phrase_count", options.get("banned_phrases"))
        self._callbacks(options)
        if self.interrupts.can_happen:
            self._listen()

    def _ids(self, field: str, count: str, ids: Any, name: str) -> None:
        values = int32s(ids, name)
        array = (c_int32 * max(1, len(values)))(*values)
        self._alive.append(array)
        setattr(self.options, field, cast(array, POINTER(c_int32)))
        setattr(self.options, count, len(values))

    def _runs(self, field: str, count: str, runs: Any, name: str) -> None:
        if runs is None:
            return
        expected = "a list of lists of ids"
        checked = [
            one(run, f"{name}[{index}]") for index, run in enumerate(listed(runs, name, expected))
        ]
        array = (t.Sequence * max(1, len(checked)))()
        for index, run in enumerate(checked):
            if len(run) == 0:
                continue
            sequences = Sequences([run], name)
            self._alive.append(sequences)
            array[index] = sequences.array[0]
        self._alive.append(array)
        setattr(self.options, field, cast(array, POINTER(t.Sequence)))
        setattr(self.options, count, len(checked))

    def _bias(self, bias: Any) -> None:
        if bias is None:
            return
        expected = "a mapping of ids to a bias, or a list of (ids, bias)"
        items = bias.items() if is_mapping(bias) and hasattr(bias, "items") else bias
        pairs = [
            listed(pair, f"sequence_bias[{index}]", "(ids, bias)")
            for index, pair in enumerate(listed(items, "sequence_bias", expected))
        ]
        for index, pair in enumerate(pairs):
            if len(pair) != 2:
                raise ArgumentError(
                    f"sequence_bias[{index}]: expected (ids, bias), found {found(pair)}"
                )
        self._runs(
            "sequence_bias", "sequence_bias_count", [run for run, _ in pairs], "sequence_bias"
        )
        numbers = [real(value, f"the bias of {found(run)}") for run, value in pairs]
        values = (c_float * max(1, len(pairs)))(*numbers)
        self._alive.append(values)
        self.options.sequence_bias_values = cast(values, POINTER(c_float))

    def _strings(self, field: str, count: str, strings: Any) -> None:
        if strings is None:
            return
        texts = c_strings(strings, field)
        array = (c_char_p * max(1, len(texts)))(*texts)
        self._alive.append(array)
        setattr(self.options, field, cast(array, POINTER(c_char_p)))
        setattr(self.options, count, len(texts))

    def _callbacks(self, options: Dict[str, Any]) -> None:
        on_token = function(options.get("on_token"), "on_token")
        if on_token is not None:

            def token(_: Any, input: int, id: int, log_p: float, text: bytes) -> int:
                return self._guard(on_token, input, id, log_p, text.decode("utf-8", "replace"))

            self._set("on_token", t.TokenFunction(token))
        processor = function(options.get("logits_processor"), "logits_processor")
        if processor is not None:

            def logits(_: Any, raw: Any) -> int:
                return self._guard(processor, LogitsView.of(raw.contents))

            self._set("on_logits", t.LogitsFunction(logits))
        progress = asked(options.get("progress"))
        if progress is not None:
            report = Count("generate") if progress is True else progress

            def done(_: Any, finished: int, total: int) -> int:
                return self._guard(report, finished, total)

            self._set("on_progress", t.ProgressFunction(done))
        name = "prefix_allowed_tokens_fn"
        allowed = function(options.get(name), name)
        if allowed is not None:
            self._set("allowed_tokens", t.AllowedFunction(self._allowed(allowed)))

    def _allowed(self, allowed: Callable[[int, List[int]], Optional[Sequence[int]]]) -> Any:
        def call(_: Any, input: int, prefix: Any, count: int, ids: Any, capacity: int) -> int:
            try:
                ids_found = allowed(input, list(prefix[:count]))
                if ids_found is None:
                    return ctypes.c_size_t(-1).value
                values = int32s(ids_found, "what prefix_allowed_tokens_fn returns")
                for index, id in enumerate(values[:capacity]):
                    ids[index] = id
                return len(values)
            except BaseException as error:
                self.raised = self.raised or error
                return 0

        return call

    def _listen(self) -> None:
        """Has the library call back once in a while: Python sees a signal in no other moment.

        The callback on logits comes once a step, but with it the library must compute all
        logits, which `log_probs=False` and guesses from the input are there to avoid.
        """
        if self.options.on_token or self.options.on_logits:
            return
        is_fast = not self.options.log_probs or self.options.prompt_lookup_num_tokens > 0
        if is_fast and self.options.num_beams == 1:
            self._set("on_token", t.TokenFunction(lambda *_: self._check()))
        else:
            self._set("on_logits", t.LogitsFunction(lambda *_: self._check()))

    def _check(self) -> int:
        return t.STOP if self.interrupts.interrupted else t.CONTINUE

    def _set(self, field: str, function: Any) -> None:
        self._alive.append(function)
        setattr(self.options, field, cast(function, ctypes.c_void_p))

    def _guard(self, function: Callable[..., Any], *arguments: Any) -> int:
        try:
            if self.interrupts.interrupted:
                return t.STOP
            if function(*arguments) is False:
                self.stopped = True
                return t.STOP
            return t.CONTINUE
        except BaseException as error:
            self.raised = self.raised or error
            return t.STOP
