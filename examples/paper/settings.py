"""The settings of a study: a file of JSON over the defaults below."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Type, TypeVar

ROOT = Path(__file__).resolve().parents[2]

AVOIDING = ("ff", "rf", "rr", "fll", "rll", "ul", "nl")
"""Methods that train on marked outputs: the library's losses of these names."""
TUNING = ("corrective", "clean")
"""Fine-tuning, on corrected outputs or on clean ones alone."""
DECODING = ("ban", "reject")
"""Methods that train nothing."""


@dataclass(frozen=True)
class Behaviour:
    """What the model should stop doing, and how its outputs are marked."""

    annotator: str
    """"phrases", "names", "entities" or "classifier"."""
    phrases: List[str] = field(default_factory=list)
    extent: str = "all"
    """Which tokens of a marked run are avoided: "all", "first" or "last"."""
    spans: str = ""
    """Of "classifier": the file of spans that it learns from."""
    threshold: float = 0.5


@dataclass(frozen=True)
class Protocol:
    """How updates are trained; every rate is tried with every alpha."""

    methods: List[str]
    learning_rates: List[float]
    alphas: List[float] = field(default_factory=lambda: [1.0])
    scope: str = "all"
    optimizer: str = "adafactor"
    batch_size: int = 32
    steps: int = 60
    evaluate_every: int = 20
    z_loss: float = 0.0
    dropout: float = 0.0
    form: str = "exact"


@dataclass(frozen=True)
class Training:
    """Fine-tuning of the model that the study is about; the paper's settings."""

    steps: int
    evaluate_every: int = 500
    patience: int = 0
    batch_size: int = 32
    optimizer: str = "adafactor"
    learning_rate: float = 1e-3
    schedule: str = "linear"
    warmup_steps: int = 0
    dropout: float = 0.1
    z_loss: float = 1e-4
    seed: int = 1
    save_every: int = 100
    max_hours: float = 0.0
    """The best weights so far are taken after so long; 0: no limit."""
    compute: str = "f32"
    random_weights: bool = False
    """Start from the model's graph with random weights instead of its own."""


@dataclass(frozen=True)
class Extras:
    """What goes beyond the paper; all by one method with one setting."""

    protocol: str = "recommended"
    method: str = "ff"
    learning_rate: float = 1e-2
    alpha: float = 4.0
    flag_counts: List[int] = field(default_factory=list)
    noise: List[float] = field(default_factory=list)
    """Shares of flags that are wrong."""
    iterated: bool = False


@dataclass(frozen=True)
class Settings:
    task: str
    """"debsum", "xsum", "civil" or "pairs"."""
    model: str
    """The folder to start from, relative to the checkout."""
    behaviours: Dict[str, Behaviour]
    protocols: Dict[str, Protocol]
    data: str = ""
    """Where the task's files are; empty for debsum makes them from apt's lists."""
    check_counts: bool = True
    """Refuse splits of other sizes than the published ones."""
    training: Optional[Training] = None
    """None: the model is taken as it is."""
    inputs: Dict[str, int] = field(default_factory=dict)
    """At most so many of a split; all by default."""
    max_input_ids: int = 128
    max_new_tokens: int = 32
    flagged: int = 200
    kept: int = 600
    guard: int = 100
    held_out: int = 200
    """Validation outputs whose loss chooses checkpoints."""
    checked: int = 400
    """Validation inputs that are written anew for a checkpoint: those with the behaviour before
    the others, up to half of them."""
    drift: int = 100
    """References of the test split on which drift is measured."""
    max_guard_kl: float = 0.02
    max_guard_flips: float = 0.02
    seeds: List[int] = field(default_factory=lambda: [1])
    sweep: str = "every"
    """Which seeds try all rates and alphas: "every" one, or the "first", after which the others
    try those that were of use: chosen by a rule, or best at an equal reduction."""
    tries: int = 16
    """Draws of rejection sampling before the original output stays."""
    extras: Extras = field(default_factory=Extras)

    def path(self, name: str) -> Path:
        """A path of the settings: absolute, or relative to the checkout."""
        return ROOT / name


Made = TypeVar("Made")


def _made(kind: Type[Made], values: Dict[str, Any], where: str) -> Made:
    known = {entry.name for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise SystemExit(f"{where} has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except TypeError as error:
        raise SystemExit(f"{where}: {error}") from None


def load(path: Path, **changes: Any) -> Settings:
    """Reads a file of settings; `changes` replace what it says."""
    return made({**json.loads(path.read_text(encoding="utf-8")), **changes}, path.name)


def made(values: Dict[str, Any], where: str) -> Settings:
    """Settings of what a file says, or of `dataclasses.asdict` of settings."""
    raw = dict(values)
    raw["behaviours"] = {
        name: _made(Behaviour, values, f"behaviour {name!r}")
        for name, values in raw.get("behaviours", {}).items()
    }
    raw["protocols"] = {
        name: _made(Protocol, values, f"protocol {name!r}")
        for name, values in raw.get("protocols", {}).items()
    }
    if raw.get("training") is not None:
        raw["training"] = _made(Training, raw["training"], "training")
    if "extras" in raw:
        raw["extras"] = _made(Extras, raw["extras"], "extras")
    settings = _made(Settings, raw, where)
    if settings.sweep not in ("every", "first"):
        raise SystemExit(f'{where}: sweep is {settings.sweep!r}, expected "every" or "first"')
    for name, protocol in settings.protocols.items():
        for method in protocol.methods:
            if method not in AVOIDING + TUNING:
                raise SystemExit(
                    f"protocol {name!r} has the method {method!r}, "
                    f"expected one of {', '.join(AVOIDING + TUNING)}"
                )
    return settings
