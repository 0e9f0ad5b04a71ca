"""Arguments that several commands share; options are named as in Python, with hyphens."""

import argparse
import textwrap
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Union

from .. import _types as t
from .._library import initialised
from ..model import Model, open


class Teaching(argparse.RawDescriptionHelpFormatter):
    """Help in which examples keep their lines, and plain sentences are wrapped."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=92)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width)


class Option(NamedTuple):
    """One option of the library: `name` as in Python."""

    name: str
    kind: Any
    help: str


YES = "yes"
"""The kind of an option without a value."""
MANY = "many"
"""The kind of an option that may be given several times."""

GENERATION = [
    Option("max_new_tokens", int, "tokens an output may have, the end included"),
    Option("min_new_tokens", int, "tokens before the end may be written"),
    Option("num_beams", int, "beams; 1 is greedy search"),
    Option("num_return_sequences", int, "outputs kept for each input"),
    Option("num_beam_groups", int, "groups of diverse beam search"),
    Option("diversity_penalty", float, "what a token costs that another group chose"),
    Option("length_penalty", float, "above 0 favours long outputs of a beam search"),
    Option("do_sample", YES, "draw tokens instead of taking the likeliest"),
    Option("seed", int, "of drawing: the same seed gives the same outputs"),
    Option("temperature", float, "of drawing: below 1 is more careful"),
    Option("top_k", int, "draw among so many; 0 is all"),
    Option("top_p", float, "draw among the likeliest that reach this probability"),
    Option("min_p", float, "draw among those with this share of the largest probability"),
    Option("typical_p", float, "draw among those of usual surprise"),
    Option("repetition_penalty", float, "above 1 disfavours tokens written before"),
    Option("no_repeat_ngram_size", int, "no run of so many tokens twice; 0 is off"),
    Option("banned_phrases", MANY, "a phrase never to write, however cased or split"),
    Option("stop_strings", MANY, "a text that ends an output"),
    Option("prompt_lookup_num_tokens", int, "guess so many tokens from the input: same output"),
    Option("max_batch_tokens", int, "tokens of inputs that run together"),
]  # fmt: skip

OF_LIBRARY = ("seed", "banned_phrases", "max_batch_tokens")
"""Options of a generation whose defaults no model changes."""

PATCH = [
    Option("loss", t.LOSSES, "what is minimised; docs/patching.md has the formulas"),
    Option("form", t.FORMS, "the loss as mathematics, or as in the published code"),
    Option("alpha", float, "weight of avoided tokens against kept ones"),
    Option("retain", float, "share of its probability that an avoided token may keep"),
    Option("scope", MANY, "what may change: tokens, all, decoder, cross_attention, feed_forward, "
           "head, or names of tensors with *; may be repeated for names"),
    Option("lora_rank", int, "change projections by factors of this rank; 0 is off"),
    Option("lora_alpha", float, "factors are multiplied by this over their rank"),
    Option("optimizer", t.OPTIMIZERS, "how gradients become changes"),
    Option("learning_rate", float, "0 is the best one known for scope and optimizer"),
    Option("schedule", t.SCHEDULES, "of the learning rate, after its rise"),
    Option("warmup_steps", int, "steps in which the learning rate rises"),
    Option("decay_steps", int, "steps in which it falls to 0; 0 is never"),
    Option("momentum", float, "of sgd"),
    Option("batch_size", int, "examples a step"),
    Option("micro_batch_size", int, "of these, in memory at once; 0 is all"),
    Option("recompute", YES, "less memory, a third more time, the same result"),
    Option("compute", {"f32": 0, "bf16": 1}, "arithmetic of training steps"),
    Option("dropout", float, "share of values that training drops"),
    Option("weight_decay", float, "pull towards the original weights"),
    Option("z_loss", float, "weight of the squared log-normaliser"),
    Option("gradient_clip", float, "largest norm of a step's gradient; 0 is off"),
    Option("seed", int, "of the order of examples and of dropout"),
    Option("max_avoid_p", float, "the goal: every flagged token below this probability"),
    Option("max_guard_kl", float, "limit of the guard's drift, nats a token"),
    Option("max_guard_flips", float, "limit of guard tokens whose likeliest choice changes"),
    Option("max_root_kl", float, "limit of the guard's drift from --root"),
    Option("keep_examples", YES, "the delta carries the examples, for Model.rebase"),
]  # fmt: skip

RUN = [
    Option("max_steps", int, "steps at most"),
    Option("evaluate_every", int, "steps between measurements"),
    Option("patience", int, "measurements without a better one that end it; 0 is no limit"),
    Option("select", t.SELECTS, "which measurement is the best"),
]


def add_options(
    parser: Any, options: Sequence[Option], kind: Any, name: str, of_model: bool = False
) -> None:
    """Adds options that default to None: then the library's own default holds, or the
    model's, which `of_model` says in the help."""
    defaults = initialised(kind, name)
    for option in options:
        known = "the model's, else " if of_model and option.name not in OF_LIBRARY else ""
        flag = "--" + option.name.replace("_", "-")
        if option.kind == MANY:
            parser.add_argument(flag, action="append", metavar="TEXT", help=option.help)
            continue
        value = getattr(defaults, option.name)
        if option.kind == YES and known:
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None,
                help=f"{option.help} ({known}not)",
            )  # fmt: skip
        elif option.kind == YES:
            parser.add_argument(flag, action="store_true", default=None, help=option.help)
        elif isinstance(option.kind, dict):
            names = {number: text for text, number in option.kind.items()}
            parser.add_argument(
                flag, choices=list(option.kind), help=f"{option.help} ({names[value]})"
            )
        else:
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            parser.add_argument(
                flag, type=option.kind, metavar="N", help=f"{option.help} ({known}{shown})"
            )


