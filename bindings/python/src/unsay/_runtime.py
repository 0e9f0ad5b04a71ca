"""Runs any exported model in onnxruntime: its encoder's states, and the logits of a given output
by every way through its files."""

import os
import re
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence

import numpy
import onnxruntime

from .errors import UnsupportedError
from .results import ModelInfo

Array = Any
"""A numpy.ndarray."""

KINDS: Dict[str, Any] = {
    "tensor(float)": numpy.float32,
    "tensor(float16)": numpy.float16,
    "tensor(int64)": numpy.int64,
    "tensor(int32)": numpy.int32,
    "tensor(bool)": numpy.bool_,
}

STATES = ("last_hidden_state", "encoder_hidden_states", "encoder_last_hidden_state",
          "hidden_states")  # fmt: skip
"""What exporters call the encoder's output."""


class Session:
    """One file, fed by the meaning of its inputs, whatever an exporter called them."""

    def __init__(self, path: Path, info: ModelInfo, optimizes: bool) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        if not optimizes:
            # The optimiser takes 4-bit weights for a permission to round the data, too.
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        self.name, self.info = path.name, info
        try:
            self.session: Any = onnxruntime.InferenceSession(
                os.fspath(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise self._refusal(error) from error
        self.inputs = [given.name for given in self.session.get_inputs()]
        self.outputs = [output.name for output in self.session.get_outputs()]

    def _refusal(self, error: Exception) -> UnsupportedError:
        told = f"does not run {self.name}: {' '.join(str(error).split())[:300]}"
        # A name that is not UTF-8 has half surrogates.
        readable = told.encode("utf-8", "replace").decode("utf-8")
        return UnsupportedError(f"onnxruntime {onnxruntime.__version__} {readable}")

    def takes(self, part: str) -> bool:
        return any(part in name for name in self.inputs)

    def gives(self, part: str) -> bool:
        return any(part in name for name in self.outputs)

    def run(self, **values: Any) -> Dict[str, Array]:
        """All outputs, for `given` (the input's ids), `written` (the output's), `states`,
        `encoder_length`, `cached`, and keys and values by the names of their inputs."""
        feed = {
            given.name: self._value(given.name, KINDS.get(given.type), values)
            for given in self.session.get_inputs()
        }
        try:
            return dict(zip(self.outputs, self.session.run(None, feed)))
        except Exception as error:
            raise self._refusal(error) from error

    def _value(self, name: str, kind: Any, values: Dict[str, Any]) -> Array:
        if name in values:
            return numpy.asarray(values[name]).astype(kind)
        if name.startswith("past"):
            return numpy.zeros((1, self.info.num_heads, 0, self.info.d_kv), kind)
        if name == "decoder_attention_mask":
            return numpy.ones((1, len(values["written"][0])), kind)
        if "attention_mask" in name:
            return numpy.ones((1, values["encoder_length"]), kind)
        if name == "decoder_input_ids":
            return numpy.asarray(values["written"]).astype(kind)
        if name in ("input_ids", "encoder_input_ids"):
            return numpy.asarray(values["given" if "given" in values else "written"]).astype(kind)
        if name == "encoder_hidden_states" and "states" in values:
            return values["states"].astype(kind)
        if name == "use_cache_branch":
            return numpy.array([values["cached"]])
        raise UnsupportedError(f"{self.name} takes an input {name!r} whose meaning is not known")


def states_of(outputs: Dict[str, Array]) -> Optional[Array]:
    """The encoder's states among the outputs of an encoder's file, [1, ids, d_model]."""
    return next((outputs[name] for name in STATES if name in outputs), None)


def cache_of(outputs: Dict[str, Array], known: Dict[str, Array]) -> Dict[str, Array]:
    """The past of the next step: `present...` under the name of the input it feeds."""
    cache = dict(known)
    for name, value in outputs.items():
        if not name.startswith("present") or value.shape[2] == 0:
            continue
        past = re.sub(r"^present(?=\.)", "past_key_values", name)
        cache[re.sub(r"^present_", "past_", past)] = value
    return cache


def stepwise(
    first: Session, then: Session, states: Array, length: int, written: Sequence[int]
) -> Array:
    """One token a time, the first by one session and the others by another."""
    found: List[Array] = []
    cache: Dict[str, Array] = {}
    for step, id in enumerate(written):
        current = first if step == 0 else then
        outputs = current.run(
            written=[[id]], states=states, encoder_length=length, cached=step > 0, **cache
        )
        cross = {
            name: value for name, value in cache.items() if "encoder" in name or "cross" in name
        }
        cache = {**cache_of(outputs, cache), **cross}
        found.append(outputs["logits"][0, -1])
    return numpy.stack(found)


def continued(
    decoder: Session, outputs: Dict[str, Array], length: int, written: Sequence[int]
) -> List[Array]:
    """The logits of tokens one by one, from the cache that another session made."""
    found, cache = [], cache_of(outputs, {})
    for id in written:
        step = decoder.run(written=[[id]], encoder_length=length, **cache)
        cache = {**cache, **cache_of(step, {})}
        found.append(step["logits"][0, -1])
    return found


class Runtime:
    """The files of one model. Which part each is, its inputs and outputs tell."""

    def __init__(self, paths: Iterable[Path], info: ModelInfo, optimizes: bool = True) -> None:
        self.sessions = [Session(path, info, optimizes) for path in sorted(paths)]
        decoders = [each for each in self.sessions if each.gives("logits")]

        def only(**wanted: bool) -> Optional[Session]:
            return next(
                (
                    each
                    for each in decoders
                    if all(each.takes(part) == taken for part, taken in wanted.items())
                ),
                None,
            )

        self.encoder = next(
            (
                each
                for each in self.sessions
                if each not in decoders and not each.takes("decoder_input_ids")
            ),
            None,
        )
        self.merged = only(use_cache_branch=True)
        self.plain = only(use_cache_branch=False, past=False, decoder_input_ids=False)
        self.past = only(use_cache_branch=False, past=True, decoder_input_ids=False)
        self.whole = only(use_cache_branch=False, past=False, decoder_input_ids=True)

    @property
    def is_beam_search(self) -> bool:
        return any(each.outputs == ["sequences"] for each in self.sessions)

    def sequences(self, ids: Sequence[int], max_length: int) -> List[int]:
        """What a BeamSearch file writes with one beam, the start included."""
        (only,) = self.sessions
        feed = {
            "input_ids": numpy.array([ids], numpy.int32),
            "length_penalty": numpy.ones(1, numpy.float32),
            "repetition_penalty": numpy.ones(1, numpy.float32),
        }
        for name, value in (
            ("max_length", max_length),
            ("min_length", 0),
            ("num_beams", 1),
            ("num_return_sequences", 1),
        ):
            feed[name] = numpy.array([value], numpy.int32)
        written: List[int] = only.session.run(None, feed)[0][0, 0].tolist()
        return written

    def states(self, ids: Sequence[int]) -> Optional[Array]:
        """The encoder's states, [ids, d_model]; None if no file gives them."""
        for each in self.sessions:
            # Where a decoder's ids are taken, too, last_hidden_state is the decoder's.
            names = STATES[1:] if each.takes("decoder_input_ids") else STATES
            wanted = next((name for name in names if name in each.outputs), None)
            if each.takes("input_ids") and wanted is not None:
                outputs = each.run(given=[ids], written=[ids[:1]], encoder_length=len(ids))
                return outputs[wanted][0]
        return None

    @property
    def gives_logits(self) -> bool:
        return any(each.gives("logits") for each in self.sessions)

    def logits(self, ids: Sequence[int], written: Sequence[int]) -> Dict[str, Array]:
        """By the name of each way, [len(written), vocab_size]: what follows each written id."""
        length, plain, merged, past = len(ids), self.plain, self.merged, self.past
        if self.whole is not None:
            if past is None:
                given = self.whole.run(given=[ids], written=[written], encoder_length=length)
                return {"whole": given["logits"][0]}
            outputs = self.whole.run(given=[ids], written=[written[:1]], encoder_length=length)
            rest = continued(past, outputs, length, written[1:])
            return {"init": numpy.stack([outputs["logits"][0, 0], *rest])}
        ways: Dict[str, Array] = {}
        if self.encoder is None:
            return ways
        outputs = self.encoder.run(given=[ids], encoder_length=length)
        if past is not None and past.takes("past_key_cross"):
            return {"cached": numpy.stack(continued(past, outputs, length, written))}
        states = states_of(outputs)
        if states is None:
            return ways
        for name, decoder in (("decoder", plain), ("merged", merged)):
            if decoder is not None:
                given = decoder.run(
                    written=[written], states=states, encoder_length=length, cached=False
                )
                ways[name] = given["logits"][0]
        if merged is not None and merged.takes("past_key_values"):
            ways["merged, cached"] = stepwise(merged, merged, states, length, written)
        if plain is not None and past is not None:
            ways["with past"] = stepwise(plain, past, states, length, written)
        return ways
