"""What the library hands back, as plain values."""

import ctypes
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

if TYPE_CHECKING:
    Floats = memoryview[float]
else:
    Floats = memoryview


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


@dataclass(frozen=True)
class Output:
    """One output of the model; `str(output)` is its text."""

    text: str
    ids: List[int]
    """Token ids, the end included if the model wrote it."""
    log_probs: List[float]
    """The natural logarithm of each id's probability."""
    score: float
    finish: str
    """Why it ends: "end" (the model was done), "length", "stopped", "given" (scored)."""
    alternatives: List[List[Tuple[int, float]]] = field(default_factory=list, repr=False)
    """With `num_alternatives`: the likeliest ids for each id and the logarithms of their
    probabilities, likeliest first."""
    cross_attention: Optional[Floats] = field(default=None, repr=False, compare=False)
    """With `cross_attention`: what each id was written by looking at, float32
    [ids, ids of the input], the mean over layers and heads."""
    drafted: int = 0
    """With `prompt_lookup_num_tokens`: how many ids were guessed from the input."""
    accepted: int = 0
    """How many of them the model confirmed: so many steps were saved."""

    @property
    def total(self) -> float:
        """The logarithm of the probability of the whole output."""
        return math.fsum(self.log_probs)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return (
            f"Output({_short(self.text)!r}, {len(self.ids)} ids, "
            f"score={self.score:.3f}, finish={self.finish!r})"
        )


@dataclass(frozen=True)
class LogitsView:
    """What a logits processor sees of a step; valid during the call only."""

    logits: Floats
    """float32 [rows, vocab_size], to be changed in place: `numpy.asarray` shares it."""
    inputs: List[int]
    """Which input each row continues."""
    hypotheses: List[int]
    """Which of the input's hypotheses each row is."""
    prefixes: List[List[int]]
    """The ids of each row so far."""

    @classmethod
    def of(cls, raw: Any) -> "LogitsView":
        """Over the library's own memory, without a copy."""
        rows, width = raw.rows, raw.vocab_size
        values = (ctypes.c_float * (rows * width)).from_address(
            ctypes.addressof(raw.logits.contents)
        )
        return cls(
            memoryview(values).cast("B").cast("f", (rows, width)),
            list(raw.input[:rows]),
            list(raw.hypothesis[:rows]),
            [list(raw.prefix[row][: raw.prefix_count]) for row in range(rows)]
            if raw.prefix_count
            else [[] for _ in range(rows)],
        )


@dataclass(frozen=True)
class Encoding:
    """A text as token ids; `spans` are the characters `(begin, end)` behind each."""

    ids: List[int]
    spans: List[Tuple[int, int]]


@dataclass(frozen=True)
class GenerationDefaults:
    """How a model writes where `generate` is not told."""

    file: Optional[str]
    """generation_config.json or an older config.json; None without either."""
    options: Dict[str, Any]
    """Those that differ from the library's defaults, and `eos_token_id`, a list."""
    remarks: List[str]
    """Sentences about what of the file has no effect or cannot be used."""


@dataclass(frozen=True)
class ModelInfo:
    """Sizes and special ids of a model, named as in config.json."""

    parameter_count: int
    tensor_count: int
    vocab_size: int
    d_model: int
    d_ff: int
    num_heads: int
    d_kv: int
    num_layers: int
    num_decoder_layers: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    pad_token_id: int
    eos_token_id: int
    unk_token_id: int
    decoder_start_token_id: int
    is_gated: bool
    """True for a gated feed-forward layer (T5 v1.1 and its kin)."""
    ties_head: bool
    """True if the output head is the embedding table."""
    rounds_when_saved: bool = False
    """True if the folder stores weights in 16 bits: saving rounds those that changed."""


@dataclass(frozen=True)
class TensorInfo:
    """A weight: its name in the transformers state dict and its shape."""

    name: str
    shape: Tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """What one training step did."""

    step: int
    loss: float
    """Mean over the marked tokens."""
    avoid_loss: float
    keep_loss: float
    avoid_p: float
    """Mean probability of the avoided tokens, before the update."""
    gradient_norm: float
    """Before clipping."""
    seconds: float

    def __str__(self) -> str:
        return (
            f"step {self.step}: loss {self.loss:.4f}, avoided p {self.avoid_p:.4f}, "
            f"{self.seconds:.2f} s"
        )


