"""Good and bad values of the parameters and fields of include/unsay.h, as C, by what they are
called there: the tables of make_bad_arguments.py."""

from __future__ import annotations

from typing import Dict, List, Set, Tuple, Union

#: Good values of parameters, as C: by function and name, or by type.
GOOD: Dict[Union[str, Tuple[str, str]], str] = {
    ("unsay_status_name", "status"): "UNSAY_E_FORMAT",
    ("unsay_set_log", "log"): "log_nothing",
    ("unsay_set_log", "context"): "NULL",
    ("unsay_set_log", "minimum"): "UNSAY_LOG_WARNING",
    ("unsay_model_open", "folder"): "w->folder",
    ("unsay_model_save", "folder"): "w->saved_path",
    ("unsay_model_save_rounded", "folder"): "w->saved_path",
    ("unsay_session_save", "path"): "w->state_path",
    ("unsay_session_load", "path"): "w->state_path",
    ("unsay_delta_open", "path"): "w->delta_path",
    ("unsay_delta_save", "path"): "w->delta_path",
    ("unsay_model_open_buffers", "count"): "w->file_count",
    ("unsay_encode", "text"): "w->text",
    ("unsay_encode", "text_size"): "5",
    ("unsay_decode", "count"): "3",
    ("unsay_decode", "text"): "w->bytes",
    ("unsay_token_piece", "id"): "5",
    ("unsay_token_losses", "tokens"): "2",
    ("unsay_token_losses", "vocab_size"): "3",
    ("unsay_token_losses", "targets"): "w->targets",
    ("unsay_token_losses", "reference"): "w->numbers + 8",
    ("unsay_token_losses", "losses"): "w->numbers + 16",
    ("unsay_token_losses", "gradient"): "w->numbers + 32",
    ("unsay_token_losses", "marks"): "w->given_marks",
    ("unsay_session_plan", "marks"): "w->planned",
    ("unsay_decode", "ids"): "w->given_ids",
    ("unsay_encode", "ids"): "w->ids",
    ("unsay_encode", "spans"): "w->spans",
    ("unsay_mark_spans", "spans"): "w->given_spans",
    ("unsay_mark_triple", "uses_corrected"): "w->ids",
    ("unsay_session_load", "steps"): "w->ids",
    ("unsay_finetune", "steps"): "1",
    ("unsay_delta_squash", "deltas"): "(const unsay_delta *const *)&w->delta",
    ("unsay_model_applied", "index"): "0",
    ("unsay_model_list_applied", "struct_size"): "sizeof(unsay_delta_info)",
    ("unsay_result_count", "input"): "0",
    ("unsay_result_get", "input"): "0",
    ("unsay_result_get", "rank"): "0",
    ("unsay_classifier_open", "path"): "w->classifier_path",
    ("unsay_classifier_save", "path"): "w->classifier_path",
    ("unsay_classifier_spans", "spans"): "w->spans",
    ("unsay_classifier_spans", "threshold"): "0",
    "const unsay_model *": "w->model",
    "unsay_model *": "w->model",
    "unsay_session *": "w->session",
    "const unsay_result *": "w->result",
    "const unsay_report *": "w->report",
    "const unsay_delta *": "w->delta",
    "const unsay_classifier *": "w->classifier",
    "unsay_model **": "&w->made_model",
    "unsay_session **": "&w->made_session",
    "unsay_result **": "&w->made_result",
    "unsay_report **": "&w->made_report",
    "unsay_delta **": "&w->made_delta",
    "unsay_classifier **": "&w->made_classifier",
    "const unsay_buffer *": "w->files",
    "const unsay_sequence *": "w->sequences",
    "const unsay_example *": "w->examples",
    "const unsay_marked_text *": "w->marked_texts",
    "const char *const *": "w->phrases",
    "size_t *": "w->count",
    "float *": "w->numbers",
    "const float *": "w->numbers",
    "int8_t *": "w->marks",
    "int64_t *": "w->chosen",
    "uint8_t *": "w->digest",
    "unsay_ending *": "w->ending",
    "int32_t": "1",
    "uint32_t": "0",
    "float": "0.5f",
    "unsay_extent": "UNSAY_EXTENT_ALL",
    "unsay_converter": "UNSAY_NEGATIVE_DIFF",
    "unsay_loss": "UNSAY_LOSS_FF",
    "unsay_loss_form": "UNSAY_LOSS_EXACT",
    "capacity": "ROOM",
    "struct_size": "64",
    "size_t": "1",
}

