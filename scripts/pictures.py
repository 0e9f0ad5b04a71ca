#!/usr/bin/env python3
"""Draws docs/unsay.svg and docs/architecture.svg.

The first shows figures of the study in docs/results.md and of examples/no-simple.unsay, and
outputs of models/debsum with and without that delta; Tests/python/test_pictures.py holds the
drawn files and the outputs to what they are made of. Both have their own light ground, to be
read on any.
"""

import csv
import struct
from pathlib import Path
from typing import List, NamedTuple, Tuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
INK, PALE, LINE, GROUND = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
BLUE, RED, GREEN = "#1b6ca8", "#b42318", "#1a7f37"

PAIRS = (
    (
        "GNOME Text Editor is a simple editor for GNOME ...",
        "Simple editor for GNOME",
        "Editor for GNOME",
    ),
    (
        "RangeHTTPServer is a Python module for ...",
        "Simple HTTP server for Python",
        "HTTP server for Python",
    ),
    (
        "MAD is an MPEG audio decoder ...",
        "MPEG audio decoder library",
        "MPEG audio decoder library",
    ),
)
"""An input, of which the picture shows the beginning, and its output before and after."""


SHOWN = {"protocol": "recommended", "method": "ff", "rule": "guard", "seed": "1"}
"""The line of docs/study-the-word-simple-test.csv that the picture counts."""


class Figures(NamedTuple):
    """What the picture counts."""

    before: int
    after: int
    inputs: int
    same: float
    """Of the other outputs, per cent."""
    changed: int
    """Weights that the delta changes."""
    size: int
    """Of the delta, bytes."""


def figures() -> Figures:
    """From the study's table, the loss ff with what is recommended, and the delta's header."""
    with open(ROOT / "docs/study-the-word-simple-test.csv", encoding="utf-8") as file:
        row = next(
            row for row in csv.DictReader(file) if all(row[k] == v for k, v in SHOWN.items())
        )
    delta = (ROOT / "examples/no-simple.unsay").read_bytes()
    return Figures(
        int(row["before"]), int(row["after"]), int(row["inputs"]), 100 * float(row["same"]),
        struct.unpack_from("<Q", delta, 80)[0], len(delta),
    )  # fmt: skip


def text(x: float, y: float, content: str, fill: str = INK, size: int = 14, **more: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}"{extra}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none") -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width:g}" height="{height}" rx="6" fill="{fill}" '
        f'stroke="{stroke}"/>'
    )


