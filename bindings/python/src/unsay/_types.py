"""The structs, callbacks and enumerations of unsay.h, for ctypes.

Field names and order are the header's; a test compiles the header and compares every
size and offset with these.
"""

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Dict, Type

CONTINUE, STOP = 0, 1

COMPUTES = {"f32": 0, "bf16": 1, "int8": 2}
LOSSES = {
    "likelihood": 0, "ff": 1, "rr": 2, "rf": 3, "fll": 4, "rll": 5, "ul": 6, "nl": 7
}  # fmt: skip
FORMS = {"exact": 0, "published": 1}
EARLY_STOPPINGS = {False: 0, True: 1, "never": 2}
EXTENTS = {"all": 0, "first": 1, "last": 2}
FINISHES = ("end", "length", "stopped", "given")
ENDINGS = ("steps", "goal", "guard", "caller", "patience")
OPTIMIZERS = {"adamw": 0, "adafactor": 1, "sgd": 2}
SCHEDULES = {"linear": 0, "inverse_sqrt": 1}
SCOPES = {
    "all": 0, "decoder": 1, "cross_attention": 2, "head": 3, "feed_forward": 4, "tokens": 5,
    "auto": 7,
}  # fmt: skip
TENSORS_SCOPE = 6
SELECTS = {"avoid_p": 0, "loss": 1, "last": 2}
CONVERTERS = {
    f"{side}-{amount}": 3 * i + j
    for i, side in enumerate(("negative", "corrective", "mixed"))
    for j, amount in enumerate(("first", "diff", "full"))
}
AVOID, IGNORE, KEEP = -1, 0, 1

GATED, TIED_HEAD = 1, 2


class OpenOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("threads", c_int32),
        ("compute", c_int),
        ("allow_links", c_int32),
        ("reserved", c_uint32),
        ("tokenizer_path", c_char_p),
        ("variant", c_char_p),
    ]


class Buffer(Structure):
    _fields_ = [("name", c_char_p), ("bytes", c_void_p), ("size", c_size_t)]


class ModelInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("parameter_count", c_uint64),
        ("tensor_count", c_uint32),
        ("flags", c_uint32),
        ("vocab_size", c_int32),
        ("d_model", c_int32),
        ("d_ff", c_int32),
        ("num_heads", c_int32),
        ("d_kv", c_int32),
        ("num_layers", c_int32),
        ("num_decoder_layers", c_int32),
        ("relative_attention_num_buckets", c_int32),
        ("relative_attention_max_distance", c_int32),
        ("pad_token_id", c_int32),
        ("eos_token_id", c_int32),
        ("unk_token_id", c_int32),
        ("decoder_start_token_id", c_int32),
        ("reserved", c_int32),
    ]


class TensorInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("rank", c_int32),
        ("shape", c_int32 * 4),
        ("reserved", c_int32),
    ]


class Span(Structure):
    _fields_ = [("begin", c_size_t), ("end", c_size_t)]


class Sequence(Structure):
    _fields_ = [
        ("text", c_char_p),
        ("text_size", c_size_t),
        ("ids", POINTER(c_int32)),
        ("id_count", c_size_t),
    ]


class GenerateOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_new_tokens", c_int32),
        ("min_new_tokens", c_int32),
        ("num_beams", c_int32),
        ("num_return_sequences", c_int32),
        ("num_beam_groups", c_int32),
        ("diversity_penalty", c_float),
        ("length_penalty", c_float),
        ("early_stopping", c_int),
        ("do_sample", c_int32),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("typical_p", c_float),
        ("temperature", c_float),
        ("repetition_penalty", c_float),
        ("no_repeat_ngram_size", c_int32),
        ("seed", c_uint64),
        ("banned_phrases", POINTER(c_char_p)),
        ("banned_phrase_count", c_size_t),
        ("prefix_ids", POINTER(c_int32)),
        ("prefix_id_count", c_size_t),
        ("on_token", c_void_p),
        ("on_logits", c_void_p),
        ("context", c_void_p),
        ("epsilon_cutoff", c_float),
        ("eta_cutoff", c_float),
        ("encoder_repetition_penalty", c_float),
        ("encoder_no_repeat_ngram_size", c_int32),
        ("forced_bos_token_id", c_int32),
        ("forced_eos_token_id", c_int32),
        ("eos_token_ids", POINTER(c_int32)),
        ("eos_token_id_count", c_size_t),
        ("suppress_tokens", POINTER(c_int32)),
        ("suppress_token_count", c_size_t),
        ("begin_suppress_tokens", POINTER(c_int32)),
        ("begin_suppress_token_count", c_size_t),
        ("bad_words", POINTER(Sequence)),
        ("bad_word_count", c_size_t),
        ("sequence_bias", POINTER(Sequence)),
        ("sequence_bias_values", POINTER(c_float)),
        ("sequence_bias_count", c_size_t),
        ("stop_strings", POINTER(c_char_p)),
        ("stop_string_count", c_size_t),
        ("prefixes", POINTER(Sequence)),
        ("prefix_count", c_size_t),
        ("allowed_tokens", c_void_p),
        ("on_progress", c_void_p),
        ("force_words", POINTER(Sequence)),
        ("force_word_count", c_size_t),
        ("num_alternatives", c_int32),
        ("cross_attention", c_int32),
        ("prompt_lookup_num_tokens", c_int32),
        ("max_matching_ngram_size", c_int32),
        ("max_batch_tokens", c_int32),
        ("log_probs", c_int32),
    ]


class LogitsView(Structure):
    _fields_ = [
        ("logits", POINTER(c_float)),
        ("input", POINTER(c_size_t)),
        ("hypothesis", POINTER(c_size_t)),
        ("prefix", POINTER(POINTER(c_int32))),
        ("rows", c_size_t),
        ("prefix_count", c_size_t),
        ("vocab_size", c_size_t),
    ]


TokenFunction = CFUNCTYPE(c_int, c_void_p, c_size_t, c_int32, c_float, c_char_p)
ProgressFunction = CFUNCTYPE(c_int, c_void_p, c_size_t, c_size_t)
LogitsFunction = CFUNCTYPE(c_int, c_void_p, POINTER(LogitsView))
AllowedFunction = CFUNCTYPE(
    c_size_t, c_void_p, c_size_t, POINTER(c_int32), c_size_t, POINTER(c_int32), c_size_t
)


class Hypothesis(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("text", c_void_p),
        ("text_size", c_size_t),
        ("ids", POINTER(c_int32)),
        ("log_probabilities", POINTER(c_float)),
        ("id_count", c_size_t),
        ("score", c_float),
        ("finish", c_int),
        ("alternative_ids", POINTER(c_int32)),
        ("alternative_log_probabilities", POINTER(c_float)),
        ("alternative_count", c_size_t),
        ("cross_attention", POINTER(c_float)),
        ("input_id_count", c_size_t),
        ("drafted_count", c_int32),
        ("accepted_count", c_int32),
    ]


class GradientsView(Structure):
    _fields_ = [
        ("values", POINTER(c_float)),
        ("count", c_size_t),
        ("weight", c_double),
        ("loss", c_double),
        ("is_sum", c_int32),
        ("reserved", c_int32),
    ]


GradientsFunction = CFUNCTYPE(c_int, c_void_p, POINTER(GradientsView))


class SessionOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("loss", c_int),
        ("form", c_int),
        ("optimizer", c_int),
        ("scope", c_int),
        ("compute", c_int),
        ("batch_size", c_int32),
        ("micro_batch_size", c_int32),
        ("warmup_steps", c_int32),
        ("decay_steps", c_int32),
        ("alpha", c_float),
        ("retain", c_float),
        ("learning_rate", c_float),
        ("weight_decay", c_float),
        ("z_loss", c_float),
        ("dropout", c_float),
        ("gradient_clip", c_float),
        ("max_avoid_p", c_float),
        ("max_guard_kl", c_float),
        ("max_guard_flips", c_float),
        ("recompute", c_int32),
        ("seed", c_uint64),
        ("reference", c_void_p),
        ("on_gradients", GradientsFunction),
        ("context", c_void_p),
        ("schedule", c_int),
        ("momentum", c_float),
        ("tensors", POINTER(c_char_p)),
        ("tensor_count", c_size_t),
        ("lora_rank", c_int32),
        ("lora_alpha", c_float),
        ("root", c_void_p),
        ("max_root_kl", c_float),
        ("keep_examples", c_int32),
    ]


