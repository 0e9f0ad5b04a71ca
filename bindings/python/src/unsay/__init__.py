"""Run T5 models inside your process, and make them unsay what you flag.

Open a folder of ONNX files, generate, patch, save:

    import unsay

    model = unsay.open("models/t5-small")
    print(model.generate("translate English to German: Good day."))

    with model.patch(max_guard_kl=0.05) as patch:
        patch.add("input", "the unwanted output", avoid=["unwanted"])
        patch.guard([("another input", "its output, which must stay")])
        patch.run(max_steps=50, progress=True)
        patch.commit()
    model.save("models/t5-small-patched")
"""

from ._library import build_info, version
from ._marks import marks
from ._options import GenerateOptions
from ._reports import ChangedOutput, PatchReport, TensorChange
from .classifier import Classifier
from .delta import Delta
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    BusyError,
    CancelledError,
    CapacityError,
    ClosedError,
    DivergedError,
    Error,
    FormatError,
    GuardError,
    InternalError,
    IOFailure,
    MismatchError,
    NotFoundError,
    OutOfMemoryError,
    StateError,
    TextError,
    UnchangedError,
    UnsupportedError,
)
from .losses import token_losses
from .model import Model, open, open_buffers
from .patch import Patch
from .results import (
    ClassifierInfo,
    DeltaInfo,
    Encoding,
    Evaluation,
    GenerationDefaults,
    Gradients,
    ModelInfo,
    Output,
    Plan,
    PlannedMark,
    Report,
    Step,
    Sweep,
    TensorInfo,
    Trial,
)
from .verification import Difference, Verification, VerifiedInput, verify

__version__ = "0.1.0"

__all__ = [
    "ArgumentError", "ArgumentTypeError", "BusyError", "CancelledError", "CapacityError",
    "ChangedOutput", "Classifier", "ClassifierInfo", "ClosedError", "Delta", "DeltaInfo",
    "Difference", "DivergedError", "Encoding", "Error", "Evaluation", "FormatError",
    "GenerateOptions", "GenerationDefaults", "Gradients", "GuardError", "IOFailure",
    "InternalError", "MismatchError", "Model", "ModelInfo", "NotFoundError", "OutOfMemoryError",
    "Output", "Patch", "PatchReport", "Plan", "PlannedMark", "Report", "StateError", "Step",
    "Sweep", "TensorChange", "TensorInfo", "TextError", "Trial", "UnchangedError",
    "UnsupportedError", "Verification", "VerifiedInput", "build_info", "marks", "open",
    "open_buffers", "token_losses", "verify", "version",
]  # fmt: skip
