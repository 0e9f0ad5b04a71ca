"""Whether this library computes on a model's files what onnxruntime computes on them."""

import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from . import _onnx_facts
from ._inputs import Tokens, several
from ._values import Path as ModelPath
from ._values import integer, real
from .errors import ArgumentError, StateError, UnsupportedError
from .model import Model, open

if TYPE_CHECKING:
    from ._runtime import Runtime

TOLERANCE = 1e-4
"""Of the range: what two ways of summing float32 numbers differ by is a hundredth of it."""

#: Operators that round what they multiply, and how.
ROUNDING = {
    "DynamicQuantizeLinear": "rounds the inputs of products to 8 bits",
    "DynamicQuantizeMatMul": "rounds the inputs of products to 8 bits",
    "QuantizeLinear": "rounds the inputs of products to 8 bits",
    "QLinearMatMul": "rounds the inputs of products to 8 bits",
    "MatMulNBits": "may round the inputs of products to 8 bits",
}

TEXTS = (
    "summarize: A library for reading CSV files.",
    "translate English to German: The weather is fine today, is it not?",
    "summarize: "
    + " ".join(f"Line {number} of this text says something of its own." for number in range(24)),
)
"""Its own inputs; the last is longer than the distances that T5 tells apart."""

LENGTHS = (5, 17, 160)
"""Ids of its own inputs where there is no vocabulary."""


@dataclass(frozen=True)
class Difference:
    """The largest difference between onnxruntime's numbers and ours."""

    absolute: float
    relative: float
    """Over the range of ours: the largest less the smallest."""

    def __str__(self) -> str:
        return f"{self.absolute:.1e}, {self.relative:.1e} of the range"


@dataclass(frozen=True)
class VerifiedInput:
    """One input, computed by both."""

    input: Union[str, List[int]]
    ids: List[int]
    """The input's ids."""
    output: List[int]
    """The ids that both read in the decoder: first what this library writes greedily."""
    states: Optional[Difference]
    """Of the encoder's states; None if no file gives them."""
    logits: Dict[str, Difference]
    """Of the logits, by the way through the files: "decoder", "merged", "merged, cached",
    "with past", "whole", "init", "cached". Empty for an encoder alone, and for BeamSearch files,
    which give ids and no logits."""
    same_ids: Optional[bool]
    """Whether the likeliest id is the same at every position, by every way; of BeamSearch files,
    whether they write the same ids. None for an encoder alone."""

    @property
    def worst(self) -> float:
        """The largest relative difference of states and logits; 0 if there is neither."""
        found = [*([] if self.states is None else [self.states]), *self.logits.values()]
        return max((each.relative for each in found), default=0.0)


@dataclass(frozen=True)
class Verification:
    """What `unsay.verify` found; `str(verification)` is its last line, true if nothing differs."""

    path: str
    files: List[str]
    """The .onnx files that both computed on."""
    onnxruntime: str
    """Its version."""
    inputs: List[VerifiedInput] = field(repr=False)
    tolerance: float
    """The relative difference that counts as equal."""
    rounding: Optional[str]
    """Why onnxruntime computes these files less exactly than in float32; None if it does not."""

    @property
    def worst(self) -> float:
        """The largest relative difference of all inputs."""
        return max((each.worst for each in self.inputs), default=0.0)

    @property
    def same_ids(self) -> bool:
        """Whether the ids agree for every input."""
        return all(each.same_ids is not False for each in self.inputs)

    @property
    def verdict(self) -> str:
        """ "equal", "different", or "rounded": not equal, but onnxruntime rounds these files."""
        has_numbers = any(each.states is not None or each.logits for each in self.inputs)
        is_equal = self.worst <= self.tolerance if has_numbers else self.same_ids
        return "equal" if is_equal else "different" if self.rounding is None else "rounded"

    def __bool__(self) -> bool:
        return self.verdict != "different"

    def __str__(self) -> str:
        ids = "the same ids" if self.same_ids else "other ids"
        told = f"the largest difference is {self.worst:.1e} of the range, with {ids}"
        if self.verdict == "equal":
            return f"equal: {told} (tolerance {self.tolerance:.0e})"
        if self.verdict == "rounded":
            return f"not judged: {told}; onnxruntime {self.rounding}, and this library does not"
        return f"DIFFERENT: {told} (tolerance {self.tolerance:.0e})"

    def __repr__(self) -> str:
        return (
            f"Verification({self.path!r}, {self.verdict!r}, {len(self.inputs)} inputs, "
            f"worst={self.worst:.1e}, same_ids={self.same_ids})"
        )


