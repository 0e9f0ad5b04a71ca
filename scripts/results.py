#!/usr/bin/env python3
"""Remakes the tables and pictures of docs/results.md: what each loss costs and does on debsum.

For an unwanted word and for a phrase: every loss at equal budgets, each with the setting that
does best on validation inputs, then measured on test inputs; and what needs no training, a ban
while decoding and rejection sampling. Everything computed is kept in a file, so that a run
that was stopped goes on.

    make results                             both, an hour on two cores
    make results ONLY="GNU R package for"    one
"""

import argparse
import json
import lzma
import random
import sys
import time
from pathlib import Path

import unsay

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from paper import decoding, store  # noqa: E402
from paper.annotators import Phrases  # noqa: E402
from paper.measures import gone, similarity  # noqa: E402
from paper.outputs import Written  # noqa: E402
from paper.settings import Settings  # noqa: E402

MODEL = ROOT / "models/debsum"
BEHAVIOURS = {
    # name: the phrase to avoid, which of its tokens, and the scopes that are tried
    "simple": ("simple", "all", ("tokens", "all")),
    "GNU R package for": ("GNU R package for", "first", ("tokens", "all")),
}
LOSSES = ("ff", "rf", "rr", "fll", "rll", "ul", "nl")
# Scope: settings (learning rate, alpha) that compete on validation inputs, and losses.
SETTINGS = {
    "tokens": ([(3e-3, 1.0), (1e-2, 4.0)], LOSSES),
    "all": ([(2e-5, 30.0)], ("ff", "rf", "ul", "likelihood")),
}
FLAGGED, KEPT, GUARD = 200, 600, 100
STEPS, BATCH, MAX_NEW_TOKENS = 60, 16, 32
ENOUGH = 0.95  # of the prevalence gone, to be chosen


class Study:
    """One behaviour: its examples, and what it measures."""

    def __init__(self, model, outputs, name):
        self.model, self.name = model, name
        self.phrase, self.extent, self.scopes = BEHAVIOURS[name]
        self.annotator = Phrases([self.phrase])
        self.outputs = outputs
        pairs = list(outputs["train"])
        random.Random(0).shuffle(pairs)
        self.flagged = [pair for pair in pairs if self.has(pair[1])][:FLAGGED]
        clean = [pair for pair in pairs if not self.has(pair[1])]
        self.kept, self.guard = clean[:KEPT], clean[KEPT : KEPT + GUARD]

    def has(self, output):
        return bool(self.annotator.spans([""], [output.text])[0])

    def train(self, loss, scope, rate, alpha):
        """A patched model, the guard's KL and the seconds of training."""
        began = time.perf_counter()
        with self.model.patch(
            loss=loss, scope=scope, learning_rate=rate, alpha=alpha, batch_size=BATCH, seed=1,
            max_avoid_p=0.0, max_guard_kl=1e9, max_guard_flips=1.0,
        ) as patch:  # fmt: skip
            if loss != "likelihood":
                for text, output in self.flagged:
                    patch.add(text, output, avoid=[self.phrase], extent=self.extent)
            for text, output in self.kept:
                patch.add(text, output)
            for _ in range(STEPS):
                patch.step()
            seconds = time.perf_counter() - began
            patch.guard(self.guard)
            return patch.model(), patch.evaluate().guard_kl, seconds

    def measure(self, new, split):
        """Prevalence, and how much of the old outputs is left, on a split's inputs."""
        pairs = [(old, now) for (_, old), now in zip(self.outputs[split], new)]
        had = [(old.text, now.text) for old, now in pairs if self.has(old)]
        others = [(old.text, now.text) for old, now in pairs if not self.has(old)]
        return {
            "inputs": len(pairs),
            "before": len(had),
            "after": sum(self.has(now) for _, now in pairs),
            "had": similarity(had),
            "others": similarity(others),
        }

    def generate(self, model, split, **options):
        texts = [text for text, _ in self.outputs[split]]
        return model.generate(texts, max_new_tokens=MAX_NEW_TOKENS, **options)

    def resample(self, split):
        """Draws again and again where the greedy output has the phrase."""
        rows = [
            Written(text, "", output, self.annotator.spans([text], [output.text])[0], [])
            for text, output in self.outputs[split]
        ]
        settings = Settings("debsum", str(MODEL), {}, {}, max_new_tokens=MAX_NEW_TOKENS)
        return decoding.reject(settings, self.model, self.annotator, rows)


class Results(store.Results):
    """What is known so far, in a file; says what is new."""

    def get(self, key, make):
        name = " | ".join(str(part) for part in key)
        is_new = name not in self.known
        value = super().get(name, make)
        if is_new:
            print(name, json.dumps(value), flush=True)
        return value


def choose(trials):
    """Of the settings that remove enough on validation, the one that keeps most of the other
    outputs; if none does, the one that removes most."""
    enough = [trial for trial in trials if gone(trial["validation"]) >= ENOUGH]
    if enough:
        return max(enough, key=lambda trial: trial["validation"]["others"]["same"])
    return max(trials, key=lambda trial: gone(trial["validation"]))


