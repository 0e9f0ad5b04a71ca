#!/usr/bin/env python3
"""Refuses tuples in collections, optionals and locks whose labels take more than 15 bytes together.

The Swift runtime makes the type of such a tuple when it is first used, and spells its labels in
a std::string. One of more than 15 bytes is allocated by libstdc++, which ends the process where
memory is short: no reserve of ours is behind that one allocation. A struct has none.
"""

import re
import sys
from pathlib import Path

MOST = 15
TYPE = r"[^(),:{}]+(?:\([^()]*\))?[^(),:{}]*"
TUPLE = re.compile(rf"(\[|<|typealias \w+ = )\(((?:\w+: {TYPE},\s*)+\w+: {TYPE})\)")
# What closures make of each element, and locks guard: (name: value, name: value).
VALUE = r"[^(),]+(?:\([^()]*\))?"
MADE = re.compile(rf"(\{{ |\? nil : |append\(|Locked\()\(((?:\w+: {VALUE},\s*)+\w+: {VALUE})\)")


def main() -> int:
    found = 0
    for path in sorted(Path("Sources").rglob("*.swift")):
        text = path.read_text()
        for match in [*TUPLE.finditer(text), *MADE.finditer(text)]:
            labels = re.findall(r"(?:^|,\s*)(\w+):", match[2])
            if sum(len(label) + 1 for label in labels) > MOST:
                line = text.count("\n", 0, match.start()) + 1
                print(f"{path}:{line}: a tuple with the labels {', '.join(labels)}: use a struct")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
