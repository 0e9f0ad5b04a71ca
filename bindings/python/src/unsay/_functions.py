"""The prototypes of unsay.h, as one table.

Handles are `void *`. A function that returns `STATUS` can fail: calling it through
`bind` raises what its status stands for.
"""

import ctypes
from ctypes import (
    POINTER,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_void_p,
)
from typing import Any, Dict, List, Tuple

from . import _types as t
from ._words import in_python
from .errors import failure


class STATUS(c_int):
    """What a function that can fail returns; negative is a failure."""


HANDLE = c_void_p
OUT_HANDLE = POINTER(c_void_p)
SEQUENCE = POINTER(t.Sequence)
EXAMPLES = POINTER(t.Example)
IDS = POINTER(c_int32)
FLOATS = POINTER(c_float)
MARKS = POINTER(c_int8)
COUNT = POINTER(c_size_t)

PROTOTYPES: Dict[str, Tuple[Any, List[Any]]] = {
    # 1. Library
    "version": (c_char_p, []),
    "abi_version": (c_uint32, []),
    "build_info": (c_char_p, []),
    "status_name": (c_char_p, [c_int]),
    "last_error": (c_char_p, []),
    "set_log": (None, [c_void_p, c_void_p, c_int]),
    # 2. Model
    "open_options_init": (None, [POINTER(t.OpenOptions), c_size_t]),
    "model_open": (STATUS, [c_char_p, POINTER(t.OpenOptions), OUT_HANDLE]),
    "model_save": (STATUS, [HANDLE, c_char_p]),
    "model_clone": (STATUS, [HANDLE, OUT_HANDLE]),
    "model_open_buffers": (
        STATUS, [POINTER(t.Buffer), c_size_t, POINTER(t.OpenOptions), OUT_HANDLE]),
    "model_close": (None, [HANDLE]),
    "model_get_info": (STATUS, [HANDLE, POINTER(t.ModelInfo)]),
    "model_fingerprint": (STATUS, [HANDLE, POINTER(c_uint8)]),
    "model_tensor": (STATUS, [HANDLE, c_uint32, POINTER(t.TensorInfo)]),
    "model_read_tensor": (STATUS, [HANDLE, c_uint32, FLOATS, c_size_t]),
    "model_file": (c_char_p, [HANDLE, c_uint32]),
    "model_save_rounded": (STATUS, [HANDLE, c_char_p]),
    # 3. Tokens
    "encode": (
        STATUS, [HANDLE, c_char_p, c_size_t, IDS, POINTER(t.Span), c_size_t, COUNT]),
    "decode": (STATUS, [HANDLE, IDS, c_size_t, c_char_p, c_size_t, COUNT]),
    "token_piece": (c_char_p, [HANDLE, c_int32]),
    # 4. Generate and score
    "generate_options_init": (None, [POINTER(t.GenerateOptions), c_size_t]),
    "generate": (
        STATUS, [HANDLE, SEQUENCE, c_size_t, POINTER(t.GenerateOptions), OUT_HANDLE]),
    "score": (STATUS, [HANDLE, SEQUENCE, SEQUENCE, c_size_t, OUT_HANDLE]),
    "logits": (STATUS, [HANDLE, SEQUENCE, SEQUENCE, FLOATS, c_size_t, COUNT]),
    "encoder_states": (STATUS, [HANDLE, SEQUENCE, FLOATS, c_size_t, COUNT]),
    "embed": (STATUS, [HANDLE, SEQUENCE, c_size_t, c_int32, FLOATS, c_size_t, COUNT]),
    "result_count": (c_size_t, [HANDLE, c_size_t]),
    "result_get": (STATUS, [HANDLE, c_size_t, c_size_t, POINTER(t.Hypothesis)]),
    "result_free": (None, [HANDLE]),
    "model_generate_options": (STATUS, [HANDLE, POINTER(t.GenerateOptions), c_size_t]),
    "model_generation": (c_char_p, [HANDLE]),
    # 5. Marks
    "mark_spans": (
        STATUS,
        [HANDLE, SEQUENCE, POINTER(t.Span), c_size_t, c_int, MARKS, c_size_t, COUNT]),
    "mark_phrases": (
        STATUS,
        [HANDLE, SEQUENCE, POINTER(c_char_p), c_size_t, c_int, MARKS, c_size_t, COUNT]),
    "mark_difference": (
        STATUS, [HANDLE, SEQUENCE, SEQUENCE, c_int, MARKS, c_size_t, COUNT]),
    "mark_triple": (
        STATUS, [HANDLE, SEQUENCE, SEQUENCE, c_int, MARKS, c_size_t, COUNT, IDS]),
    # 6. Sessions
    "token_losses": (
        STATUS,
        [c_int, c_int, c_float, c_float, FLOATS, FLOATS, IDS, MARKS, c_size_t, c_size_t,
         FLOATS, FLOATS]),
    "session_options_init": (None, [POINTER(t.SessionOptions), c_size_t]),
    "session_create": (STATUS, [HANDLE, POINTER(t.SessionOptions), OUT_HANDLE]),
    "session_add": (STATUS, [HANDLE, EXAMPLES, c_size_t]),
    "session_add_held_out": (STATUS, [HANDLE, EXAMPLES, c_size_t]),
    "session_add_guard": (STATUS, [HANDLE, EXAMPLES, c_size_t]),
    "session_plan": (
        STATUS, [HANDLE, POINTER(t.Plan), POINTER(t.PlannedMark), c_size_t, COUNT]),
    "session_step": (STATUS, [HANDLE, POINTER(t.Step)]),
    "run_options_init": (None, [POINTER(t.RunOptions), c_size_t]),
    "session_run": (STATUS, [HANDLE, POINTER(t.RunOptions), POINTER(c_int)]),
    "session_evaluate": (STATUS, [HANDLE, POINTER(t.Evaluation)]),
    "sweep_options_init": (None, [POINTER(t.SweepOptions), c_size_t]),
    "session_sweep": (STATUS, [HANDLE, POINTER(t.SweepOptions), POINTER(c_int64)]),
    "session_model": (STATUS, [HANDLE, OUT_HANDLE]),
    "session_save": (STATUS, [HANDLE, c_char_p]),
    "session_load": (STATUS, [HANDLE, c_char_p, IDS]),
    "session_cancel": (None, [HANDLE]),
    "session_commit": (STATUS, [HANDLE]),
    "session_rollback": (STATUS, [HANDLE]),
    "session_close": (None, [HANDLE]),
    "finetune": (
        STATUS, [HANDLE, EXAMPLES, c_size_t, POINTER(t.SessionOptions), c_int32]),
    "report_options_init": (None, [POINTER(t.ReportOptions), c_size_t]),
    "session_report": (STATUS, [HANDLE, POINTER(t.ReportOptions), OUT_HANDLE]),
    "report_json": (c_char_p, [HANDLE]),
    "report_html": (c_char_p, [HANDLE]),
    "report_free": (None, [HANDLE]),
    # 7. Deltas
    "session_delta": (STATUS, [HANDLE, OUT_HANDLE]),
    "delta_open": (STATUS, [c_char_p, OUT_HANDLE]),
    "delta_save": (STATUS, [HANDLE, c_char_p]),
    "delta_get_info": (STATUS, [HANDLE, POINTER(t.DeltaInfo)]),
    "delta_apply": (STATUS, [HANDLE, HANDLE]),
    "delta_revert": (STATUS, [HANDLE, HANDLE]),
    "delta_metadata": (c_char_p, [HANDLE]),
    "delta_squash": (STATUS, [POINTER(c_void_p), c_size_t, HANDLE, OUT_HANDLE]),
    "delta_rebase": (STATUS, [HANDLE, HANDLE, OUT_HANDLE]),
    "delta_close": (None, [HANDLE]),
    "model_applied_count": (c_size_t, [HANDLE]),
    "model_applied": (STATUS, [HANDLE, c_size_t, POINTER(t.DeltaInfo)]),
    "model_revert": (STATUS, [HANDLE]),
    "model_list_applied": (STATUS, [HANDLE, POINTER(t.DeltaInfo), c_size_t, c_size_t, COUNT]),
    # 8. Classifiers
    "classifier_options_init": (None, [POINTER(t.ClassifierOptions), c_size_t]),
    "classifier_train": (
        STATUS,
        [HANDLE, POINTER(t.MarkedText), c_size_t, POINTER(t.ClassifierOptions), OUT_HANDLE]),
    "classifier_open": (STATUS, [HANDLE, c_char_p, OUT_HANDLE]),
    "classifier_save": (STATUS, [HANDLE, c_char_p]),
    "classifier_get_info": (STATUS, [HANDLE, POINTER(t.ClassifierInfo)]),
    "classifier_probabilities": (STATUS, [HANDLE, SEQUENCE, FLOATS, c_size_t, COUNT]),
    "classifier_spans": (
        STATUS, [HANDLE, SEQUENCE, c_float, POINTER(t.Span), c_size_t, COUNT]),
    "classifier_close": (None, [HANDLE]),
}  # fmt: skip


class Functions:
    """The library's functions without their prefix: `functions.model_open(...)`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        last_error = library.unsay_last_error
        last_error.restype = c_char_p

        def checked(status: "STATUS", function: Any, arguments: Any) -> None:
            if status.value < 0:
                message = (last_error() or b"").decode("utf-8", "replace")
                raise failure(status.value, in_python(message))

        for name, (restype, argtypes) in PROTOTYPES.items():
            function = getattr(library, f"unsay_{name}")
            function.restype, function.argtypes = restype, argtypes
            if restype is STATUS:
                function.errcheck = checked
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"unsay.h declares no unsay_{name}")
