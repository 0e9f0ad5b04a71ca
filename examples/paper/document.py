r"""Writes a finished study's tables and figures into a document, between markers.

    python -m paper.document build/debsum docs/results.md \
        --settings examples/paper/studies/debsum.json

The document has `<!-- study BEHAVIOUR -->` and `<!-- end of study BEHAVIOUR -->` where its tables
belong, and the same of "update upon update" where the study has that. The figures, as PNG and
CSV, go beside it. A study with a trial that is not done, or a model that is not measured, is
refused.
"""

import argparse
import shutil
from pathlib import Path
from typing import List

from .choosing import RULES
from .outputs import slug
from .settings import Settings, load
from .store import read_json, write_text
from .tables import (
    EQUAL_HEADINGS,
    EQUAL_SAID,
    HEADINGS,
    ITERATED_HEADINGS,
    cells,
    equal,
    iterated_cells,
    iterated_rows,
    markdown,
    merged,
    points,
    test_rows,
)
from .updating import histories, main_groups, planned


def missing(settings: Settings, out: Path) -> List[str]:
    """What a study has not done yet."""
    results = read_json(out / "results.json", {})
    found = [trial.key for trial in planned(settings, out) if not histories(out, [trial])]
    for name in settings.behaviours:
        for group in main_groups(settings, name):
            keys = [f"{group[0].group} | {rule}" for rule in RULES]
            found += [key for key in keys if key not in results]
    return found


def write(settings: Settings, out: Path, document: Path) -> None:
    left = missing(settings, out)
    if left:
        raise SystemExit(f"{out}: {len(left)} parts of the study are not done, such as {left[0]}")
    text = document.read_text(encoding="utf-8")
    copied = []
    for name in settings.behaviours:
        chosen = [cells(row) for row in merged(test_rows(settings, out, name))]
        equally = equal(list(points(settings, out, name)))
        shown = [markdown(HEADINGS, chosen), EQUAL_SAID, markdown(EQUAL_HEADINGS, equally)]
        text = placed(text, name, "\n\n".join(shown), document)
        copied += [f"{slug(name)}-{slug(protocol)}.png" for protocol in settings.protocols]
        copied += [f"{slug(name)}-{kind}.csv" for kind in ("test", "validation")]
    iterated = iterated_rows(settings, out)
    if iterated:
        rows = [iterated_cells(row) for row in iterated]
        text = placed(text, "update upon update", markdown(ITERATED_HEADINGS, rows), document)
        copied.append("iterated.csv")
    copied += [f"{by}{end}" for by in ("flagged", "noise") for end in (".png", ".csv")]
    for file in copied:
        if (out / "report" / file).exists():
            shutil.copy(out / "report" / file, document.parent / f"study-{file}")
    write_text(document, text)


def placed(text: str, name: str, content: str, document: Path) -> str:
    """`text` with `content` where it has a place of that name."""
    begin, end = f"<!-- study {name} -->\n", f"<!-- end of study {name} -->"
    if begin not in text or end not in text:
        raise SystemExit(f"{document} has no place for {name!r}: add {begin.strip()} and {end}")
    before, rest = text.split(begin)
    return before + begin + content + "\n" + end + rest.split(end, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path, help="the folder of the study")
    parser.add_argument("document", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    options = parser.parse_args()
    write(load(options.settings), options.out, options.document)


if __name__ == "__main__":
    main()
