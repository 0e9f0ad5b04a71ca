"""A T5 model: generate, score, look inside, patch, save."""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from ctypes import byref, c_char_p, c_void_p
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
    overload,
)

from . import _types as t
from ._generation import Generation
from ._hypotheses import outputs_of
from ._inputs import One, Sequences, Tokens, one, several
from ._library import functions, initialised
from ._scoring import ScoringModel
from ._values import Path, c_string, choice, fields, flag, found, is_mapping, path_bytes, wrong
from .errors import ArgumentError, CancelledError, Error
from .results import Output

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import GenerateOptions


def open(
    path: Path,
    *,
    threads: int = 0,
    compute: str = "f32",
    allow_links: bool = False,
    tokenizer: Optional[Path] = None,
    variant: Optional[str] = None,
) -> Model:
    """Opens a model folder: encoder and decoder .onnx, config.json, vocabulary.

    `threads` is the number of worker threads, 0 for one per core. `compute` is the
    arithmetic of generation and scoring. Files of external data may be links into the
    blobs of the model cache that the folder lies in; with `allow_links` they may be links
    to anywhere. `tokenizer` replaces the vocabulary beside
    the weights. `variant` is the ending of the files' names, such as "fp16" or
    "quantized", where a folder holds the model in several precisions; by default the
    most precise one that is whole is taken.

    Raises `NotFoundError`, or `FormatError` naming the tensor that is missing or wrong.
    """
    out = c_void_p()
    options = _open_options(threads, compute, allow_links, tokenizer, variant)
    functions.model_open(path_bytes(path, "path"), byref(options), byref(out))
    return Model(out, os.fsdecode(path))


def open_buffers(
    files: Mapping[str, bytes],
    *,
    threads: int = 0,
    compute: str = "f32",
    variant: Optional[str] = None,
) -> Model:
    """Opens the files of a model folder from memory: name -> content."""
    if not is_mapping(files):
        raise wrong("files", "a mapping of names to bytes", files)
    contents = {name: _content(files[name], f"files[{found(name)}]") for name in list(files.keys())}
    buffers = (t.Buffer * max(1, len(contents)))()
    for buffer, (name, content) in zip(buffers, contents.items()):
        buffer.name, buffer.size = c_string(name, "a name in files"), len(content)
        buffer.bytes = ctypes.cast(c_char_p(content), c_void_p)
    out = c_void_p()
    options = _open_options(threads, compute, False, None, variant)
    functions.model_open_buffers(buffers, len(contents), byref(options), byref(out))
    return Model(out, "memory")


def _content(value: Any, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, (bytearray, memoryview)):
        raise wrong(name, "bytes", value)
    return bytes(value)


def _open_options(
    threads: int,
    compute: str,
    allow_links: bool,
    tokenizer: Optional[Path],
    variant: Optional[str],
) -> Any:
    options = initialised(t.OpenOptions, "open")
    fields(options, {"threads": threads})
    options.compute = choice(t.COMPUTES, compute, "compute")
    options.allow_links = int(flag(allow_links, "allow_links"))
    if tokenizer is not None:
        options.tokenizer_path = path_bytes(tokenizer, "tokenizer")
    if variant is not None:
        options.variant = c_string(variant, "variant")
    return options


