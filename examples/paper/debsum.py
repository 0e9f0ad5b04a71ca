"""The task debsum: a Debian package's long description -> its one-line synopsis.

Made from apt's own lists: Packages files say which source a package is built from, and
Translation-en files have the descriptions. The names of package and source are taken out of
the description, near-duplicates are dropped, and no source package is in two splits. Nothing is
random: the split is a hash of the source package's name.

    python -m paper.debsum OUT [--lists LISTS]
"""

import argparse
import collections
import hashlib
import re
import subprocess
from pathlib import Path
from typing import Counter, Dict, Iterator, List, Optional, Set, Tuple

from .store import write_lines

MIN_LONG = 40  # characters of a cleaned long description
MAX_CHARACTERS = 1200  # more than 128 ids in any case
MAX_PER_SOURCE = 12  # a source with 300 binary packages must not dominate
RARE = 15  # sources that use a word; a package called "less" keeps its name in the text
COUNTED = 30

Pair = Dict[str, str]
TRANSLATIONS = "*_Translation-en*"


def fetch(lists: Path) -> None:
    """Downloads apt's lists with English descriptions into a folder of their own."""
    complete = lists / "complete"
    if complete.exists():
        return
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "-qq", "-o", "Acquire::Languages=en", "-o",
               f"Dir::State::Lists={lists.resolve()}", "update"]  # fmt: skip
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"debsum needs apt's lists, and apt-get did not give them: {error}")
    if not sorted(lists.glob(TRANSLATIONS)):
        raise SystemExit(f"apt-get left no {TRANSLATIONS} in {lists}")
    complete.touch()


HELPER = "/usr/lib/apt/apt-helper"


