"""Texts and examples from arguments, standard input and files."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence

from ._output import Refusal

STDIN = Path("-")


def add_inputs(parser: Any, none: str = "a line of standard input each") -> None:
    """Where the inputs come from; `none` says what they are if none is given."""
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT",
        help=f"an input; -: a line of standard input each; none at all: {none}",
    )  # fmt: skip
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--inputs", type=Path, action="append", default=[], metavar="FILE",
        help="inputs from a file: .jsonl, one JSON string or object a line; else plain lines",
    )  # fmt: skip
    group.add_argument(
        "--field", default="input", metavar="NAME", help="of such objects, the text (input)"
    )
    group.add_argument(
        "--task", default="", metavar="TEXT",
        help='put in front of every input, e.g. "summarize: "',
    )  # fmt: skip


def read_inputs(options: argparse.Namespace) -> List[str]:
    """Every input, in the order given; at least one."""
    texts: List[str] = []
    for text in options.texts:
        texts.extend(_plain(STDIN) if text == "-" else [text])
    for path in options.inputs:
        texts.extend(inputs_of(path, options.field))
    if not options.texts and not options.inputs:
        texts.extend(_plain(STDIN))
    if not texts:
        raise Refusal("there are no inputs: give texts, --inputs FILE or lines on standard input")
    return [options.task + text for text in texts]


def inputs_of(path: Path, field: str = "input") -> List[str]:
    """The inputs in a file."""
    if path.suffix not in (".jsonl", ".ndjson"):
        return list(_plain(path))
    found = []
    for number, value in _json_lines(path):
        text = value.get(field) if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise Refusal(
                f"{path}, line {number}: expected a JSON string or an object with the text "
                f"{field!r}, found {json.dumps(value)[:60]}"
            )
        found.append(text)
    return found


def records_of(path: Path) -> List[Dict[str, Any]]:
    """The examples in a JSONL file: objects with at least an "input"; `-` is standard input."""
    records = []
    for number, value in _json_lines(path):
        if isinstance(value, str):
            value = {"input": value}
        if not isinstance(value, dict) or not isinstance(value.get("input"), str):
            raise Refusal(
                f'{path}, line {number}: expected an object with the text "input", '
                f"found {json.dumps(value)[:60]}"
            )
        records.append({**value, "place": f"{path}, line {number}"})
    if not records:
        raise Refusal(f"{path} has no examples")
    return records


def detector(phrases: Sequence[str], pattern: Any) -> Callable[[str], bool]:
    """Whether a text shows the behaviour: has one of the phrases as whole words, in any letter
    case, or matches a regular expression."""
    parts = [
        r"(?<!\w)" + r"\s+".join(re.escape(word) for word in phrase.split()) + r"(?!\w)"
        for phrase in phrases
    ]
    tests = [re.compile("|".join(parts), re.IGNORECASE)] if parts else []
    if pattern is not None:
        try:
            tests.append(re.compile(pattern))
        except re.error as error:
            raise Refusal(f"--detect {pattern!r} is no regular expression: {error}") from None
    return lambda text: any(test.search(text) for test in tests)


def _lines(path: Path) -> Iterator[str]:
    if path == STDIN:
        if sys.stdin.isatty():
            print("unsay: reading standard input, a line each", file=sys.stderr)
        yield from sys.stdin
        return
    with path.open(encoding="utf-8") as file:
        yield from file


def _plain(path: Path) -> Iterable[str]:
    return (line.rstrip("\r\n") for line in _lines(path) if line.strip())


def _json_lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise Refusal(f"{path}, line {number}: not JSON: {error.msg}") from None
