#!/usr/bin/env python3
"""Writes the pages of the Python package, from its docstrings, by pdoc.

scripts/api_docs.py [--out build/docs]
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pages of the Python package.")
    parser.add_argument("--out", type=Path, default=ROOT / "build/docs")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "bindings/python/src"))
    import pdoc
    import typing_extensions
    import unsay
    import unsay.model

    # Names that only type checkers import.
    unsay.model.Unpack = typing_extensions.Unpack
    unsay.model.GenerateOptions = unsay.GenerateOptions

    pdoc.render.configure(docformat="markdown", search=True, show_source=False)
    pdoc.pdoc("unsay", "!unsay.cli", "!unsay.libunsay", output_directory=options.out)
    print(options.out / "unsay.html")


if __name__ == "__main__":
    main()
