"""The part of `Model` that reads what a model computes, rather than what it writes."""

from ctypes import byref, c_float, c_size_t, c_void_p
from typing import Any, List, Optional, Sequence, Union, overload

from ._base import view
from ._hypotheses import outputs_of
from ._inputs import OUTPUT, One, Sequences, Tokens, one, several
from ._library import functions
from ._parts import in_parts
from ._training import TrainableModel
from ._values import flag
from .errors import ArgumentError
from .results import Floats, Output


class ScoringModel(TrainableModel):
    """The part of `Model` that scores and embeds."""

    @overload
    def score(  # type: ignore[overload-overlap]
        self, inputs: Union[str, Sequence[int]], outputs: Union[str, Sequence[int], Output]
    ) -> Output: ...

    @overload
    def score(self, inputs: Sequence[Tokens], outputs: Sequence[Tokens]) -> List[Output]: ...

    def score(self, inputs: Any, outputs: Any) -> Union[Output, List[Output]]:
        """Scores an output as the answer to an input, or a list of each.

        `.log_probs` holds the logarithm of each token's probability, `.total` their sum.
        Ctrl-C stops it after the pairs in progress.
        """
        first, single = several(inputs, "inputs")
        second, is_one = several(outputs, "outputs", OUTPUT)
        if single != is_one:
            raise ArgumentError(
                "inputs and outputs: expected one of each or a list of each, found "
                f"{'one input' if single else 'a list of inputs'} and "
                f"{'one output' if is_one else 'a list of outputs'}"
            )
        if len(first) != len(second):
            raise ArgumentError(f"{len(first)} inputs, but {len(second)} outputs")
        ins, outs = Sequences(first), Sequences(second, "output")
        if ins.count == 0:
            return []
        scored: List[Output] = []

        def call(model: int, begin: int, end: int) -> None:
            out = c_void_p()
            functions.score(model, ins.at(begin), outs.at(begin), end - begin, byref(out))
            scored[begin:] = [few[0] for few in outputs_of(out.value, end - begin)]

        with self._handle as model:
            in_parts(model, [sum(pair) for pair in zip(ins.sizes(), outs.sizes())], call)
        return scored[0] if single else scored

    def embed(self, inputs: Any, *, normalize: bool = True) -> Floats:
        """One vector for each input: float32 [inputs, d_model].

        The mean of the encoder's output over the input's ids, divided by its L2 norm unless
        `normalize` is False. A single text or list of ids gives one row. Ctrl-C stops it after
        the inputs in progress.
        """
        sequences, scales = Sequences(several(inputs, "inputs")[0]), flag(normalize, "normalize")
        width = self._info.d_model
        values, need = (c_float * (sequences.count * width))(), c_size_t()

        def call(model: int, begin: int, end: int) -> None:
            size = (end - begin) * width
            rows = (c_float * size).from_buffer(values, 4 * begin * width)
            functions.embed(
                model, sequences.at(begin), end - begin, int(scales), rows, size, byref(need)
            )

        with self._handle as model:
            in_parts(model, sequences.sizes(), call)
        return view(values, (sequences.count, width))

    def logits(self, input: Tokens, output: Tokens) -> Floats:
        """The next-token logits at every position of `output`: float32 [ids, vocab_size].

        `numpy.asarray` takes it without a copy.
        """
        first, ids = one(input, "input"), self._ids(output, "output")
        return self._floats(functions.logits, [first], [ids], len(ids), self._info.vocab_size)

    def encoder_states(self, input: Tokens) -> Floats:
        """The encoder's output: float32 [ids, d_model]."""
        ids = self._ids(input, "input")
        return self._floats(functions.encoder_states, [ids], None, len(ids), self._info.d_model)

    def _floats(
        self,
        function: Any,
        inputs: List[One],
        outputs: Optional[List[One]],
        rows: int,
        width: int,
    ) -> Floats:
        sequences = [Sequences(inputs)]
        if outputs is not None:
            sequences.append(Sequences(outputs, "output"))
        values, count = (c_float * (rows * width))(), c_size_t()
        with self._handle as model:
            arrays = [sequence.array for sequence in sequences]
            function(model, *arrays, values, rows * width, byref(count))
        return view(values, (rows, width))
