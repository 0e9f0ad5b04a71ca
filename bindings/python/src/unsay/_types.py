"""The structs, callbacks and enumerations of unsay.h, for ctypes.

Field names and order are the header's; a test compiles the header and compares every
size and offset with these. The rest of the package names them by this module.
"""
# ruff: noqa: F403, F405

import ctypes
from typing import Dict, Type

from ._choices import *
from ._session_structs import *
from ._structs import *

class MarkedText(Structure):
    _fields_ = [
        ("text", Sequence),
        ("spans", POINTER(Span)),
        ("span_count", c_size_t),
        ("reserved", c_uint32 * 4),
    ]


class ClassifierOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("passes", c_int32),
        ("batch_size", c_int32),
        ("max_ids", c_int32),
        ("learning_rate", c_float),
        ("weight_decay", c_float),
        ("reserved", c_int32),
        ("seed", c_uint64),
        ("on_progress", ProgressFunction),
        ("context", c_void_p),
    ]


class ClassifierInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("encoder", c_uint8 * 32),
        ("token_count", c_uint64),
        ("marked_count", c_uint64),
        ("loss", c_double),
        ("d_model", c_int32),
        ("reserved", c_int32),
    ]


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