@dataclass(frozen=True)
class Evaluation:
    """The trained copy measured against the original."""

    goal_met: bool
    """True if every avoided token is below `max_avoid_p`."""
    guard_held: bool
    """True if the drift on guard pairs is within `max_guard_kl` and `max_guard_flips`."""
    avoid_p_before: float
    avoid_p_after: float
    """Mean probability of the avoided tokens."""
    avoid_p_worst: float
    """The highest of them."""
    keep_kl: float
    """KL(original | trained) of the kept tokens, nats per token."""
    guard_kl: float
    guard_flips: float
    """Share of guard tokens whose most likely token changed, 0...1."""
    held_out_avoid_p_before: float = 0.0
    held_out_avoid_p_after: float = 0.0
    """Mean probability of the avoided tokens of held-out examples."""
    held_out_loss: float = 0.0
    """The loss on held-out examples, as a step's."""
    root_kl: float = 0.0
    root_flips: float = 0.0
    """The guard's drift from the root model."""
    changed: bool = False
    """True if a weight differs from the model as it was when the patch began."""
    step: int = 0
    """The step whose weights these are; 0 for those that the patch began with."""
    fraction: float = 1.0
    """Less than 1 where the guard broke at that step and the run went back so far towards the
    best weights before."""

    def __str__(self) -> str:
        return (
            f"avoided p {self.avoid_p_before:.3f} -> {self.avoid_p_after:.4f} "
            f"(worst {self.avoid_p_worst:.4f}; goal {'met' if self.goal_met else 'not met'}); "
            f"kept KL {self.keep_kl:.4f}; guard KL {self.guard_kl:.4f}, "
            f"{self.guard_flips:.1%} flipped ({'held' if self.guard_held else 'broken'})"
        )


@dataclass
class Gradients:
    """What a gradients hook may look at and change; valid during the call only."""

    values: Floats
    """float32 [count]: `numpy.asarray` shares it."""
    weight: float
    """Of the marked tokens that values and loss are means over."""
    loss: float
    """What the step will report."""
    is_sum: bool
    """True if values and loss are sums instead (form="published")."""


@dataclass(frozen=True)
class PlannedMark:
    """One position that avoids something."""

    example: int
    position: int
    id: int
    q: float
    """The reference's probability of what is avoided there."""
    price: float
    """-log(1 - q), nats: the least that unsaying it costs in KL there."""
    is_context_free: bool
    """True if these tokens are avoided in two examples at least and kept in none: then
    `banned_phrases` of `generate` unsays them exactly, at no price."""


@dataclass(frozen=True)
class Plan:
    """What a patch would do, before anything is trained."""

    avoided_count: int
    kept_count: int
    context_free_count: int
    mean_price: float
    highest_price: float
    memory_bytes: int
    """The patch's peak, the model not counted."""
    seconds_per_step: float
    trained_count: int
    """Parameters that may change."""
    marks: List[PlannedMark] = field(default_factory=list, repr=False)
    spellings: Dict[str, int] = field(default_factory=dict)
    """The runs of tokens that are avoided, as the vocabulary spells them, and how often."""

    def __str__(self) -> str:
        lines = [
            f"avoids {self.avoided_count} tokens, keeps {self.kept_count}; "
            f"price {self.mean_price:.3f} nats on average, {self.highest_price:.3f} at most",
            f"trains {self.trained_count:,} parameters in {self.memory_bytes / 2**20:,.0f} MB, "
            f"{self.seconds_per_step:.2f} s a step",
        ]
        lines += [f"  {count:5} x {text}" for text, count in self.spellings.items()]
        if self.context_free_count:
            lines.append(
                f"{self.context_free_count} avoided tokens are avoided wherever they stand: "
                "generate(banned_phrases=...) unsays them exactly, at no price"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Trial:
    """One setting of a sweep."""

    learning_rate: float
    alpha: float
    ending: str
    steps: int
    diverged: bool
    evaluation: Evaluation
    """Of the best weights of its run."""


@dataclass(frozen=True)
class Sweep:
    """Every trial of a sweep, and which was kept."""

    trials: List[Trial]
    chosen: Optional[int]
    """None if no trial held the guard and changed anything: then the weights are as before."""

    @property
    def best(self) -> Optional[Trial]:
        """The trial whose weights and setting were kept."""
        return None if self.chosen is None else self.trials[self.chosen]


@dataclass(frozen=True)
class Report:
    """How a run ended."""

    ending: str
    """By "goal" (met), "steps" (used up), "guard" (about to break), "caller" (stopped),
    "patience" (nothing improved any more)."""
    evaluation: Evaluation
    steps: int
    seconds: float
    history: List[Step] = field(default_factory=list, repr=False)
    """Every step of the run."""

    def __str__(self) -> str:
        found = self.evaluation
        if not found.changed:
            kept = "nothing has changed"
        elif found.fraction < 1:
            kept = f"kept {found.fraction:g} of the way to step {found.step}"
        else:
            kept = f"kept step {found.step}"
        return (
            f"ended by {self.ending} after {self.steps} steps, {self.seconds:.1f} s, {kept}: "
            f"{found}"
        )


@dataclass(frozen=True)
class DeltaInfo:
    """What a delta changes; `before` and `after` are model fingerprints in hexadecimal."""

    before: str
    after: str
    tensor_count: int
    changed_count: int
    """Parameters that differ."""
    change_norm: float
    """L2 norm of the change."""


@dataclass(frozen=True)
class ClassifierInfo:
    """What a classifier was trained with, and how well it learnt."""

    encoder: str
    """The fingerprint of the encoder's weights, in hexadecimal."""
    token_count: int
    """The tokens that it was trained on."""
    marked_count: int
    """How many of them were marked."""
    loss: float
    """Cross entropy on them at the end, in nats, marked and others weighing alike."""
    d_model: int
