#!/usr/bin/env python3
"""Prints the name of every function that include/unsay.h declares, one a line."""

import re
import sys
from pathlib import Path

HEADER = Path(__file__).resolve().parent.parent / "include" / "unsay.h"


def header_functions(header: Path = HEADER) -> list[str]:
    """The exported functions of the header, in its order."""
    code = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    code = re.sub(r"^#.*$", "", code, flags=re.MULTILINE)
    return re.findall(r"\bUNSAY_API\b[^;({]*?\b(unsay_\w+)\s*\(", code)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in header_functions()))