class Example(Structure):
    _fields_ = [
        ("input", Sequence),
        ("output", Sequence),
        ("marks", POINTER(c_int8)),
        ("mark_count", c_size_t),
        ("also_avoid", POINTER(c_int32)),
        ("also_avoid_count", c_size_t),
        ("weight", c_float),
        ("reserved", c_uint32 * 3),
    ]


class Plan(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("avoided_count", c_uint64),
        ("kept_count", c_uint64),
        ("context_free_count", c_uint64),
        ("mean_price", c_double),
        ("highest_price", c_double),
        ("memory_bytes", c_uint64),
        ("seconds_per_step", c_double),
        ("trained_count", c_uint64),
    ]


class PlannedMark(Structure):
    _fields_ = [
        ("example", c_size_t),
        ("position", c_size_t),
        ("q", c_float),
        ("price", c_float),
        ("id", c_int32),
        ("is_context_free", c_int32),
    ]


class Step(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_int32),
        ("loss", c_float),
        ("avoid_loss", c_float),
        ("keep_loss", c_float),
        ("avoid_p", c_float),
        ("gradient_norm", c_float),
        ("seconds", c_float),
        ("reserved", c_int32),
    ]


StepFunction = CFUNCTYPE(c_int, c_void_p, POINTER(Step))


class RunOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_steps", c_int32),
        ("evaluate_every", c_int32),
        ("on_step", StepFunction),
        ("context", c_void_p),
        ("patience", c_int32),
        ("select", c_int),
        ("state_path", c_char_p),
        ("save_every", c_int32),
        ("reserved", c_int32),
    ]


class Evaluation(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("goal_met", c_int32),
        ("guard_held", c_int32),
        ("avoid_p_before", c_float),
        ("avoid_p_after", c_float),
        ("avoid_p_worst", c_float),
        ("keep_kl", c_float),
        ("guard_kl", c_float),
        ("guard_flips", c_float),
        ("held_out_avoid_p_before", c_float),
        ("held_out_avoid_p_after", c_float),
        ("held_out_loss", c_float),
        ("root_kl", c_float),
        ("root_flips", c_float),
        ("reserved", c_int32),
    ]


class Trial(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("learning_rate", c_float),
        ("alpha", c_float),
        ("ending", c_int),
        ("steps", c_int32),
        ("diverged", c_int32),
        ("reserved", c_int32),
        ("evaluation", Evaluation),
    ]


TrialFunction = CFUNCTYPE(c_int, c_void_p, POINTER(Trial))


class SweepOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("learning_rates", POINTER(c_float)),
        ("learning_rate_count", c_size_t),
        ("alphas", POINTER(c_float)),
        ("alpha_count", c_size_t),
        ("run", POINTER(RunOptions)),
        ("on_trial", TrialFunction),
        ("context", c_void_p),
    ]


DetectFunction = CFUNCTYPE(c_int32, c_void_p, c_size_t, c_char_p)


class ReportOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("title", c_char_p),
        ("inputs", POINTER(Sequence)),
        ("input_count", c_size_t),
        ("generate", POINTER(GenerateOptions)),
        ("detect", DetectFunction),
        ("context", c_void_p),
    ]


class DeltaInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("before", c_uint8 * 32),
        ("after", c_uint8 * 32),
        ("tensor_count", c_uint32),
        ("reserved", c_uint32),
        ("changed_count", c_uint64),
        ("change_norm", c_double),
    ]


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
