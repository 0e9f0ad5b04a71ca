"""A study's results as rows: what charts, tables, CSV and documents are made of."""

import csv
import io
import math
import statistics
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from .choosing import RULES, SHARES
from .measures import gone
from .settings import DECODING, Settings
from .store import read_json
from .updating import extra_trials, histories, main_groups

Row = Dict[str, Any]
SAID = {
    "ban": "a ban while decoding", "reject": "rejection sampling",
    "corrective": "fine-tuning on corrections", "clean": "fine-tuning on clean outputs",
}  # fmt: skip


def said(method: str) -> str:
    """A method as tables call it."""
    return SAID.get(method, method)


def test_row(measured: Dict[str, Any]) -> Row:
    """The figures of one model on test inputs."""
    count = measured["inputs"]
    return {
        "inputs": count,
        "before": measured["before"],
        "after": measured["after"],
        "low": measured["after_low"],
        "high": measured["after_high"],
        "gone": gone(measured),
        "same": measured["others"]["same"],
        "bleu": measured["others"]["bleu"],
        "rouge_l": measured["others"]["rouge_l"],
        "had_bleu": measured["had"]["bleu"],
        "had_rouge_l": measured["had"]["rouge_l"],
        "had_same": measured["had"]["same"],
        "reference_bleu": measured["quality"]["bleu"],
        "reference_rouge_1": measured["quality"]["rouge_1"],
        "reference_rouge_l": measured["quality"]["rouge_l"],
        "repeats": measured["disfluency"]["repeats"],
        "empty": measured["disfluency"]["empty"],
        "too_long": measured["disfluency"]["too_long"],
        "drift_kl": measured["drift"]["kl"] if "drift" in measured else None,
        "drift_flips": measured["drift"]["flips"] if "drift" in measured else None,
    }


def test_rows(settings: Settings, out: Path, name: str) -> List[Row]:
    """One row for what was measured on test inputs, seeds apart."""
    results = read_json(out / "results.json", {})
    rows: List[Row] = []
    for method in ("original", *DECODING):
        entry = results.get(f"{name} | {method}")
        if entry:
            base = {"protocol": "", "method": method, "rule": "", "seed": None}
            rows.append({**base, **test_row(entry["test"])})
    for trials in main_groups(settings, name):
        for rule in RULES:
            entry = results.get(f"{trials[0].group} | {rule}")
            if entry is None:
                continue
            first = trials[0]
            row: Row = {"protocol": first.protocol, "method": first.method, "rule": rule,
                        "seed": first.seed}  # fmt: skip
            if entry:
                row.update(
                    {key: entry["chosen"][key] for key in ("learning_rate", "alpha", "step")}
                )
                row.update(test_row(entry["test"]))
            rows.append(row)
    return rows


def merged(rows: Sequence[Row]) -> List[Row]:
    """Seeds of one method as one row: means, and the spread of what matters most."""
    groups: Dict[Tuple[str, str, str], List[Row]] = {}
    for row in rows:
        groups.setdefault((row["protocol"], row["method"], row["rule"]), []).append(row)
    found = []
    for (protocol, method, rule), each in groups.items():
        full = [row for row in each if "gone" in row]
        one: Row = {"protocol": protocol, "method": method, "rule": rule, "seeds": len(each),
                    "measured": len(full)}  # fmt: skip
        for key in full[0] if full else ():
            values = [row[key] for row in full]
            if isinstance(values[0], (int, float)) and key != "seed":
                one[key] = statistics.fmean(values)
                one[f"{key}_least"], one[f"{key}_most"] = min(values), max(values)
        found.append(one)
    return found


def points(settings: Settings, out: Path, name: str) -> Iterator[Row]:
    """Every checkpoint of every trial of the methods, measured on validation inputs."""
    for trials in main_groups(settings, name):
        for history in histories(out, trials):
            for point in history["checkpoints"]:
                measured = point["validation"]
                yield {
                    **{key: history["trial"][key] for key in (
                        "behaviour", "protocol", "method", "seed", "learning_rate", "alpha")},
                    "step": point["step"],
                    "gone": gone(measured),
                    "before": measured["before"], "after": measured["after"],
                    "inputs": measured["inputs"],
                    "same": measured["others"]["same"],
                    "bleu": measured["others"]["bleu"],
                    "rouge_l": measured["others"]["rouge_l"],
                    "had_bleu": measured["had"]["bleu"],
                    "held_out_loss": point["held_out_loss"],
                    "guard_kl": point["guard_kl"], "guard_flips": point["guard_flips"],
                }  # fmt: skip


def left(rows: Sequence[Row], measure: str, share: float) -> float:
    """The most of `measure` at a checkpoint where at least `share` of the prevalence is gone; not
    a number where there is none."""
    return max((row[measure] for row in rows if row["gone"] >= share), default=math.nan)


GRID = [step / 20 for step in range(21)]


