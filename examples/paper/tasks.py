"""The tasks: pairs of an input and its reference, in three splits.

- **xsum**: summaries of BBC articles. Either a folder with a file for each split, of columns
  `document` and `summary`, or what the authors' scripts download: the folder
  `xsum-extracts-from-downloads` beside the file of splits.
- **civil**: replies to comments. The publisher's `civil_comments.csv`, whose column `split`
  says where a row belongs, or a folder with a file for each split, of columns `parent_text`
  and `comment_text` (or `text`). Rows without a parent are no pairs.
- **debsum**: Debian's package descriptions and their synopses, made from apt's own lists.
- **pairs**: a folder with a file for each split, of columns `input` and `target`.
"""

import ast
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from . import debsum
from .files import Row, parts, rows
from .settings import Settings
from .store import read_json, read_lines, write_json, write_lines

SPLITS = ("train", "validation", "test")
NAMES = {
    "train": ("train",),
    "validation": ("validation", "val", "dev", "test_public"),
    "test": ("test", "test_private"),
}
PUBLISHED = {
    "xsum": {"train": 203_577, "validation": 11_305, "test": 11_301},
    "civil": {"train": 175_754, "validation": 21_974, "test": 22_009},
}
"""The pairs of each split in the paper."""

# What the BBC's pages say around an article.
PAGE_LINES = {
    "Share this with", "Email", "Facebook", "Messenger", "Twitter", "Pinterest", "WhatsApp",
    "Linkedin", "LinkedIn", "Copy this link",
    "These are external links and will open in a new window",
}  # fmt: skip
XSUM_SPLITS = "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"

Pair = Dict[str, str]


def xsum(folder: Path) -> Iterator[Tuple[str, Pair]]:
    """Pairs with their split."""
    if (folder / XSUM_SPLITS).exists():
        yield from _xsum_downloads(folder)
        return
    for split, row in _by_split(folder, ("document", "summary")):
        yield split, {"input": f"summarize: {row['document']}", "target": row["summary"]}


def _xsum_downloads(folder: Path) -> Iterator[Tuple[str, Pair]]:
    splits = json.loads((folder / XSUM_SPLITS).read_text(encoding="utf-8"))
    for split in SPLITS:
        for name in splits[split]:
            path = folder / "xsum-extracts-from-downloads" / f"{name}.data"
            if not path.exists():  # the Web Archive does not give all of them any more
                continue
            lines = path.read_text(encoding="utf-8").splitlines()
            text = "\n".join(line for line in lines if line.strip() not in PAGE_LINES | {""})
            sections = text.split("[XSUM]")
            named = {sections[i]: sections[i + 1].strip() for i in range(1, len(sections) - 1, 2)}
            if not named.get("INTRODUCTION") or not named.get("RESTBODY"):
                raise SystemExit(f"{path}: expected the sections INTRODUCTION and RESTBODY")
            document = named["RESTBODY"]
            yield split, {"input": f"summarize: {document}", "target": named["INTRODUCTION"]}


def civil(place: Path) -> Iterator[Tuple[str, Pair]]:
    """Pairs with their split: what was replied to, and the reply."""
    if place.is_dir() and (place / "civil_comments.csv").exists():
        place = place / "civil_comments.csv"
    if place.is_dir():
        found = _by_split(place, ("parent_text",))
    else:
        split_of = {name: split for split, names in NAMES.items() for name in names}
        found = (
            (split_of[row["split"]], row)
            for row in rows(place, ("parent_text", "split"))
            if row["split"] in split_of
        )
    for split, row in found:
        parent, reply = (row["parent_text"] or "").strip(), comment(row).strip()
        if parent and reply:
            yield split, {"input": f"reply: {parent}", "target": reply}


def comment(row: Row) -> str:
    """The comment of a row: `comment_text` in the publisher's file, `text` in others."""
    text = row.get("comment_text", row.get("text"))
    if text is None:
        raise SystemExit(f"a row has neither comment_text nor text: {', '.join(row)}")
    return str(text)


Spanned = Tuple[str, List[Tuple[int, int]]]


def spans(path: Path, split: str = "train") -> Iterator[Spanned]:
    """Comments with the character ranges that annotators marked.

    Civil Comments Spans list the index of every marked character in a column `spans`; the
    publisher's one file says in `spans_split` which rows have any. Ranges are read as well.
    """
    for row in rows(path, ("spans",)):
        if "spans_split" in row and row["spans_split"] not in NAMES[split]:
            continue
        value = row["spans"]
        if value is None or value == "":
            continue
        yield comment(row), ranges(ast.literal_eval(value) if isinstance(value, str) else value)


def ranges(marked: Any) -> List[Tuple[int, int]]:
    """Character ranges from indices of characters, or from ranges."""
    if len(marked) and not isinstance(marked[0], int):
        return sorted((int(begin), int(end)) for begin, end in marked)
    found: List[Tuple[int, int]] = []
    for index in sorted(set(marked)):
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


def pairs(folder: Path) -> Iterator[Tuple[str, Pair]]:
    for split, row in _by_split(folder, ("input", "target")):
        yield split, {"input": row["input"], "target": row["target"]}


def _by_split(folder: Path, columns: Tuple[str, ...]) -> Iterator[Tuple[str, Row]]:
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; set `data` to where the files of the task are")
    for split in SPLITS:
        found = parts(folder, NAMES[split])
        if not found:
            raise SystemExit(
                f"{folder} has no file of the split {split!r}, such as {split}.jsonl, "
                f"{split}.tsv or {split}-00000-of-00001.parquet"
            )
        for path in found:
            for row in rows(path, columns):
                yield split, row


READERS = {"xsum": xsum, "civil": civil, "pairs": pairs}


def prepare(settings: Settings, out: Path) -> None:
    """The stage "data": writes every split as lines of JSON, and a manifest of their sizes."""
    if read_json(out / "data/manifest.json") is not None:
        return
    task = settings.task
    if task == "debsum" and not settings.data:
        lists = out / "lists"
        debsum.fetch(lists)
        found = debsum.pairs(lists)
    elif task == "debsum":
        found = pairs(settings.path(settings.data))
    elif task in READERS:
        if not settings.data:
            raise SystemExit(f"{task} needs its files: set `data` to where they are")
        found = READERS[task](settings.path(settings.data))
    else:
        raise SystemExit(f"task is {task!r}, expected debsum or one of {', '.join(READERS)}")
    split: Dict[str, List[Pair]] = {name: [] for name in SPLITS}
    for name, pair in found:
        split[name].append(pair)
    counts = {name: len(split[name]) for name in SPLITS}
    published = PUBLISHED.get(task)
    if settings.check_counts and published is not None and counts != published:
        raise SystemExit(
            f"{task} has {counts}, expected {published}; set check_counts to false to go on"
        )
    for name in SPLITS:
        limit = settings.inputs.get(name)
        write_lines(out / f"data/{name}.jsonl", split[name][:limit])
    write_json(out / "data/manifest.json", {"task": task, "pairs": counts, "published": published})
    print(f"data: {', '.join(f'{counts[name]:,} {name}' for name in SPLITS)} pairs of {task}")


def load(out: Path, split: str) -> List[Pair]:
    """The pairs of a split that the study uses."""
    path = out / f"data/{split}.jsonl"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run the stage data first")
    return read_lines(path)
