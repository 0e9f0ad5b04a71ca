"""Rows of the files that data sets are distributed in: JSON lines, TSV, CSV and Parquet."""

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, Sequence

Row = Dict[str, Any]
ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".tsv", ".csv", ".parquet")


def rows(path: Path, columns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a file by the ending of its name; each must have all `columns`."""
    name = path.name
    if name.endswith(".parquet"):
        found = _parquet(path)
    elif name.endswith((".tsv", ".csv", ".tsv.gz", ".csv.gz")):
        found = _separated(path, "\t" if ".tsv" in name else ",")
    elif name.endswith((".jsonl", ".jsonl.gz", ".json")):
        found = _json(path)
    else:
        raise SystemExit(f"{path}: expected one of {', '.join(ENDINGS)}")
    for number, row in enumerate(found, 1):
        missing = [column for column in columns if column not in row]
        if missing:
            raise SystemExit(
                f"{path}, row {number}: no column {missing[0]!r}; it has {', '.join(map(str, row))}"
            )
        yield row


def _opened(path: Path) -> IO[str]:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return open(path, encoding="utf-8", newline="")


def _json(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise SystemExit(f"{path}, line {number}: {error}") from None
            if not isinstance(row, dict):
                raise SystemExit(f"{path}, line {number}: expected an object of JSON")
            yield row


def _separated(path: Path, separator: str) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _opened(path) as file:
        yield from csv.DictReader(file, delimiter=separator)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise SystemExit(f"{path}: reading Parquet needs pyarrow") from None
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def parts(folder: Path, names: Sequence[str]) -> List[Path]:
    """The files of a split: `NAME.ENDING`, or parts `NAME-00000-of-00002.parquet` and the like.

    `names` are what the split may be called; the first with a file is taken.
    """
    for name in names:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.name.endswith(ENDINGS)
            and (path.name.split(".")[0] == name or path.name.startswith(f"{name}-"))
        )
        if found:
            return found
    return []