def frontier(rows: Sequence[Row], measure: str) -> List[float]:
    """`left` for each share of the prevalence in `GRID`; without any update nothing is gone."""
    whole = [{"gone": 0.0, measure: 100.0}]
    return [left([*whole, *rows], measure, share) for share in GRID]


def equal(rows: Sequence[Row]) -> List[List[str]]:
    """What each method leaves of outputs without the behaviour where it removes as much of it as
    the others do: a row for each protocol and method, as `EQUAL_HEADINGS`. Means over seeds."""
    groups: Dict[Tuple[str, str], Dict[int, List[Row]]] = {}
    for row in rows:
        seeds = groups.setdefault((row["protocol"], row["method"]), {})
        seeds.setdefault(row["seed"], []).append(row)
    found = []
    for (protocol, method), seeds in groups.items():
        cells = [said(method), protocol]
        for measure, form in (("same", "{:.1%}"), ("bleu", "{:.1f}")):
            for share in SHARES:
                most = [left(each, measure, share) for each in seeds.values()]
                reached = [value for value in most if not math.isnan(value)]
                cell = form.format(statistics.fmean(reached)) if reached else "-"
                if 0 < len(reached) < len(most):
                    cell += f" ({len(reached)} of {len(most)} seeds)"
                cells.append(cell)
        found.append(cells)
    return found


EQUAL_SAID = (
    "At equal reduction, on validation inputs: the best of all checkpoints, rates and alphas "
    "where at least that much of the prevalence is gone; means over seeds."
)
EQUAL_HEADINGS = ["method", "trained"] + [
    f"{said} where {share:.0%} is gone"
    for said in ("others the same", "BLEU of others")
    for share in SHARES
]


def extra_rows(settings: Settings, out: Path, name: str) -> List[Row]:
    """Numbers of flags, and wrong ones, on test inputs."""
    results = read_json(out / "results.json", {})
    found = []
    for trial in dict.fromkeys(extra_trials(settings, name)):
        entry = results.get(f"{trial.key} | guard")
        if entry is not None:
            row: Row = {"flagged": trial.flagged, "noise": trial.noise, "seed": trial.seed}
            found.append({**row, **(test_row(entry["test"]) if entry else {})})
    return found


def iterated_rows(settings: Settings, out: Path) -> List[Row]:
    rows = []
    for key, entry in read_json(out / "iterated.json", {}).items():
        seed, number, updated = key.split(" | ", 2)
        for name, measured in entry.items():
            rows.append({"seed": int(seed.split()[1]), "update": int(number), "updated": updated,
                         "behaviour": name, **test_row(measured)})  # fmt: skip
    return sorted(rows, key=lambda row: (row["seed"], row["update"], row["behaviour"]))


ITERATED_HEADINGS = [
    "seed", "after unsaying", "prevalence of", "before", "now", "others the same", "drift, nats",
]  # fmt: skip


def iterated_cells(row: Row) -> List[str]:
    """A row of `iterated_rows` as a table shows it."""
    return [
        str(row["seed"]), f"{row['update']}. {row['updated']}", row["behaviour"],
        f"{row['before'] / row['inputs']:.1%}", f"{row['after'] / row['inputs']:.1%}",
        f"{row['same']:.1%}", f"{row['drift_kl']:.4f}",
    ]  # fmt: skip


def as_csv(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: round(v, 6) if isinstance(v, float) else v for key, v in row.items()})
    return text.getvalue()


def cells(row: Row) -> List[str]:
    """A merged row as a table shows it; see `HEADINGS`."""
    setting = ""
    if row["protocol"]:
        rule = {"loss": "validation loss", "guard": "guarded"}[row["rule"]]
        setting = f"{row['protocol']}, {rule}"
    name = said(row["method"])
    if not row["measured"]:
        return [name, setting, "the guard held at no checkpoint"] + [""] * (len(HEADINGS) - 3)
    count = row["inputs"]
    spread = ""
    if row["measured"] > 1:
        spread = f" ({row['same_least']:.1%} to {row['same_most']:.1%})"
    drift = f"{row['drift_kl']:.4f}" if row.get("drift_kl") is not None else ""
    return [
        name, setting,
        f"{row['before'] / count:.1%} to {row['after'] / count:.1%} "
        f"({row['low']:.1%} to {row['high']:.1%})",
        f"{row['gone']:.0%}", f"{row['same']:.1%}{spread}", f"{row['bleu']:.1f}",
        f"{row['rouge_l']:.1f}", f"{row['had_bleu']:.1f}",
        f"{row['reference_rouge_l']:.1f}", f"{row['repeats']:.1%}", drift,
    ]  # fmt: skip


HEADINGS = [
    "method", "trained and chosen", "prevalence (95 %)", "gone", "others the same", "BLEU",
    "ROUGE-L", "BLEU where it was", "ROUGE-L to references", "repeats", "drift, nats",
]  # fmt: skip


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
