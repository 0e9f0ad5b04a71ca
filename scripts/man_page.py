"""Writes unsay(1) to stdout, from the help of the command line itself.

PYTHONPATH=bindings/python/src python scripts/man_page.py
"""

import argparse
import os
from typing import Dict

os.environ["COLUMNS"] = "80"

from unsay import version
from unsay.cli import EPILOG, parser


def roff(text: str) -> str:
    """Text as it is: no line begins a request, no character means another."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\n".join("\\&" + line if line else "" for line in escaped.strip("\n").split("\n"))


def verbatim(text: str) -> str:
    return f".nf\n{roff(text)}\n.fi"


def commands(whole: argparse.ArgumentParser) -> Dict[str, argparse.ArgumentParser]:
    """Each command's own parser."""
    found = [each for each in whole._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(found[0].choices)


def page() -> str:
    whole = parser()
    found = commands(whole)
    parts = [
        f'.TH UNSAY 1 "" "unsay {version()}" "User Commands"',
        ".SH NAME\nunsay \\- run T5 models in process and make them unsay what you flag",
        ".SH SYNOPSIS\n.B unsay\n.I COMMAND\n[options]",
        f".SH DESCRIPTION\n{roff(whole.description or '')}\n.PP\n{verbatim(EPILOG)}",
    ]
    for name, command in found.items():
        parts.append(f".SH UNSAY {name.upper()}\n{verbatim(command.format_help())}")
    return "\n".join(parts)


print(page())