#: Parameters that may be NULL, or whose value cannot be wrong.
OPTIONAL: Set[str] = {
    "options", "log", "context", "minimum", "status", "spans of unsay_encode",
    "gradient", "out of unsay_session_step", "out of unsay_session_plan",
    "count of unsay_session_plan", "steps of unsay_session_load", "ending", "chosen",
    "reference",
}  # fmt: skip

#: Whose value cannot be wrong, or does not count with the good values of the others.
LENIENT: Set[str] = {
    "capacity", "status", "minimum", "input of unsay_result_count",
    # A sequence with a text has no ids, and the other way round.
    "id_count", "output.text_size",
    # A guard's marks are ignored; fine-tuning is by likelihood.
    "mark_count of unsay_session_add_guard", "also_avoid_count of unsay_session_add_guard",
    "loss of unsay_finetune", "form of unsay_finetune",
    }  # fmt: skip

#: What a message may call a parameter or field instead.
ALSO: Dict[str, List[str]] = {
    "text_size": ["text"],
    "count": ["inputs", "examples", "files", "ids", "deltas", "outputs", "guard", "need", "texts"],
    "phrase_count": ["phrases"],
    "span_count": ["spans"],
    "tokens": ["logits"],
    "vocab_size": ["logits", "targets"],
    "capacity": ["room"],
    "input": ["input", "hypothesis"],
    "rank": ["hypothesis"],
    "handles": ["deltas"],
    "input_count": ["inputs"],
    "id_count": ["ids", "empty", "marks"],
    "mark_count": ["marks"],
    "also_avoid_count": ["also_avoid"],
    "ids": ["sequences", "inputs", "input", "output", "corrected", "examples"],
    "learning_rate_count": ["learning_rate"],
    "learning_rates": ["learning_rate"],
    "alpha_count": ["alpha"],
    "alphas": ["alpha"],
    "size": ["bytes"],
    "name": ["files"],
    "bytes": ["files"],
    "micro_batch_size": ["batch"],
    "tensor_count": ["tensors"],
    "begin": ["spans"],
    "end": ["spans"],
    "eos_token_id_count": ["eos_token_ids"],
    "state_path": ["state_path", "path"],
    "save_every": ["save_every", "state_path"],
}

#: Paths may be any bytes, so that this is no bad one; but it lies in no folder that there is.
NOT_UTF8: Dict[str, str] = dict.fromkeys(
    ["folder", "path", "tokenizer_path", "state_path"], r'"\xff/\xfe"'
)

SIZES = ["0", "1", "SIZE_MAX", "SIZE_MAX - 1", "SIZE_MAX / 2", "SIZE_MAX / 2 + 1",
         "SIZE_MAX / 4", "(size_t)1 << 60"]  # fmt: skip
INTEGERS = ["INT32_MIN", "-2", "-1", "0", "1", "7", "INT32_MAX"]
#: Bad ones, some of them merely odd, by type.
VALUES: Dict[str, List[str]] = {
    "size_t": SIZES,
    "int32_t": INTEGERS,
    "uint32_t": ["0", "1", "UINT32_MAX"],
    "uint64_t": ["0", "UINT64_MAX"],
    "float": ["NAN", "-NAN", "INFINITY", "-INFINITY", "-1", "0", "1e-45f", "1", "FLT_MAX"],
}
STRUCT_SIZES = ["0", "1", "7", "8", "SIZE - 1", "SIZE", "SIZE + 8", "4096", "4097", "SIZE_MAX"]
