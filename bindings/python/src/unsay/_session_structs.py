"""Structs and callbacks of unsay.h for sessions, reports and deltas, for ctypes; see `_types`."""

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

from ._structs import GenerateOptions, Sequence


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
        ("changed", c_int32),
        ("step", c_int32),
        ("fraction", c_float),
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