def content(path: Path) -> str:
    """The text of a list, however apt keeps it: as it is, or compressed."""
    if path.suffix not in (".lz4", ".gz", ".xz", ".zst", ".bz2"):
        return path.read_text(encoding="utf-8", errors="replace")
    done = subprocess.run([HELPER, "cat-file", str(path)], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode("utf-8", "replace")


def stanzas(text: str) -> Iterator[Dict[str, str]]:
    """The paragraphs of a control file that are about a package: field -> value."""
    for block in text.split("\n\n"):
        fields: Dict[str, str] = {}
        key: Optional[str] = None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                if key:
                    fields[key] += "\n" + line
            elif ":" in line:
                key, value = line.split(":", 1)
                fields[key] = value.strip()
        if fields.get("Package"):
            yield fields


def cleaned(body: str) -> str:
    """Joins the lines of a long description; links and rules are left out."""
    paragraphs: List[str] = []
    lines: List[str] = []
    for line in body.split("\n"):
        line = line[1:] if line[:1] == " " else line
        if line.strip() in (".", ""):
            if lines:
                paragraphs.append(" ".join(lines))
                lines = []
            continue
        lines.append(line.strip())
    if lines:
        paragraphs.append(" ".join(lines))
    text = " ".join(paragraphs)
    text = re.sub(r"See (also )?<?https?://\S+>? for more information[^.]*\.", "", text)
    text = re.sub(r"<?https?://\S+", "", text)
    text = re.sub(r"[-=*_~#+.]{4,}", " ", text)
    return re.sub(r"\s+", " ", text).strip()


BOILERPLATE = re.compile(
    r"This package contains the (following binaries|source for the Rust)[^.]*\."
    r"|packaged by debcargo[^.]*\."
    r"|This metapackage enables feature[^.]*\.|Additionally, this package[^.]*\."
    r"|This package provides (the documentation for )?a library for the Haskell programming"
    r" language[^.]*\."
    r"|This package (contains|provides) (the )?(documentation|development files|header files"
    r"|shared library|debug symbols)[^.]*\."
)


def letters(text: str) -> str:
    """What near-duplicates have in common."""
    return re.sub(r"[^a-z]+", " ", text.lower()).strip()


def group_of(source: str) -> str:
    """Versioned names fall into one group: gcc-12, gcc-11 -> gcc."""
    return re.sub(r"[-.]?\d+(\.\d+)*([a-z]\d*)?$", "", source) or source


class Names:
    """Takes package names out of descriptions, unless they are words that many packages use."""

    def __init__(self, described: Dict[str, Tuple[str, str]], source: Dict[str, str]) -> None:
        self.users: Dict[str, Set[str]] = collections.defaultdict(set)
        for package, (_, long) in described.items():
            for word in set(re.findall(r"[a-z0-9][a-z0-9+.\-]*", long.lower())):
                users = self.users[word.rstrip(".-")]
                if len(users) < COUNTED:
                    users.add(source.get(package, package))

    def removed(self, long: str, package: str, source: str) -> Tuple[str, List[str]]:
        """The text without the names, and the names that it had."""
        names = {
            name
            for name in (package, source)
            if len(name) > 2 and len(self.users.get(name.lower(), ())) <= RARE
        }
        gone = []
        for name in sorted(names, key=len, reverse=True):
            pattern = re.compile(rf"(?<![\w.+/-]){re.escape(name)}(?![\w+/-]|\.\w)", re.I)
            if pattern.search(long):
                gone.append(name)
                long = pattern.sub("this package", long)
        long = re.sub(r"\b(the|a|an|this) this package\b", r"\1 package", long, flags=re.I)
        long = re.sub(r"\bpackage package\b", "package", long, flags=re.I)
        long = re.sub(r"(^|[.!?] )this package\b", lambda m: m.group(1) + "This package", long)
        return long, gone


def _described(lists: Path) -> Tuple[Dict[str, Tuple[str, str]], Dict[str, str]]:
    """(synopsis, long description) of each package, and its source."""
    source: Dict[str, str] = {}
    for path in sorted(lists.glob("*_Packages*")):
        for fields in stanzas(content(path)):
            source[fields["Package"]] = fields.get("Source", fields["Package"]).split(" ")[0]
    described: Dict[str, Tuple[str, str]] = {}
    # The release itself last, so that it wins over its updates.
    paths = sorted(lists.glob(TRANSLATIONS))
    for path in sorted(paths, key=lambda path: "bookworm_main" in path.name):
        for fields in stanzas(content(path)):
            if "Description-en" in fields:
                synopsis, _, body = fields["Description-en"].partition("\n")
                described[fields["Package"]] = (synopsis.strip(), cleaned(body))
    return described, source


def unfit(package: str, synopsis: str, long: str) -> str:
    """Why a description makes no pair; empty if it does."""
    if re.search(r"-(dbg|dbgsym|udeb)$", package):
        return "debug"
    if re.search(r"debug(ging)? symbols", synopsis, re.I):
        return "debug"
    if re.search(r"transitional|dummy (package|empty)|obsolete", synopsis + " " + long[:200], re.I):
        return "transitional"
    if len(long) < MIN_LONG:
        return "short"
    if not 8 <= len(synopsis) <= 120:
        return "synopsis length"
    if sum(ord(character) < 128 for character in long) / len(long) < 0.97:
        return "not ASCII"
    return ""


def pairs(lists: Path, dropped: Optional[Counter[str]] = None) -> Iterator[Tuple[str, Pair]]:
    """Pairs with their split, in a fixed order that makes the first n a fair sample.

    Counts into `dropped` why packages were left out.
    """
    dropped = collections.Counter() if dropped is None else dropped
    described, source = _described(lists)
    names = Names(described, source)
    long_seen: Set[str] = set()
    synopsis_seen: Set[str] = set()
    count_of_group: Counter[str] = collections.Counter()
    kept: List[Tuple[str, Pair]] = []
    for package in sorted(described):
        synopsis, long = described[package]
        from_source = source.get(package, package)
        group = group_of(from_source)
        reason = unfit(package, synopsis, long)
        long_key = letters(long[:400])
        synopsis_key = letters(re.sub(r"\(.*?\)|\s-+\s.*$", " ", synopsis)) or letters(synopsis)
        if not reason and long_key in long_seen:
            reason = "same long description"
        if not reason and synopsis_key in synopsis_seen:
            reason = "same synopsis"
        if not reason and count_of_group[group] >= MAX_PER_SOURCE:
            reason = "enough of its source"
        if not reason:
            text, gone = names.removed(long, package, from_source)
            text = text[:MAX_CHARACTERS]
            target = _target(synopsis)
            if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", target, re.I) for name in gone):
                reason = "target has the removed name"
            elif len(letters(BOILERPLATE.sub("", text))) < MIN_LONG - 5:
                reason = "only boilerplate"
        if reason:
            dropped[reason] += 1
            continue
        long_seen.add(long_key)
        synopsis_seen.add(synopsis_key)
        count_of_group[group] += 1
        pair = {"input": "summarize: " + text, "target": target, "pkg": package,
                "source": from_source}  # fmt: skip
        kept.append((split_of(group), pair))
    kept.sort(key=lambda entry: hashlib.sha256(entry[1]["pkg"].encode()).hexdigest())
    yield from kept


def _target(synopsis: str) -> str:
    if synopsis[:1].islower() and synopsis.split(" ")[0].isalpha():
        synopsis = synopsis[0].upper() + synopsis[1:]
    return re.sub(r"\s+", " ", synopsis).rstrip(". ")


def split_of(group: str) -> str:
    """Nine in ten sources train."""
    number = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % 100
    return "train" if number < 90 else "validation" if number < 95 else "test"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--lists", type=Path, help="apt's lists; default: OUT/lists, fetched")
    options = parser.parse_args()
    lists = options.lists or options.out / "lists"
    if options.lists is None:
        fetch(lists)
    dropped: Counter[str] = collections.Counter()
    split: Dict[str, List[Pair]] = {"train": [], "validation": [], "test": []}
    for name, pair in pairs(lists, dropped):
        split[name].append(pair)
    for name, found in split.items():
        write_lines(options.out / f"{name}.jsonl", found)
        print(f"{name}: {len(found):,} pairs")
    print("left out:", dict(dropped))


if __name__ == "__main__":
    main()
