#!/usr/bin/env python3
"""Checks the floors: a target imports only targets of lower floors that it declares.

Package.swift groups its targets under comments `// 0`, `// 1`, ...: those are the floors.
On floor 0 a target may use those above it in the list. Nothing imports Foundation, locks are
`Locked`, which ThreadSanitizer knows, and no source file grows past 350 lines.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 350
FORBIDDEN = {"Foundation", "FoundationEssentials"}


def targets(package: str) -> dict[str, tuple[int, list[str]]]:
    """Name -> (floor, dependencies), in the order of Package.swift."""
    found: dict[str, tuple[int, list[str]]] = {}
    floor = 0
    pieces = re.split(r"(^\s*// \d\b.*$|\.(?:target|testTarget)\()", package, flags=re.MULTILINE)
    is_target = False
    for piece in pieces:
        if comment := re.match(r"\s*// (\d)", piece):
            floor = int(comment[1])
        elif piece in (".target(", ".testTarget("):
            is_target = piece == ".target("
        elif is_target and (name := re.match(r'\s*name: "(\w+)"', piece)):
            listed = re.search(r"dependencies: \[(.*?)\]", piece, re.DOTALL)
            found[name[1]] = floor, re.findall(r'"(\w+)"', listed[1] if listed else "")
            is_target = False
    return found


def complaints() -> list[str]:
    """Every broken rule, as a sentence."""
    known = targets((ROOT / "Package.swift").read_text())
    order = list(known)
    found = []
    for name, (floor, dependencies) in known.items():
        for other in dependencies:
            below = known[other][0] < floor
            if not below and not (floor == 0 and order.index(other) < order.index(name)):
                found.append(f"{name} (floor {floor}) depends on {other} ({known[other][0]})")
        for path in sorted((ROOT / "Sources" / name).rglob("*.*")):
            if path.is_dir():
                continue
            lines = path.read_text().splitlines()
            if len(lines) > LONGEST:
                found.append(f"{path.relative_to(ROOT)} has {len(lines)} lines, {LONGEST} at most")
            if path.suffix != ".swift":
                continue
            for number, line in enumerate(lines, 1):
                imported = re.match(r"\s*(?:@\w+\s+|package\s+|public\s+)*import\s+(\w+)", line)
                place = f"{path.relative_to(ROOT)}:{number}"
                if re.search(r"\bMutex[<(]", line) and path.name != "Locked.swift":
                    found.append(f"{place} has a Mutex where a Locked belongs")
                if imported and imported[1] in FORBIDDEN:
                    found.append(f"{place} imports {imported[1]}")
                elif imported and imported[1] in known and imported[1] not in dependencies:
                    found.append(f"{place} imports {imported[1]}, which {name} does not declare")
    return found


if __name__ == "__main__":
    broken = complaints()
    sys.stdout.write("".join(f"{line}\n" for line in broken) or "floors: every import goes down\n")
    sys.exit(bool(broken))