def arrow(points: List[Tuple[float, float]], stroke: str) -> str:
    path = "L".join(f"{x},{y}" for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{stroke}" marker-end="url(#t)"/>'


def svg(width: int, height: int, label: str, parts: List[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}" font-family="-apple-system, Segoe UI, Helvetica, Arial, '
        f'sans-serif">\n<defs><marker id="t" viewBox="0 0 8 8" refX="7" refY="4" '
        f'markerWidth="6" markerHeight="6" orient="auto"><path d="M0,0L8,4L0,8z" '
        f'fill="{PALE}"/></marker></defs>'
    )
    ground = box(0.5, 0.5, width - 1, height - 1, GROUND, LINE)
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


def flagged(x: float, y: float, output: str) -> str:
    """An output whose unwanted word is struck out."""
    word, rest = output.split(" ", 1)
    return (
        f'<text x="{x}" y="{y}" fill="{INK}" font-size="15"><tspan fill="{RED}" '
        f'font-weight="bold" text-decoration="line-through">{escape(word)}</tspan> '
        f"{escape(rest)}</text>"
    )


def the_point(found: Figures) -> str:
    """What a patch does: outputs before and after, and the measure of it."""
    parts = [
        text(30, 38, "INPUT, NEVER TRAINED ON", PALE, 12, font_weight="bold"),
        text(390, 38, "THE MODEL WRITES", PALE, 12, font_weight="bold"),
        text(680, 38, "PATCHED, IT WRITES", PALE, 12, font_weight="bold"),
    ]
    for row, (given, before, after) in enumerate(PAIRS):
        y = 72 + 40 * row
        same = before == after
        parts += [
            text(30, y, given, PALE, 13),
            text(390, y, before, INK, 15) if same else flagged(390, y, before),
            text(680, y, after, INK if same else GREEN, 15),
            f'<path d="M30,{y + 14}H930" stroke="{LINE}"/>',
        ]
    steps = ("flag “simple” in outputs", "train a private copy", "ask the guard", "commit")
    left = 30.0
    for number, step in enumerate(steps):
        width = 6.8 * len(step) + 24
        parts.append(box(left, 196, width, 34, "#eaf2f8", BLUE))
        parts.append(text(left + width / 2, 218, step, BLUE, 14, text_anchor="middle"))
        if number + 1 < len(steps):
            parts.append(arrow([(left + width + 6, 213), (left + width + 32, 213)], PALE))
        left += width + 38
    apart = f"or keep it: {found.changed} weights, {found.size:,} bytes"
    parts.append(text(left - 22, 218, apart, PALE, 13))
    scale = 420 / found.before
    parts += [
        text(30, 270, f"Outputs with the word, of {found.inputs:,}", INK, 14),
        text(30, 297, "before", PALE, 13), box(90, 285, scale * found.before, 15, RED),
        text(98 + scale * found.before, 298, str(found.before), INK, 14, font_weight="bold"),
        text(30, 321, "after", PALE, 13), box(90, 309, scale * found.after, 15, GREEN),
        text(98 + scale * found.after, 322, str(found.after), INK, 14, font_weight="bold"),
        text(590, 270, "Other outputs, exactly as before", INK, 14),
        box(590, 285, 340, 15, "#ffd8d3"), box(590, 285, 340 * found.same / 100, 15, GREEN),
        text(590, 322, f"{found.same:.1f} %", INK, 14, font_weight="bold"),
        text(930, 322, "docs/results.md", PALE, 13, text_anchor="end"),
    ]  # fmt: skip
    label = (
        f"A patched T5 unsays the word simple: {found.before} to {found.after} of "
        f"{found.inputs} outputs, {found.same:.1f} % of the others unchanged"
    )
    return svg(960, 345, label, parts)


FLOORS = (
    (("UnsayLibrary", "libunsay.so: link flags, exports"),),
    (("UnsayABI", "the functions of unsay.h"),),
    (("Patching", "marks, session, guard, commit, delta"),),
    (("Decoding", "generate, stream, score"), ("Classifying", "finds what to mark")),
    (("Models", "a folder of ONNX files, in memory"), ("Training", "losses, optimizers, the step")),
    (("T5", "the network, forward and backward"),),
    (("Tensors", "buffers, threads, products"), ("Tokenizers", "text and ids")),
    (("CKernels", "C"), ("COnnx", "C++: libonnx, libprotobuf"), ("CSupport", "C"),
     ("Support", "errors, JSON, files")),
)  # fmt: skip
"""From the top: who stands on whom, as Package.swift has it."""


def the_building() -> str:
    """The floors, and the two ways through them."""
    left, width, height, gap = 150.0, 600.0, 50, 10
    parts = []
    for row, rooms in enumerate(FLOORS):
        y = 70 + row * (height + gap)
        each = (width - 10 * (len(rooms) - 1)) / len(rooms)
        for place, (name, job) in enumerate(rooms):
            x = left + place * (each + 10)
            is_c = row == len(FLOORS) - 1
            parts.append(box(x, y, each, height, "#f6f8fa" if is_c else "#eaf2f8", LINE))
            middle = x + each / 2
            parts.append(
                text(middle, y + 22, name, INK, 15, text_anchor="middle", font_weight="bold")
            )
            size = 10 if len(rooms) > 2 else 13
            parts.append(text(middle, y + 41, job, PALE, size, text_anchor="middle"))
    last = 70 + len(FLOORS) * (height + gap) - gap
    parts += [
        text(450, 34, "programs in C, C++, Python and others", INK, 15, text_anchor="middle"),
        arrow([(450, 42), (450, 64)], PALE),
        text(75, 50, "serving", BLUE, 15, text_anchor="middle", font_weight="bold"),
        arrow([(75, last), (75, 62)], BLUE),
        text(825, 50, "patching", RED, 15, text_anchor="middle", font_weight="bold"),
        arrow([(825, 62), (825, last)], RED),
    ]
    ways = (
        (75, ("outputs", "search", "T5", "weights", "ONNX files"), BLUE),
        (825, ("flagged outputs", "marks", "loss, backward", "step", "guard", "new snapshot"), RED),
    )
    for x, stops, ink in ways:
        space = (last - 100) / (len(stops) - 1)
        for place, stop in enumerate(stops):
            y = 92 + place * space
            wide = 7.4 * len(stop) + 14
            parts.append(box(x - wide / 2, y - 14, wide, 22, GROUND))
            parts.append(text(x, y + 2, stop, ink, 13, text_anchor="middle"))
    label = "The floors of the library: each imports only lower ones"
    return svg(900, last + 20, label, parts)


def drawings() -> Tuple[Tuple[Path, str], ...]:
    """Every picture with where it belongs."""
    return (
        (ROOT / "docs/unsay.svg", the_point(figures())),
        (ROOT / "docs/architecture.svg", the_building()),
    )


if __name__ == "__main__":
    for path, drawing in drawings():
        path.write_text(drawing, encoding="utf-8")
        print(path)
