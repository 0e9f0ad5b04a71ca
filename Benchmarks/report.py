"""docs/performance.md and its picture, from what a run of bench.py found."""

import os
from pathlib import Path
from typing import Any, Dict, List

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = {"ctranslate2": "CTranslate2", "onnxruntime": "onnxruntime", "torch": "torch",
         "float32": "our float32"}  # fmt: skip
# Weights that one token of greedy search reads, one row, without cross-attention's keys and
# values: [per decoder layer, head], from the shapes in checkpoints.py.
READ = {"t5-small": 6 * (6 * 512 * 512 + 2 * 512 * 2048) + 32128 * 512,
        "t5-base": 12 * (6 * 768 * 768 + 2 * 768 * 3072) + 32128 * 768,
        "flan-t5-base": 12 * (6 * 768 * 768 + 3 * 768 * 2048) + 32128 * 768}  # fmt: skip


def _row(case: Dict[str, Any]) -> str:
    unit = {"training": "steps/s"}.get(case["group"], "tokens/s")
    cells = []
    for peer, ratio in case["ratios"].items():
        bar = case["bars"].get(peer)
        goal = "" if bar is None else f" (goal {bar:g})"
        cells.append(f"{NAMES[peer]} {case['rates'][peer]:.3g}: **{ratio:.2f}x**{goal}")
    rate = f"{case['rates']['unsay']:.3g} {unit}"
    where = f"{case['checkpoint']}, {case['case']}"
    return f"| {where} | {case['precision']} | {rate} | {', '.join(cells)} |"


def _one_row(cases: List[Dict[str, Any]], limits: Dict[str, float]) -> List[str]:
    """Bytes a second of greedy search with one row, as a share of the memory's."""
    lines = []
    size = {"float32": 4, "bf16": 2, "int8": 1}
    for case in cases:
        request = case["request"]
        if request.get("beams") != 1 or request["rows"] != 1 or "source" not in request:
            continue
        if case["group"] != "writing" or request["source"] != 128:
            continue
        read = READ[case["checkpoint"]] * size[case["precision"]] / 1e9 * case["rates"]["unsay"]
        memory = case.get("memory_gbs", limits["memory_gbs"])
        goal = f" (goal {case['limit_bar']:.0%})" if case.get("limit_bar") else ""
        lines.append(
            f"| {case['checkpoint']} | {case['precision']} | {read:.1f} GB/s | {memory:.1f} GB/s | "
            f"{read / memory:.0%}{goal} |"
        )
    return lines


def _curves(cases: List[Dict[str, Any]]) -> List[str]:
    """How tokens a second grow, a column for each kind of weights."""
    if not cases:
        return []
    kinds = sorted({case["precision"] for case in cases})
    rates: Dict[str, Dict[str, float]] = {}
    for case in cases:
        rates.setdefault(case["case"], {})[case["precision"]] = case["rates"]["unsay"]
    lines = [
        "", f"How it grows, {cases[0]['checkpoint']}, source 128 where nothing else is said, "
        "64 new tokens, in tokens a second:", "",
        f"| | {' | '.join(kinds)} |", "| --- |" + " --- |" * len(kinds),
    ]  # fmt: skip
    for name, found in rates.items():
        cells = " | ".join(f"{found[kind]:.0f}" if kind in found else "" for kind in kinds)
        lines.append(f"| {name} | {cells} |")
    return lines


def write(found: Dict[str, Any]) -> None:
    limits, cases = found["limits"], found["cases"]
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    head = text[: text.index("<!-- the rest is written by make bench -->")]
    lines = [
        head + "<!-- the rest is written by make bench -->",
        "",
        f"Limits measured in the same run, {limits['threads']} threads on {os.cpu_count()} cores: "
        f"{limits['float32_gflops']:.0f} GFLOP/s float32, {limits['bf16_gflops']:.0f} bf16, "
        f"{limits['int8_gops']:.0f} Gop/s int8; memory read at {limits['memory_gbs']:.1f} GB/s, "
        f"the second cache at {limits['cache_gbs']:.0f} GB/s.",
        "",
        "| case | weights | this library | against |",
        "| --- | --- | --- | --- |",
        *[_row(case) for case in cases if case["group"] != "curve"],
        "",
        "One row of greedy search, end to end, as bytes of weights a second (the encoder's time "
        "is in it; float32 and bf16 read the head in int8 first, so their shares count bytes that "
        "they did not read):",
        "",
        "| checkpoint | weights | read | memory, before and after | share |",
        "| --- | --- | --- | --- | --- |",
        *_one_row(cases, limits),
    ]
    training = [case for case in cases if case.get("peaks")]
    if training:
        lines += ["", "| training step | peak memory here | torch |", "| --- | --- | --- |"]
        for case in training:
            peaks = {kind: f"{value / 1e9:.2f} GB" for kind, value in case["peaks"].items()}
            lines.append(
                f"| {case['checkpoint']}, {case['case']} | {peaks['unsay']} | "
                f"{peaks.get('torch', '')} |"
            )
    for opened in found["opening"]:
        lines += [
            "", f"Opening {opened['checkpoint']} in a fresh process, files "
            f"{'read from the disk' if opened['cold'] else 'in the cache'}:", "",
            "| library | seconds | resident afterwards, of the float32 weights |",
            "| --- | --- | --- |",
        ]  # fmt: skip
        for kind, seconds in opened["seconds"].items():
            lines.append(f"| {kind} | {seconds:.2f} | {opened['resident'][kind]:.2f} |")
    lines += _curves([case for case in cases if case["group"] == "curve"])
    picture(cases)
    lines += ["", "![Ratios to the peers](performance.svg)"]
    (DOCS / "performance.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def picture(cases: List[Dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "unsay"
    from matplotlib import pyplot

    peers = ["ctranslate2", "onnxruntime", "torch"]
    shown = [case for case in cases if any(peer in case["ratios"] for peer in peers)]
    figure, axes = pyplot.subplots(figsize=(9, 0.26 * len(shown) + 1.2))
    for peer, colour in zip(peers, ("#c0392b", "#2471a3", "#7d8a91")):
        places = [i for i, case in enumerate(shown) if peer in case["ratios"]]
        axes.plot(
            [shown[i]["ratios"][peer] for i in places], places, "o", color=colour,
            label=NAMES[peer],
        )  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%gx"))
    axes.set_yticks(range(len(shown)))
    labels = [
        f"{c['checkpoint']}, {c['case']}"
        + ("" if c["group"] == "training" else f", {c['precision']}")
        for c in shown
    ]
    axes.set_yticklabels(labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("speed of this library over the peer's")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(DOCS / "performance.svg", metadata={"Date": None})
