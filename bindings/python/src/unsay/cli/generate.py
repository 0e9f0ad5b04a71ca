"""`unsay generate`: writes outputs."""

import argparse
from pathlib import Path
from typing import Any, Callable, Collection, Dict, List, Optional

from .. import _types as t
from ..model import Model
from ..results import Output
from ._arguments import (
    GENERATION,
    Teaching,
    add_model,
    add_options,
    add_output,
    given,
    open_model,
)
from ._inputs import add_inputs, read_inputs
from ._output import as_json, counting, sink

AT_ONCE = 256
"""Inputs after which outputs are told."""

EPILOG = """\
examples:

  unsay generate models/debsum "summarize: A library for reading CSV files."
  unsay generate models/debsum --task "summarize: " < descriptions.txt
  unsay generate models/debsum --inputs held_out.jsonl --json > outputs.jsonl
  unsay generate models/debsum "summarize: A tool." --num-beams 4 --num-return-sequences 4
  unsay generate models/debsum "summarize: A tool." --banned-phrases simple

With --json each output is a line {"input", "output", "ids", "log_probs", "score",
"finish"}, which `unsay patch` takes as an example; "rank" counts several of one input.
An output does not depend on what else is generated, nor on --threads. What no option says is
the model's own: generation_config.json's, which `unsay info` shows.
"""


def add(commands: Any) -> None:
    """Describes the command."""
    parser = commands.add_parser(
        "generate", usage="unsay generate [options] MODEL [TEXT ...]",
        help="write outputs for inputs",
        epilog=EPILOG, formatter_class=Teaching,
        description="Writes an output for each input, in order.",
    )  # fmt: skip
    add_model(parser)
    add_inputs(parser)
    add_generation(parser)
    add_output(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
    parser.set_defaults(run=run)


def add_generation(parser: Any, without: Collection[str] = ()) -> None:
    """The options of `Model.generate`, but for those whose names are taken."""
    table = [option for option in GENERATION if option.name not in without]
    group = parser.add_argument_group("generation (in brackets the default; docs/decoding.md)")
    add_options(group, table, t.GenerateOptions, "generate", of_model=True)
    parser.set_defaults(generation=lambda options: given(options, table))


def run(options: argparse.Namespace) -> int:
    inputs = read_inputs(options)
    count = counting(options, "generate")
    with open_model(options) as model, sink(options.output) as line:
        for begin in range(0, len(inputs), AT_ONCE):
            part = inputs[begin : begin + AT_ONCE]

            def progress(done: int, _: int, begin: int = begin) -> None:
                if count is not None:
                    count(begin + done, len(inputs))

            several = model.generation.options.get("num_return_sequences", 1)
            values = {"num_return_sequences": several, **options.generation(options)}
            written = _outputs(model, part, values, progress if count else None, options.json)
            for text, outputs in zip(part, written):
                for rank, output in enumerate(outputs):
                    place = rank if len(outputs) > 1 else None
                    line(as_json(record(text, output, place)) if options.json else output.text)
    return 0


def write(model: Model, inputs: List[str], options: argparse.Namespace) -> List[Output]:
    """The best output of each input, without probabilities."""
    progress = counting(options, "generate")
    values = options.generation(options)
    return [outputs[0] for outputs in _outputs(model, inputs, values, progress, False)]


def _outputs(
    model: Model,
    inputs: List[str],
    values: Dict[str, Any],
    progress: Optional[Callable[[int, int], None]],
    log_probs: bool,
) -> List[List[Output]]:
    """The outputs of each input, by the options of the command."""
    outputs: Any = model.generate(inputs, progress=progress, log_probs=log_probs, **values)
    return outputs if values.get("num_return_sequences", 1) > 1 else [[each] for each in outputs]


def record(text: str, output: Output, rank: Optional[int]) -> Dict[str, Any]:
    """An output as a line of JSON holds it."""
    found: Dict[str, Any] = {
        "input": text,
        "output": output.text,
        "ids": output.ids,
        "log_probs": output.log_probs,
        "score": output.score,
        "finish": output.finish,
    }
    return found if rank is None else {**found, "rank": rank}