def verify(
    path: ModelPath,
    inputs: Union[Tokens, Iterable[Tokens], None] = None,
    *,
    max_new_tokens: int = 12,
    tolerance: float = TOLERANCE,
    threads: int = 0,
    tokenizer: Optional[ModelPath] = None,
    variant: Optional[str] = None,
    allow_links: bool = False,
) -> Verification:
    """Compares this library with onnxruntime on a model folder's own files.

    `inputs` are texts or lists of ids, or only one; by default three of its own, the longest
    of some 250 tokens. Both compute the encoder's states, and the logits of `max_new_tokens`
    ids that this library writes, by every way through the files. The options of opening are
    those of `unsay.open`.

    Equal means that no number differs by more than `tolerance` of the range of ours. Files that
    onnxruntime computes in float16, or with products of rounded inputs, are not judged: this
    library takes their weights for the float32 numbers that they stand for.

    Where onnxruntime refuses links, or a path that is not UTF-8, it is given a copy of the
    files, byte for byte, in a temporary folder.

    Raises `ArgumentError` where onnxruntime is not installed, `UnsupportedError` for files that
    hold weights and no graph or that onnxruntime does not run, and what `unsay.open` raises.
    """
    runtime = _onnxruntime()
    max_new_tokens = integer(max_new_tokens, "max_new_tokens", 1, 1024)
    tolerance = real(tolerance, "tolerance")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ArgumentError(f"tolerance is {tolerance}; it must be 0 or more")
    asked = None if inputs is None else several(inputs, "inputs")[0]
    if asked is not None and not asked:
        raise ArgumentError("inputs: expected at least one, found none")
    for index, each in enumerate(asked or []):
        if not isinstance(each, str) and len(each) == 0:
            raise ArgumentError(f"inputs[{index}] has no ids")
    with (
        open(
            path, threads=threads, tokenizer=tokenizer, variant=variant, allow_links=allow_links
        ) as model,
        tempfile.TemporaryDirectory(prefix="unsay-verify-") as temporary,
    ):
        folder = Path(os.fsdecode(path))
        files = [folder / name for name in model.files]
        facts = _onnx_facts.Facts()
        for file in files:
            _onnx_facts.read(file, facts)
        if not facts.operators:
            raise UnsupportedError(
                f"{folder} holds weights and no graph: there is nothing for onnxruntime to run"
            )
        try:
            ways = runtime.Runtime(files, model.info, optimizes=False)
        except UnsupportedError:
            if not _is_odd(folder, files):
                raise
            model.save(Path(temporary) / "model")
            files = [Path(temporary) / "model" / name for name in model.files]
            ways = runtime.Runtime(files, model.info, optimizes=False)
        return Verification(
            path=os.fspath(folder),
            files=model.files,
            onnxruntime=runtime.onnxruntime.__version__,
            inputs=[
                _verified(model, ways, given, max_new_tokens)
                for given in (_own_inputs(model) if asked is None else asked)
            ],
            tolerance=tolerance,
            rounding=_rounding(facts, model.info.ties_head),
        )


def _onnxruntime() -> Any:
    """The module that runs onnxruntime."""
    try:
        from . import _runtime
    except ImportError as error:
        raise ArgumentError(
            f"verifying needs onnxruntime, which cannot be imported ({error}): "
            "pip install onnxruntime"
        ) from error
    return _runtime


