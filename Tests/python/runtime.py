"""Runs any exported folder in onnxruntime: the logits of a given output, by every way through
the files that the folder has."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import onnxruntime

KINDS = {
    "tensor(float)": numpy.float32,
    "tensor(float16)": numpy.float16,
    "tensor(int64)": numpy.int64,
    "tensor(int32)": numpy.int32,
    "tensor(bool)": numpy.bool_,
}


def session(path: Path, optimizes: bool):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimizes:
        # The optimiser takes 4-bit weights for a permission to round the data, too.
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Session:
    """A session that is fed by the meaning of its inputs, whatever an exporter called them."""

    def __init__(self, path: Path, info, optimizes: bool):
        self.session, self.info = session(path, optimizes), info
        self.outputs = [output.name for output in self.session.get_outputs()]

    def takes(self, part: str) -> bool:
        return any(part in given.name for given in self.session.get_inputs())

    def run(self, **values) -> dict[str, numpy.ndarray]:
        feed = {}
        for given in self.session.get_inputs():
            name = given.name
            kind = KINDS[given.type]
            if name in values:
                feed[name] = numpy.asarray(values[name]).astype(kind)
            elif name.startswith("past"):
                shape = (1, self.info.num_heads, 0, self.info.d_kv)
                feed[name] = numpy.zeros(shape, kind)
            elif "attention_mask" in name:
                length = values["encoder_length"]
                feed[name] = numpy.ones((1, length), kind)
            elif name == "decoder_input_ids":
                feed[name] = numpy.asarray(values["written"]).astype(kind)
            elif name in ("input_ids", "encoder_input_ids"):
                key = "given" if "given" in values else "written"
                feed[name] = numpy.asarray(values[key]).astype(kind)
            elif name == "encoder_hidden_states":
                feed[name] = values["states"].astype(kind)
            elif name == "use_cache_branch":
                feed[name] = numpy.array([values["cached"]])
            else:
                raise KeyError(f"{name} of {self.session}")
        return dict(zip(self.outputs, self.session.run(None, feed)))


def cache_of(outputs: dict, known: dict) -> dict:
    """The past of the next step: `present...` under the name of the input it feeds."""
    cache = dict(known)
    for name, value in outputs.items():
        if not name.startswith("present") or value.shape[2] == 0:
            continue
        past = re.sub(r"^present(?=\.)", "past_key_values", name)
        cache[re.sub(r"^present_", "past_", past)] = value
    return cache


def stepwise(first: Session, then: Session, states, length: int, written: list[int]):
    """One token a time, the first by one session and the others by another."""
    found, cache = [], {}
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


class Runtime:
    """The ways of a folder, by name: each gives [len(written), vocab_size] for an input."""

    def __init__(self, folder: Path, info, optimizes: bool = True):
        self.info = info
        self.sessions = {
            path.stem: Session(path, info, optimizes) for path in folder.rglob("*.onnx")
        }

    def named(self, pattern: str) -> Session | None:
        found = [each for name, each in self.sessions.items() if re.search(pattern, name)]
        return found[0] if found else None

    @property
    def is_beam_search(self) -> bool:
        return any(each.outputs == ["sequences"] for each in self.sessions.values())

    def sequences(self, ids: list[int], max_length: int) -> list[int]:
        """What a BeamSearch file writes with one beam, the start included."""
        (only,) = self.sessions.values()
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
        return only.session.run(None, feed)[0][0, 0].tolist()

    def states(self, ids: list[int]) -> numpy.ndarray:
        """The encoder's output, [len(ids), d_model]."""
        alone = self.named("encoder") or next(iter(self.sessions.values()))
        outputs = alone.run(given=[ids], encoder_length=len(ids))
        return outputs.get("last_hidden_state", outputs.get("encoder_hidden_states"))[0]

    def logits(self, ids: list[int], written: list[int]) -> dict[str, numpy.ndarray]:
        length = len(ids)
        whole = self.named(r"^model")
        if whole is not None:
            given = whole.run(given=[ids], written=[written], encoder_length=length)
            return {"whole": given["logits"][0]}
        ways: dict[str, numpy.ndarray] = {}
        encoder = self.named(r"encoder(?!_decoder)")
        init = self.named("encoder_decoder_init")
        merged = self.named("decoder_model_merged")
        plain = self.named(r"decoder_model(?!_merged)|[a-z]_decoder(?!_init)(?!_model)")
        past = self.named("decoder_with_past")
        if init is not None:
            outputs = init.run(given=[ids], written=[written[:1]], encoder_length=length)
            rest = self.continued(plain, outputs, length, written[1:])
            ways["init"] = numpy.concatenate([outputs["logits"][0], rest])
            return ways
        outputs = encoder.run(given=[ids], encoder_length=length)
        states = outputs.get("last_hidden_state", outputs.get("encoder_hidden_states"))
        if plain is not None and plain.takes("past_key_cross"):
            ways["cached"] = self.continued(plain, outputs, length, written)
            return ways
        for name, decoder in (("decoder", plain), ("merged", merged)):
            if decoder is None:
                continue
            given = decoder.run(
                written=[written], states=states, encoder_length=length, cached=False
            )
            ways[name] = given["logits"][0]
        if merged is not None and merged.takes("past_key_values"):
            ways["merged, cached"] = stepwise(merged, merged, states, length, written)
        if plain is not None and past is not None:
            ways["with past"] = stepwise(plain, past, states, length, written)
        return ways

    @staticmethod
    def continued(decoder: Session, outputs: dict, length: int, written: list[int]):
        """The logits of tokens one by one, from the cache that another session made."""
        found, cache = [], cache_of(outputs, {})
        for id in written:
            step = decoder.run(written=[[id]], encoder_length=length, **cache)
            cache = {**cache, **cache_of(step, {})}
            found.append(step["logits"][0, -1])
        return numpy.stack(found)
