#!/usr/bin/env python3
"""Refuses arithmetic in Swift that ends the process where a number from outside is odd.

1. Everywhere: `Int(`, `UInt64(` and their like of a floating-point value, which trap for NaN, for
   infinities and for what does not fit. `Int(exactly:)` answers nil instead.
2. In files that read numbers as bytes (BYTES): `*` and `<<` of whatever has a name, and `+`, `-`,
   `UInt64(` and their like of a name that was given to what a reader read without a range.
   `multipliedReportingOverflow` and its kin, `Int(exactly:)` and the reader's own ranges answer
   instead of trapping.
3. In READERS: a whole number of JSON or of a graph (`.int`, `.int("k")`, `.ints("k")`) that gets a
   name must be compared with its range in the same function; a graph's alone need not be where
   nothing is computed of it.

A line that is right all the same says why: `// checked: ...` at its end or on the line above.
"""

import re
import sys
from pathlib import Path

BYTES = [
    "Sources/Support/SealedFile.swift", "Sources/Support/Bytes.swift",
    "Sources/Support/Zstandard.swift", "Sources/Tokenizers/WireReader.swift",
    "Sources/Tokenizers/SentencePieceModel.swift", "Sources/Patching/DeltaFile.swift",
    "Sources/Patching/SessionState.swift", "Sources/Patching/ExampleOrder.swift",
    "Sources/Classifying/ClassifierFile.swift",
]  # fmt: skip
READERS = ("Sources/Models/", "Sources/Tokenizers/", "Sources/Patching/", "Sources/Classifying/")

INTEGER = r"\bU?Int(?:8|16|32|64)?\("
SAFE = re.compile(r"exactly:|truncatingIfNeeded:|bitPattern:|clamping:|littleEndian:|ascii:")
#: What makes the argument of a conversion floating-point: calls, literals, ...
FLOATING = re.compile(
    r"\b(?:Double|Float)\(|\.(?:rounded|squareRoot)\(|(?<![$.\w])\d[\d_]*\.\d|\b(?:exp|log|pow|floor|ceil)f?\("
)
#: ... and names, of `x: Double` and `x = Double(...)`.
FLOATS = re.compile(r"\b(\w+): (?:Double|Float)\b(?! *\])|\b(?:let|var) (\w+) = (?:Double|Float)\(")
NAME = r"[a-z_]\w*(?:[.\w]|\[[^\]]*\]|\(\))*"
PRODUCT = re.compile(rf"(?:{NAME}|\)) (?:\*|<<)=? |[)\w\]] (?:\*|<<)=? {NAME}")
#: A number that a reader gives a name to: `let size = try file.number(...)`.
READ = re.compile(r"\b(?:let|var) (\w+)(?:: \w+)? = .*?\b(?:number|count|varint)\((.*)")
WHOLE = re.compile(r"\blet (\w+)(?:: \w+)? = (?:(?!\blet\b).)*?(?:\.int\b(?!\()|\.ints?\(\")(.*)")


def argument(text: str, begin: int) -> str:
    """What stands between the parenthesis before `begin` and its partner."""
    depth = 1
    for end in range(begin, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            return text[begin:end]
    return text[begin:]


def function(lines: list[str], number: int) -> list[str]:
    """The lines from `number` to where its function ends: a brace that opened it, less deep."""
    begin = number
    while begin > 0 and not re.match(r"\s*(?:[\w@]+ )*(?:func|init|var)\b", lines[begin]):
        begin -= 1
    indent = len(lines[begin]) - len(lines[begin].lstrip())
    for end in range(number, len(lines)):
        if lines[end].startswith(" " * indent + "}"):
            return lines[number:end]
    return lines[number:]


def problems(path: str, lines: list[str]):
    """Line numbers, from 0, and what is wrong there."""
    # Without comments and what strings say; `\(` in them stays code that nobody counts on.
    bare = [re.sub(r'"(?:[^"\\]|\\.)*"', '""', line.split("//")[0]) for line in lines]
    text = "\n".join(bare)
    floats = {name for pair in FLOATS.findall(text) for name in pair if name}
    for match in re.finditer(INTEGER, text):
        value = argument(text, match.end())
        number = text.count("\n", 0, match.start())
        if SAFE.match(value):
            continue
        outer = re.sub(r"\([^()]*\)|\[[^\]]*\]", "", value)
        if FLOATING.search(value) or floats & set(re.findall(r"(?<![.\w])\w+\b(?!\()", outer)):
            yield number, f"{match[0]}{value}) of a floating-point value"
    if path in BYTES:
        for number, line in enumerate(bare):
            if match := PRODUCT.search(line):
                yield number, f"unchecked arithmetic: {match[0].strip()}"
            match = READ.search(line)
            if match is None or "in: " in line:
                continue
            word = rf"(?<![.\w]){match[1]}\b(?![.(])"
            uses = re.compile(rf"{word} [-+]=? |[-+]=? {word}|{INTEGER}{word}\)")
            for offset, use in enumerate(function(bare, number)):
                if found := uses.search(use):
                    yield number + offset, f"unchecked arithmetic: {found[0].strip()}"
    if path.startswith(READERS):
        for number, line in enumerate(lines):
            match = WHOLE.search(line.split("//")[0])
            if match is None or "exactly:" in match[2] or re.search("[=<>]=|[<>]", match[2]):
                continue
            name, rest = match[1], "\n".join(function(bare, number))
            word = rf"(?<![.\w]){name}\b"
            compared = (
                rf"{word} (?:[<>]=?|==) |[<>]=? {word}|(?:contains|check)\({word}|{name}\.all"
            )
            computed = rf"{word} (?:[-+*]|<<)=? |(?:[-+*]|<<)=? {word}(?!\.)"
            isOfGraph = '.int("' in line or '.ints("' in line
            if not re.search(compared, rest) and (not isOfGraph or re.search(computed, rest)):
                yield number, f"{name} is a whole number from outside, of any size"


def main() -> int:
    found = 0
    for path in sorted(Path("Sources").rglob("*.swift")):
        lines = path.read_text().split("\n")
        for number, what in problems(str(path), lines):
            if not any("// checked: " in line for line in lines[max(number - 1, 0) : number + 1]):
                print(f"{path}:{number + 1}: {what}: see scripts/check_arithmetic.py")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
