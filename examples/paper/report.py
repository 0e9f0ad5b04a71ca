"""The stage "report": one page that loads nothing, and its figures and tables as files."""

import base64
import dataclasses
import html
import json
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from . import charts, tables
from .outputs import slug
from .settings import Settings
from .store import read_json, spoken, write_bytes, write_text
from .tasks import SPLITS

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:62rem;padding:1rem;
overflow-wrap:anywhere}
h1,h2,h3{line-height:1.2}
figure{margin:1rem 0}
img{max-width:100%;height:auto;background:#fff}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem}
td,th{border-bottom:1px solid #8884;padding:.3rem .6rem;text-align:right;
overflow-wrap:normal;white-space:nowrap}
td:first-child,th:first-child,.texts td:nth-child(2),.texts th:nth-child(2){text-align:left}
.pair{border:1px solid #8886;border-radius:.4rem;padding:.6rem;margin:.6rem 0}
.pair p{margin:.2rem 0}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
.source{color:#777;font-size:.9rem}
b.shown{color:#b3261e}
@media(max-width:40rem){.sides{grid-template-columns:1fr}}
"""


def report(settings: Settings, out: Path) -> None:
    folder = out / "report"
    pictures: Dict[str, Tuple[str, bytes]] = {}
    parts: List[str] = _model(out)
    for name in settings.behaviours:
        parts += _behaviour(settings, out, name, folder, pictures)
    parts += _extras(settings, out, folder, pictures)
    for stem, (_, drawn) in pictures.items():
        write_bytes(folder / f"{stem}.svg", drawn)
    write_text(folder / "report.html", page(settings, out, parts))
    print(f"report: {folder / 'report.html'}")


def page(settings: Settings, out: Path, parts: Sequence[str]) -> str:
    title = f"Unsaying on {settings.task}"
    manifest = read_json(out / "data/manifest.json", {})
    training = read_json(out / "train/report.json")
    said = [
        f"The task {settings.task}: {_counts(manifest.get('pairs', {}))} pairs; the study uses at "
        f"most {_counts(settings.inputs)} of them. "
        if settings.inputs
        else f"The task {settings.task}: {_counts(manifest.get('pairs', {}))} pairs. ",
        f"The model was trained here to {training['validation_loss']:.3f} nats a token on "
        f"validation pairs. "
        if training
        else f"The model is {settings.model}. ",
        f"Up to {settings.flagged} flagged outputs of training inputs, {settings.kept} kept and "
        f"{settings.guard} guarded; seeds {', '.join(map(str, settings.seeds))}.",
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(''.join(said))}</p>"
        f"{''.join(parts)}{_costs(out)}{_settings(settings)}</body></html>\n"
    )


def _counts(counts: Dict[str, int]) -> str:
    return ", ".join(f"{counts[split]:,} {split}" for split in SPLITS if split in counts)


def _model(out: Path) -> List[str]:
    found = read_json(out / "results.json", {}).get("model")
    if not found:
        return []
    rows = [
        [what, *(f"{found[key][measure]:.1f}" for measure in ("rouge_1", "rouge_l", "bleu"))]
        for what, key in (("the model", "quality"), ("first ten words", "first_ten_words"))
    ]
    flaws = found["disfluency"]
    parts = [
        "<h2>The model before any update</h2>",
        f"<p>{found['outputs']:,} test outputs against references: {flaws['repeats']:.0%} repeat "
        f"something, {flaws['empty']:.0%} are empty, {flaws['too_long']:.0%} were cut off.</p>",
        _table(["", "ROUGE-1", "ROUGE-L", "BLEU"], rows),
    ]
    for example in found["examples"][:4]:
        parts.append(_pair(example["input"], ("reference", html.escape(example["reference"])),
                           ("output", html.escape(example["output"]))))  # fmt: skip
    return parts


def _pair(text: str, left: Tuple[str, str], right: Tuple[str, str]) -> str:
    """Two texts side by side under their input, with what they are; the texts are HTML."""
    text = text if len(text) <= 240 else text[:240] + "…"
    sides = "".join(f"<p>{name}<br>{value}</p>" for name, value in (left, right))
    source = f'<p class="source">{html.escape(text)}</p>'
    return f'<div class="pair">{source}<div class="sides">{sides}</div></div>'


def _behaviour(
    settings: Settings, out: Path, name: str, folder: Path, pictures: Dict[str, Any]
) -> List[str]:
    tests = tables.test_rows(settings, out, name)
    points = list(tables.points(settings, out, name))
    write_text(folder / f"{slug(name)}-test.csv", tables.as_csv(tests))
    write_text(folder / f"{slug(name)}-validation.csv", tables.as_csv(points))
    parts = [f"<h2>{html.escape(name)}</h2>"]
    for protocol in settings.protocols:
        stem = f"{slug(name)}-{slug(protocol)}"
        mine = [row for row in points if row["protocol"] == protocol]
        measured = [row for row in tests if row["protocol"] in (protocol, "")]
        title = f"{name}, updates as {protocol}"
        pictures[stem] = title, charts.trade_off(mine, measured, title, "svg")
        write_bytes(folder / f"{stem}.png", charts.trade_off(mine, measured, title, "png"))
        parts.append(
            _picture(
                pictures[stem],
                "Lines: the best checkpoint on validation inputs with at least so much gone, "
                "mean over seeds; bands: the least and the most of the seeds. Dots: what the "
                "guarded rule chose, on test inputs; diamonds: without training.",
            )
        )
    rows = [tables.cells(row) for row in tables.merged(tests)]
    parts.append(
        "<p>On test inputs. Others: outputs that did not have the behaviour, new against old; "
        "the interval of the prevalence is Wilson's; ranges are over seeds.</p>"
    )
    parts.append(_table(tables.HEADINGS, rows, has_texts=True))
    parts.append(f"<p>{tables.EQUAL_SAID}</p>")
    parts.append(_table(tables.EQUAL_HEADINGS, tables.equal(points), has_texts=True))
    parts += _changes(out, name)
    return parts


def _changes(out: Path, name: str) -> List[str]:
    """Outputs side by side, of the method that changes least of what it may not."""
    results = read_json(out / "results.json", {})
    found = [
        (key, entry["test"])
        for key, entry in results.items()
        if key.startswith(f"{name} | ") and key.endswith(" | guard") and entry
    ]
    found = [entry for entry in found if entry[1]["changed"]]
    if not found:
        return []
    key, test = min(found, key=lambda e: (e[1]["after"], -e[1]["others"]["bleu"]))
    parts = [f"<h3>Changed outputs</h3><p>{html.escape(key)}</p>"]
    for change in test["changed"]:
        before, after = html.escape(change["before"]), html.escape(change["after"])
        before = f'<b class="shown">{before}</b>' if change["had"] else before
        after = f'<b class="shown">{after}</b>' if change["has"] else after
        parts.append(_pair(change["input"], ("before", before), ("after", after)))
    return parts


def _extras(settings: Settings, out: Path, folder: Path, pictures: Dict[str, Any]) -> List[str]:
    rows = {name: tables.extra_rows(settings, out, name) for name in settings.behaviours}
    parts: List[str] = []
    extras = settings.extras
    how = (
        f"{extras.method}, {extras.protocol}, rate {extras.learning_rate:g}, alpha {extras.alpha:g}"
    )
    for by, title, is_mine in (
        ("flagged", "How many flags", lambda row: not row["noise"]
         and row["flagged"] in extras.flag_counts),
        ("noise", "Wrong flags", lambda row: row["flagged"] == settings.flagged),
    ):  # fmt: skip
        mine = {
            name: [row for row in each if "gone" in row and is_mine(row)]
            for name, each in rows.items()
        }
        mine = {name: each for name, each in mine.items() if len({row[by] for row in each}) > 1}
        if not mine:
            continue
        flat = [{"behaviour": name, **row} for name, each in mine.items() for row in each]
        write_text(folder / f"{by}.csv", tables.as_csv(flat))
        pictures[by] = title, charts.flags(mine, title, by, "svg")
        write_bytes(folder / f"{by}.png", charts.flags(mine, title, by, "png"))
        parts += [f"<h2>{title}</h2>", _picture(pictures[by], how)]
    iterated = tables.iterated_rows(settings, out)
    if iterated:
        write_text(folder / "iterated.csv", tables.as_csv(iterated))
        parts.append(
            "<h2>Update upon update</h2><p>Three updates, one on the other; everything is "
            f"compared with the first model. {html.escape(how)}</p>"
        )
        rows_shown = [tables.iterated_cells(row) for row in iterated]
        parts.append(_table(tables.ITERATED_HEADINGS, rows_shown, has_texts=True))
    return parts


def _picture(picture: Tuple[str, bytes], caption: str) -> str:
    title, drawn = picture
    data = base64.b64encode(drawn).decode("ascii")
    return (
        f'<figure><img alt="{html.escape(title)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], has_texts: bool = False) -> str:
    """A table of figures; its first column is text, and the second where `has_texts`."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide{" texts" if has_texts else ""}">{table}</div>'


def _costs(out: Path) -> str:
    costs = read_json(out / "costs.json", {})
    rows = [
        [stage, f"{entry['count']:,}", spoken(entry["seconds"]),
         f"{entry['count'] / entry['seconds']:.3g}"]
        for stage, entry in costs.items()
        if entry["seconds"] > 0 and not stage.startswith("stage ")
    ]  # fmt: skip
    return f"<h2>What it took</h2>{_table(['stage', 'things', 'time', 'per second'], rows)}"


def _settings(settings: Settings) -> str:
    text = json.dumps(dataclasses.asdict(settings), indent=1, ensure_ascii=False)
    return (
        "<details><summary>All settings</summary>"
        f'<pre class="wide">{html.escape(text)}</pre></details>'
    )
