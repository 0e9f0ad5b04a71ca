"""What needs no training: a ban while decoding, and rejection sampling; and the corrections
that corrective fine-tuning learns from."""

from pathlib import Path
from typing import Dict, List, Sequence

import unsay

from .annotators import Annotator, Phrases
from .outputs import Written, slug, to_output, write
from .settings import Settings
from .store import Costs, Progress, append_lines, read_lines

ROUNDS = 8  # of banning what an output had, where that cannot be said beforehand


def ban(
    settings: Settings, model: unsay.Model, annotator: Annotator, rows: Sequence[Written]
) -> List[unsay.Output]:
    """Outputs written anew under a ban, where the old one has the behaviour.

    Phrases are banned as such. Of any other annotator what it found in an output is banned for
    that input, and what it finds in the new one, and so on: after `ROUNDS` the last one stays.
    """
    new = [row.output for row in rows]
    if isinstance(annotator, Phrases):
        places = [place for place, row in enumerate(rows) if row.has]
        texts = [rows[place].input for place in places]
        written = write(model, settings, texts, banned_phrases=annotator.phrases)
        for place, output in zip(places, written):
            new[place] = output
        return new
    for place, row in enumerate(rows):
        banned: List[str] = []
        spans = row.spans
        for _ in range(ROUNDS):
            if not spans:
                break
            found = [new[place].text[begin:end] for begin, end in spans]
            banned += [phrase for phrase in found if phrase.strip()]
            (new[place],) = write(model, settings, [row.input], banned_phrases=banned)
            (spans,) = annotator.spans([row.input], [new[place].text])
    return new


def reject(
    settings: Settings, model: unsay.Model, annotator: Annotator, rows: Sequence[Written]
) -> List[unsay.Output]:
    """Draws again and again where the greedy output has the behaviour; after all tries the
    last draw stays."""
    new = [row.output for row in rows]
    bad = [place for place, row in enumerate(rows) if row.has]
    for seed in range(settings.tries):
        if not bad:
            break
        texts = [rows[place].input for place in bad]
        drawn = write(model, settings, texts, do_sample=True, seed=seed)
        for place, output in zip(bad, drawn):
            new[place] = output
        spans = annotator.spans(texts, [output.text for output in drawn])
        bad = [place for place, found in zip(bad, spans) if found]
    return new


def corrections(
    settings: Settings,
    out: Path,
    name: str,
    model: unsay.Model,
    annotator: Annotator,
    rows: Sequence[Written],
) -> Dict[str, unsay.Output]:
    """A better output for the input of each row: written under a ban, kept in a file.

    An input is absent if the ban did not take the behaviour away.
    """
    path = out / f"corrections/{slug(name)}.jsonl"
    known = {row["input"]: row for row in read_lines(path)}
    waiting = [row for row in rows if row.input not in known]
    stage = f"correct, {name}"
    with Progress(
        stage, len(rows), done=len(rows) - len(waiting), unit="outputs",
        costs=Costs(out / "costs.json"),
    ) as progress:  # fmt: skip
        for begin in range(0, len(waiting), 16):
            chunk = waiting[begin : begin + 16]
            outputs = ban(settings, model, annotator, chunk)
            spans = annotator.spans([row.input for row in chunk], [o.text for o in outputs])
            made = [
                {"input": row.input, "text": output.text, "ids": output.ids,
                 "finish": output.finish, "is_better": not found and bool(output.text.strip())}
                for row, output, found in zip(chunk, outputs, spans)
            ]  # fmt: skip
            append_lines(path, made)
            known.update((row["input"], row) for row in made)
            progress.step(len(chunk))
    return {text: to_output(row) for text, row in known.items() if row["is_better"]}
