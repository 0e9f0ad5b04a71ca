"""Reports of a patch: dataclasses over the library's JSON, and its HTML page."""

import json
import os
from ctypes import byref, c_void_p, pointer
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import _types as t
from ._files import whole_file
from ._generation import Generation
from ._handle import Handle
from ._inputs import Sequences, several
from ._library import functions, initialised
from ._sessions import Session
from ._values import Path, c_string, function, path_bytes
from .results import Evaluation


@dataclass(frozen=True)
class ChangedOutput:
    """An output that a patch changed."""

    index: int
    """Among the report's inputs."""
    input: str
    before: str
    after: str
    position: int
    """The first token that differs."""
    token_before: str
    token_after: str
    """Its spellings; empty where an output ended."""
    kl: float
    """KL(original | trained) there, nats."""
    shown_before: Optional[bool]
    shown_after: Optional[bool]
    """Whether it shows the behaviour; None without `detect`."""


@dataclass(frozen=True)
class TensorChange:
    """How far a weight moved: L2 norms of the change and of the weight."""

    name: str
    change: float
    weight: float


@dataclass(frozen=True)
class PatchReport:
    """What a patch did."""

    title: str
    session: Dict[str, Any]
    """Options, seed, digest of the examples, steps; as in a delta's metadata."""
    evaluation: Evaluation
    history: List[Tuple[int, Evaluation]] = field(repr=False)
    """Every evaluation, with its step."""
    outputs: int
    shown_before: Optional[int]
    shown_after: Optional[int]
    """Outputs that show the behaviour; None without `detect`."""
    changes: List[ChangedOutput] = field(repr=False)
    tensors: List[TensorChange] = field(repr=False)
    """The weights that differ, the largest change first."""
    json: str = field(repr=False)
    html: str = field(repr=False)
    """One page that loads nothing from anywhere."""

    def save(self, path: Path) -> None:
        """Writes the page, or, to a path that ends in .json, the JSON; whole or not at all."""
        name = os.fsdecode(path_bytes(path, "path"))
        text = self.json if name.endswith(".json") else self.html
        with whole_file(name) as file:
            file.write(text)


def make_report(
    session: Session,
    model: Handle,
    inputs: Any,
    detect: Optional[Callable[[str], Any]],
    title: Optional[str],
    generate: Dict[str, Any],
) -> PatchReport:
    options = initialised(t.ReportOptions, "report")
    sequences = Sequences(several(inputs, "inputs")[0])
    function(detect, "detect")
    options.inputs, options.input_count = sequences.array, sequences.count
    generation = Generation(generate, model)
    options.generate = pointer(generation.options)
    if title is not None:
        options.title = c_string(title, "title")
    raised: List[BaseException] = []

    def call(_: Any, __: int, text: bytes) -> int:
        try:
            return int(bool(detect and detect(text.decode("utf-8", "replace"))))
        except BaseException as error:
            raised.append(error)
            return 0

    if detect is not None:
        options.detect = t.DetectFunction(call)
    out = c_void_p()
    with session.calling(generation.interrupts) as handle:
        functions.session_report(handle, byref(options), byref(out))
    try:
        texts = [functions.report_json(out), functions.report_html(out)]
    finally:
        functions.report_free(out)
    if raised:
        raise raised[0]
    return to_report(*(text.decode("utf-8") for text in texts))


def to_report(text: str, html: str) -> PatchReport:
    raw = json.loads(text)
    return PatchReport(
        title=raw["title"],
        session=raw["session"],
        evaluation=Evaluation(**raw["evaluation"]),
        history=[(entry["step"], Evaluation(**entry["evaluation"])) for entry in raw["history"]],
        outputs=raw["outputs"],
        shown_before=raw["shown_before"],
        shown_after=raw["shown_after"],
        changes=[
            ChangedOutput(**{part.name: change[part.name] for part in fields(ChangedOutput)})
            for change in raw["changes"]
        ],
        tensors=[TensorChange(**tensor) for tensor in raw["tensors"]],
        json=text,
        html=html,
    )
