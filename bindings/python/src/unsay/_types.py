"""The structs, callbacks and enumerations of unsay.h, for ctypes.

Field names and order are the header's; a test compiles the header and compares every
size and offset with these. The rest of the package names them by this module.
"""
# ruff: noqa: F403, F405

import ctypes
from typing import Dict, Type

from ._choices import *
from ._classifier_structs import *
from ._session_structs import *
from ._structs import *

STRUCTS: Dict[str, Type[ctypes.Structure]] = {
    "unsay_open_options": OpenOptions,
    "unsay_buffer": Buffer,
    "unsay_model_info": ModelInfo,
    "unsay_tensor_info": TensorInfo,
    "unsay_span": Span,
    "unsay_sequence": Sequence,
    "unsay_generate_options": GenerateOptions,
    "unsay_logits_view": LogitsView,
    "unsay_hypothesis": Hypothesis,
    "unsay_session_options": SessionOptions,
    "unsay_example": Example,
    "unsay_step": Step,
    "unsay_run_options": RunOptions,
    "unsay_evaluation": Evaluation,
    "unsay_delta_info": DeltaInfo,
    "unsay_report_options": ReportOptions,
    "unsay_gradients_view": GradientsView,
    "unsay_plan": Plan,
    "unsay_planned_mark": PlannedMark,
    "unsay_trial": Trial,
    "unsay_sweep_options": SweepOptions,
    "unsay_marked_text": MarkedText,
    "unsay_classifier_options": ClassifierOptions,
    "unsay_classifier_info": ClassifierInfo,
}
