"""Which checkpoint of which trial is taken, among those with other rates and alphas."""

from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from .measures import gone
from .settings import Settings

RULES = ("loss", "guard")
"""How a checkpoint is chosen: "loss", as in the paper, the lowest loss on validation outputs;
"guard", as we recommend, the lowest prevalence on validation inputs at which the guard holds."""

SHARES = (0.1, 0.2, 0.5, 0.8)
"""Of the prevalence that is gone: where methods are compared at equal reduction."""

History = Dict[str, Any]
Checkpoint = Dict[str, Any]


def best(
    settings: Settings, histories: Sequence[History], rule: str
) -> Optional[Tuple[History, Checkpoint]]:
    """What a rule chooses; None if there is nothing to choose from."""
    points = _points(histories)
    if rule == "loss":
        # Losses with different alphas are not to be compared: the first one counts.
        alpha = histories[0]["trial"]["alpha"] if histories else None
        points = [entry for entry in points if entry[0]["trial"]["alpha"] == alpha]
        return min(points, key=lambda entry: entry[1]["held_out_loss"], default=None)
    held = [
        entry
        for entry in points
        if entry[1]["guard_kl"] <= settings.max_guard_kl
        and entry[1]["guard_flips"] <= settings.max_guard_flips
    ]
    return min(
        held,
        key=lambda entry: (
            entry[1]["validation"]["after"], -entry[1]["validation"]["others"]["bleu"]
        ),
        default=None,
    )  # fmt: skip


def useful(settings: Settings, histories: Sequence[History]) -> Set[Tuple[float, float]]:
    """(rate, alpha) of every trial that a rule chooses, or that leaves the most of the other
    outputs where at least one of `SHARES` of the prevalence is gone."""
    chosen = [best(settings, histories, rule) for rule in RULES]
    for share in SHARES:
        reached = [e for e in _points(histories) if gone(e[1]["validation"]) >= share]
        for measure in ("same", "bleu"):
            chosen.append(
                max(reached, key=lambda e: e[1]["validation"]["others"][measure], default=None)
            )
    trials = [entry[0]["trial"] for entry in chosen if entry is not None]
    return {(trial["learning_rate"], trial["alpha"]) for trial in trials}


def _points(histories: Sequence[History]) -> List[Tuple[History, Checkpoint]]:
    return [(each, point) for each in histories for point in each["checkpoints"]]