class Model(ScoringModel):
    """A model in memory, usable from any threads at once; `unsay.open` makes one.

    As a context manager it closes on leaving.
    """

    def __init__(self, made: c_void_p, name: str) -> None:
        super().__init__(made)
        self._name = name

    # Generate

    @overload
    def generate(  # type: ignore[overload-overlap]
        self, inputs: Union[str, Sequence[int], Output], **options: Unpack[GenerateOptions]
    ) -> Output: ...

    @overload
    def generate(
        self, inputs: Sequence[Tokens], **options: Unpack[GenerateOptions]
    ) -> List[Output]: ...

    @overload
    def generate(
        self,
        inputs: Any,
        *,
        num_return_sequences: Optional[int],
        **options: Unpack[GenerateOptions],
    ) -> Any: ...

    def generate(self, inputs: Any, **options: Any) -> Any:
        """Writes an output for one input, or a list of outputs for a list of inputs.

        An input is a text or its token ids. A list is anything that has an order: a tuple, an
        array, a Series, a generator, rows with an "input". Inputs of any lengths run as one
        batch, and an output does not depend on what else is in it. With `num_return_sequences`
        above 1, each input has a list of outputs, best first; a number in the model's files
        does not change what is returned.

        Options have transformers' names and meanings. One left out, or None, has the model's
        default: what generation_config.json says, which `generation` tells, else the
        library's, which unsay.h states. One given wins. They are `max_new_tokens`,
        `min_new_tokens`, `num_beams`, `num_beam_groups`, `diversity_penalty`,
        `length_penalty`, `early_stopping`,
        `num_return_sequences`, `do_sample`, `seed`, `temperature`, `top_k`, `top_p`,
        `min_p`, `typical_p`, `epsilon_cutoff`, `eta_cutoff`, `repetition_penalty`,
        `encoder_repetition_penalty`, `no_repeat_ngram_size`,
        `encoder_no_repeat_ngram_size`, `bad_words_ids`, `sequence_bias`,
        `suppress_tokens`, `begin_suppress_tokens`, `forced_bos_token_id`,
        `forced_eos_token_id`, `eos_token_id` (one or several), `stop_strings`,
        `banned_phrases` (texts), `force_words_ids` (with beams: texts or ids).

        `num_alternatives` lists the likeliest ids of each position, `cross_attention=True`
        what each id looked at, in the outputs. `prompt_lookup_num_tokens` (with
        `max_matching_ngram_size`) guesses ids from the input and writes the same output in
        fewer steps. `max_batch_tokens` bounds the ids of inputs that run together.
        `log_probs=False` leaves `.log_probs` empty; one greedy output is then found sooner.

        `prefix_ids` begin every output, `prefixes` has a beginning for each input.
        `on_token(input, id, log_probability, text)` is called for each token,
        `logits_processor(view)` with a `LogitsView` before tokens are chosen, and
        `prefix_allowed_tokens_fn(input, ids)` returns the ids that may follow, or None
        for all. `progress` is True for a bar, or a function `(done, total)` of inputs. One
        of these, the allowed ids excepted, that returns exactly `False` stops the generation:
        what was written so far is returned. An exception in any of them is raised here.
        Ctrl-C stops it after the step in progress.
        """
        checked, single = several(inputs, "inputs")
        generation = Generation(options, self._handle)
        outputs = self._generate(checked, generation)
        if generation.options.num_return_sequences > 1:
            return outputs[0] if single else outputs
        return outputs[0][0] if single else [few[0] for few in outputs]

    def _generate(self, inputs: List[One], generation: Generation) -> List[List[Output]]:
        if not inputs:
            return []
        sequences = Sequences(inputs)
        out = c_void_p()
        try:
            with self._handle as model, generation.interrupts:
                functions.generate(
                    model, sequences.array, sequences.count, byref(generation.options), byref(out)
                )
        except Error as error:
            is_wanted = generation.stopped and isinstance(error, CancelledError)
            if generation.raised is not None or not is_wanted:
                functions.result_free(out.value)
                raise generation.raised or error from None
        except BaseException:
            functions.result_free(out.value)
            raise
        return outputs_of(out.value, sequences.count)

    def stream(self, input: Tokens, **options: Unpack[GenerateOptions]) -> Iterator[str]:
        """Yields the output of one input piece by piece, on whole characters.

        Options are those of `generate` without `on_token`. There are no beams, whatever the
        model's files say. Leaving the loop early stops the generation.
        """
        checked = one(input, "input")
        if options.get("on_token") is not None:
            raise ArgumentError("stream has no option 'on_token': the loop sees each piece")
        num_beams = options.get("num_beams")
        chosen = {**options, "num_beams": 1 if num_beams is None else num_beams}
        # What is wrong with an option is told before the loop.
        Generation(chosen, self._handle)
        return self._stream(checked, chosen)

    def _stream(self, input: One, options: Dict[str, Any]) -> Iterator[str]:
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
        left = threading.Event()

        def on_token(_: int, id: int, log_probability: float, text: str) -> bool:
            pieces.put(text)
            return not left.is_set()

        def run() -> None:
            try:
                generation = Generation({**options, "on_token": on_token}, self._handle)
                self._generate([input], generation)
                pieces.put(None)
            except BaseException as error:
                pieces.put(error)

        worker = threading.Thread(target=run, name="unsay-stream", daemon=True)
        worker.start()
        try:
            while True:
                piece = pieces.get()
                if piece is None:
                    return
                if isinstance(piece, BaseException):
                    raise piece
                if piece:
                    yield piece
        finally:
            left.set()
            worker.join()

    # Keep and close

    def save(self, folder: Path, *, allow_rounding: bool = False) -> None:
        """Writes the model, as patched so far, in the layout it was opened from.

        Raises `StateError`, and writes nothing, if `folder` is the one it was opened from and
        stores in 16 bits what a patch changed: rounded, neither the old weights nor the new ones
        would be anywhere. `allow_rounding` does it all the same.
        """
        path = path_bytes(folder, "folder")
        rounds = flag(allow_rounding, "allow_rounding")
        with self._handle as model:
            (functions.model_save_rounded if rounds else functions.model_save)(model, path)

    def clone(self) -> Model:
        """A second model on the same weights; it costs memory once one of them changes."""
        out = c_void_p()
        with self._handle as model:
            functions.model_clone(model, byref(out))
        return Model(out, self._name)

    def __repr__(self) -> str:
        if self._handle.closed:
            return f"Model({self._name!r}, closed)"
        return f"Model({self._name!r}, {self.info.parameter_count:,} parameters)"
