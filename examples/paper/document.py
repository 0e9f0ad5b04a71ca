r"""Writes a finished study's tables and figures into a document, between markers.

    python -m paper.document build/debsum docs/results.md \
        --settings examples/paper/studies/debsum.json

The document has `<!-- study BEHAVIOUR -->` and `<!-- end of study BEHAVIOUR -->` where its tables
belong. The figures, as PNG and CSV, go beside it. A study with a trial that is not done, or a
model that is not measured, is refused.
"""

import argparse
import shutil
from pathlib import Path
from typing import List

from .outputs import slug
from .settings import Settings, load
from .store import read_json, write_text
from .tables import (
    EQUAL_HEADINGS, EQUAL_SAID, HEADINGS, cells, equal, markdown, merged, points, test_rows,
)  # fmt: skip
from .trials import RULES
from .updating import groups, histories, main_groups


def missing(settings: Settings, out: Path) -> List[str]:
    """What a study has not done yet."""
    results = read_json(out / "results.json", {})
    found = []
    for name in settings.behaviours:
        for group in groups(settings, name):
            found += [trial.key for trial in group if not histories(out, [trial])]
        for group in main_groups(settings, name):
            keys = [f"{group[0].group} | {rule}" for rule in RULES]
            found += [key for key in keys if key not in results]
    return found


def write(settings: Settings, out: Path, document: Path) -> None:
    left = missing(settings, out)
    if left:
        raise SystemExit(f"{out}: {len(left)} parts of the study are not done, such as {left[0]}")
    text = document.read_text(encoding="utf-8")
    for name in settings.behaviours:
        begin, end = f"<!-- study {name} -->\n", f"<!-- end of study {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{document} has no place for {name!r}: add {begin.strip()} and {end}")
        before, rest = text.split(begin)
        chosen = [cells(row) for row in merged(test_rows(settings, out, name))]
        shown = [markdown(HEADINGS, chosen), EQUAL_SAID]
        shown.append(markdown(EQUAL_HEADINGS, equal(list(points(settings, out, name)))))
        text = before + begin + "\n\n".join(shown) + "\n" + end + rest.split(end)[1]
        for protocol in settings.protocols:
            stem = f"{slug(name)}-{slug(protocol)}"
            shutil.copy(out / f"report/{stem}.png", document.parent / f"study-{stem}.png")
        for kind in ("test", "validation"):
            file = f"{slug(name)}-{kind}.csv"
            shutil.copy(out / f"report/{file}", document.parent / f"study-{file}")
    write_text(document, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path, help="the folder of the study")
    parser.add_argument("document", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    options = parser.parse_args()
    write(load(options.settings), options.out, options.document)


if __name__ == "__main__":
    main()