def _is_odd(folder: Path, files: List[Path]) -> bool:
    """Whether onnxruntime may have refused links, or a path that is not UTF-8."""
    try:
        os.fspath(folder).encode("utf-8")
    except UnicodeEncodeError:
        return True
    beside = {file.parent for file in files}
    return any(each.is_symlink() for place in beside for each in place.rglob("*"))


def _rounding(facts: _onnx_facts.Facts, ties_head: bool) -> Optional[str]:
    half = {_onnx_facts.FLOAT16: "float16", _onnx_facts.BFLOAT16: "bfloat16"}
    for number, name in half.items():
        if number in facts.casts:
            return f"computes in {name}"
    for operator, told in ROUNDING.items():
        if operator in facts.operators:
            return f"{told} ({operator})"
    if ties_head and facts.stored & set(half):
        return "reads a table and a head of one matrix that were rounded apart"
    return None


def _own_inputs(model: Model) -> List[Union[str, Sequence[int]]]:
    try:
        model.encode(TEXTS[0])
        return list(TEXTS)
    except StateError:
        info = model.info
        # Padding inside an input would be masked by some exports.
        special = {info.pad_token_id, info.eos_token_id, info.decoder_start_token_id}
        usual = [id for id in range(info.vocab_size) if id not in special]
        own = [[(7 * at + 11 * at * at) % len(usual) for at in range(size)] for size in LENGTHS]
        return [[*(usual[at] for at in places), info.eos_token_id] for places in own]


def _verified(
    model: Model, runtime: "Runtime", given: Union[str, Sequence[int]], count: int
) -> VerifiedInput:
    ids = list(model.encode(given).ids if isinstance(given, str) else given)
    shown: Union[str, List[int]] = given if isinstance(given, str) else ids
    if runtime.is_beam_search:
        ours = model.generate(ids, max_new_tokens=count, num_beams=1, do_sample=False).ids
        theirs = runtime.sequences(ids, count + 1)[1:]
        return VerifiedInput(shown, ids, ours, None, {}, theirs[: len(ours)] == ours)
    # First ours, which refuses ids that do not exist.
    own = model.encoder_states(ids)
    states = runtime.states(ids)
    found = None if states is None else difference(states, own)[0]
    if not runtime.gives_logits and found is None:
        raise UnsupportedError("no file gives the encoder's states or logits: nothing to compare")
    if model.info.num_decoder_layers == 0 or not runtime.gives_logits:
        return VerifiedInput(shown, ids, [], found, {}, None)
    # A short output is made longer by ids of the input: any ids will do to compare logits.
    written = model.generate(ids, max_new_tokens=count, num_beams=1, do_sample=False).ids
    output = [*written, *(ids * count)][:count]
    logits = model.logits(ids, output)
    ways = {
        way: difference(theirs, logits)
        for way, theirs in runtime.logits(
            ids, [model.info.decoder_start_token_id, *output[:-1]]
        ).items()
    }
    if not ways:
        raise UnsupportedError("the files give logits, but no way to them is known")
    differences = {way: each[0] for way, each in ways.items()}
    return VerifiedInput(
        shown, ids, output, found, differences, all(each[1] for each in ways.values())
    )


def difference(theirs: Any, ours: Any) -> Tuple[Difference, bool]:
    """The largest difference of two arrays [rows, columns], infinite if one of their numbers is
    not finite, and whether the largest number of each row is at the same place."""
    import numpy

    theirs = numpy.asarray(theirs).astype(numpy.float64)
    ours = numpy.asarray(ours).astype(numpy.float64)
    if theirs.shape != ours.shape:
        raise UnsupportedError(
            f"onnxruntime's numbers are {list(theirs.shape)}, expected {list(ours.shape)}"
        )
    absolute = float(numpy.abs(theirs - ours).max())
    extent = float(ours.max() - ours.min())
    if not math.isfinite(absolute):
        return Difference(math.inf, math.inf), False
    relative = absolute / extent if extent > 0 else 0.0 if absolute == 0 else math.inf
    same = bool((theirs.argmax(-1) == ours.argmax(-1)).all())
    return Difference(absolute, relative), same