def study(model, outputs, name, results):
    """Every row of a behaviour's table: on test inputs, and all trials on validation inputs."""
    study = Study(model, outputs, name)
    rows, trials = {}, []

    def trial(loss, scope, rate, alpha):
        def make():
            patched, kl, seconds = study.train(loss, scope, rate, alpha)
            with patched:
                measured = study.measure(study.generate(patched, "validation"), "validation")
            return {"validation": measured, "guard_kl": kl, "seconds": seconds}

        found = results.get((name, scope, loss, rate, alpha), make)
        return {**found, "loss": loss, "scope": scope, "rate": rate, "alpha": alpha}

    for scope in study.scopes:
        settings, losses = SETTINGS[scope]
        for loss in losses:
            tried = [trial(loss, scope, rate, alpha) for rate, alpha in settings]
            trials += tried
            best = choose(tried)

            def test(best=best):
                patched, _, _ = study.train(
                    best["loss"], best["scope"], best["rate"], best["alpha"]
                )
                with patched:
                    return study.measure(study.generate(patched, "test"), "test")

            key = (name, "test", scope, loss, best["rate"], best["alpha"])
            rows[scope, loss] = {**best, "test": results.get(key, test)}

    def untrained(make):
        began = time.perf_counter()
        return {"test": study.measure(make(), "test"), "seconds": time.perf_counter() - began}

    rows["", "ban"] = results.get(
        (name, "ban"),
        lambda: untrained(lambda: study.generate(model, "test", banned_phrases=[study.phrase])),
    )
    rows["", "resample"] = results.get(
        (name, "resample"), lambda: untrained(lambda: study.resample("test"))
    )
    return rows, trials


def table(rows):
    lines = [
        "| what | setting | prevalence | gone | others the same | BLEU | ROUGE-L "
        "| BLEU where it was | guard KL | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = {"ban": "a ban while decoding", "resample": "rejection sampling"}
    for (scope, loss), row in rows.items():
        test = row["test"]
        setting = f"{scope}, rate {row['rate']:g}, alpha {row['alpha']:g}" if scope else ""
        kl = f"{row['guard_kl']:.4f}" if "guard_kl" in row else ""
        others = test["others"]
        lines.append(
            f"| {names.get(loss, loss)} | {setting} | {test['before']} to {test['after']} "
            f"| {gone(test):.0%} | {others['same']:.1%} | {others['bleu']:.1f} "
            f"| {others['rouge_l']:.1f} | {test['had']['bleu']:.1f} | {kl} "
            f"| {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


COLOURS = {
    "ff": "#1b6ca8", "rf": "#2a9d8f", "rr": "#6a4c93", "fll": "#8ab17d", "rll": "#b5838d",
    "ul": "#e76f51", "nl": "#d62828", "likelihood": "#6c757d",
}  # fmt: skip


def picture(name, trials):
    """The trade-off, every setting a point: right is more gone, up is more kept."""
    width, height, left, top = 420, 300, 60, 40
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 450" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="24" font-size="15">{name}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + width * share, top + height * (1 - share)
        parts.append(f'<path d="M{x},{top}V{top + height}M{left},{y}H{left + width}" '
                     'stroke="#ddd"/>')  # fmt: skip
        parts.append(f'<text x="{x}" y="{top + height + 18}" text-anchor="middle">'
                     f'{share:.0%}</text>')  # fmt: skip
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share:.0%}</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle">'
                 'prevalence gone (validation)</text>')  # fmt: skip
    parts.append(f'<text x="{left + 6}" y="{top - 4}" fill="#555">other outputs identical</text>')
    for trial in trials:
        measured = trial["validation"]
        x = left + width * min(1, max(0, gone(measured)))
        y = top + height * (1 - measured["others"]["same"])
        colour = COLOURS[trial["loss"]]
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
            if trial["scope"] == "tokens"
            else f'<path d="M{x - 5:.1f},{y - 5:.1f}l10,10m0,-10l-10,10" stroke="{colour}" '
            'stroke-width="2"/>'
        )
    for number, (loss, colour) in enumerate(COLOURS.items()):
        x = left + number * 53
        parts.append(f'<circle cx="{x}" cy="404" r="5" fill="{colour}"/>'
                     f'<text x="{x + 9}" y="408">{loss}</text>')  # fmt: skip
    parts.append(f'<text x="{left - 5}" y="434">dot: scope tokens, cross: all weights</text></svg>')
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--known", type=Path, default=ROOT / "build/results.json")
    parser.add_argument("--only", choices=BEHAVIOURS, help="one behaviour; the other stays")
    options = parser.parse_args()
    inputs = json.loads(lzma.decompress((MODEL / "inputs.json.xz").read_bytes()))
    results = Results(options.known)
    with unsay.open(MODEL) as model:
        outputs = {}
        for split, texts in inputs.items():
            outputs[split] = list(zip(texts, model.generate(texts, max_new_tokens=MAX_NEW_TOKENS)))
        names = [options.only] if options.only else list(BEHAVIOURS)
        studies = {name: study(model, outputs, name, results) for name in names}
    document = ROOT / "docs/results.md"
    text = document.read_text(encoding="utf-8")
    for name, (rows, trials) in studies.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + table(rows) + "\n" + end + rest.split(end)[1]
        drawing = ROOT / f"docs/results-{name.lower().replace(' ', '-')}.svg"
        drawing.write_text(picture(name, trials), encoding="utf-8")
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
