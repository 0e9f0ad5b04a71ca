"""The figures of a study, drawn with matplotlib."""

import io
import math
from typing import Any, Dict, List, Sequence

from .settings import AVOIDING
from .tables import GRID, Row, frontier, said

COLOURS = {
    "ff": "#1b6ca8", "rf": "#2a9d8f", "rr": "#6a4c93", "fll": "#8ab17d", "rll": "#b5838d",
    "ul": "#e76f51", "nl": "#d62828", "corrective": "#6c757d", "clean": "#111111",
    "ban": "#c9a227", "reject": "#7f5539",
}  # fmt: skip
SIZE = (4.6, 4.8)  # inches: hardly smaller on a phone, so that letters stay readable


def figure() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["font.size"] = 11
    pyplot.rcParams["svg.hashsalt"] = "unsay"  # the same bytes for the same figures
    return pyplot.subplots(figsize=SIZE, layout="constrained")


def closed(drawing: Any, kind: str) -> bytes:
    from matplotlib import pyplot

    file = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    drawing.savefig(file, format=kind, dpi=150, metadata=metadata)
    pyplot.close(drawing)
    return file.getvalue()


def trade_off(points: Sequence[Row], tests: Sequence[Row], title: str, kind: str) -> bytes:
    """For every share of the prevalence that is gone, the most of the other outputs that a
    method leaves: lines are means over seeds, bands their least and most, dots test results."""
    drawing, axes = figure()
    lowest = 100.0
    for method, colour in COLOURS.items():
        mine = [row for row in points if row["method"] == method]
        if mine:
            by_seed = [
                frontier([row for row in mine if row["seed"] == seed], "bleu")
                for seed in sorted({row["seed"] for row in mine})
            ]
            shares, means, least, most = [], [], [], []
            for place, share in enumerate(GRID):
                values = [curve[place] for curve in by_seed]
                if not any(math.isnan(value) for value in values):
                    shares.append(share)
                    means.append(sum(values) / len(values))
                    least.append(min(values))
                    most.append(max(values))
            lowest = min([lowest, *least])
            style = "-" if method in AVOIDING else "--"
            axes.plot(shares, means, style, color=colour, label=said(method), linewidth=1.8)
            if len(by_seed) > 1:
                axes.fill_between(shares, least, most, color=colour, alpha=0.15, linewidth=0)
        for row in tests:
            if row["method"] == method and "gone" in row and row["rule"] in ("guard", ""):
                marker = "o" if row["rule"] else "D"
                label = None if mine else said(method)
                axes.plot(row["gone"], row["bleu"], marker, color=colour, markersize=5, label=label)
                lowest = min(lowest, row["bleu"])
    axes.set_title(title)
    axes.set_xlabel("share of the prevalence that is gone")
    axes.set_ylabel("BLEU of other outputs, new against old")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(max(0, lowest - 3), 101)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(color="#e4e4e4")
    drawing.legend(fontsize=9, ncols=2, loc="outside lower center")
    return closed(drawing, kind)


def flags(rows: Dict[str, List[Row]], title: str, by: str, kind: str) -> bytes:
    """What is gone, and what stays the same, by the number of flags or the share of wrong ones."""
    drawing, axes = figure()
    for number, (name, each) in enumerate(rows.items()):
        colour = list(COLOURS.values())[number * 5]
        xs = sorted({row[by] for row in each if "gone" in row})
        for measure, style, what in (("gone", "o-", "gone"), ("same", "s--", "others the same")):
            means = []
            for x in xs:
                values = [row[measure] for row in each if row[by] == x and measure in row]
                means.append(sum(values) / len(values))
            axes.plot(xs, means, style, color=colour, label=f"{name}: {what}", markersize=4)
    if by == "flagged":
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(title)
    axes.set_xlabel("flagged outputs" if by == "flagged" else "share of flags that are wrong")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="#e4e4e4")
    drawing.legend(fontsize=9, loc="outside lower center")
    return closed(drawing, kind)