def given(options: argparse.Namespace, table: Sequence[Option]) -> Dict[str, Any]:
    """The options of a table that were given, by their Python names."""
    values = {option.name: getattr(options, option.name) for option in table}
    return {name: value for name, value in values.items() if value is not None}


def scope(values: Optional[List[str]]) -> Union[str, List[str], None]:
    """--scope as `Model.patch` takes it."""
    if values is not None and len(values) == 1 and values[0] in t.SCOPES:
        return values[0]
    return values


def add_model(parser: Any, *, computes: bool = True) -> None:
    """The model folder, and how it is opened."""
    parser.add_argument("model", type=Path, help="a model folder: .onnx files, config, vocabulary")
    group = parser.add_argument_group("opening the model")
    group.add_argument("--threads", type=int, default=0, metavar="N", help="0 is one a core (0)")
    if computes:
        group.add_argument(
            "--compute", choices=list(t.COMPUTES), default="f32",
            help="arithmetic: bf16 and int8 need a half and a quarter of the memory (f32)",
        )  # fmt: skip
    group.add_argument("--variant", help="ending of the files' names, e.g. fp16")
    group.add_argument("--tokenizer", type=Path, help="a vocabulary file elsewhere")
    group.add_argument(
        "--allow-links", action="store_true", help="files of external data may be links to anywhere"
    )


def open_model(
    options: argparse.Namespace, folder: Optional[Path] = None, *, computes: bool = True
) -> Model:
    """Opens the command's model, or another folder in the same way."""
    return open(
        folder or options.model,
        threads=options.threads,
        compute=options.compute if computes else "f32",
        variant=options.variant,
        tokenizer=options.tokenizer,
        allow_links=options.allow_links,
    )


def add_rounding(parser: Any) -> None:
    """Whether the model's own folder may be replaced by rounded weights."""
    parser.add_argument(
        "--allow-rounding", action="store_true",
        help="replace the model's folder although its 16 bits do not hold the result exactly",
    )  # fmt: skip


def add_output(parser: Any) -> None:
    """How results are told."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="results as JSON, for programs")
    group.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, default=None,
        help="a progress bar on stderr; by default if that is a terminal",
    )  # fmt: skip
