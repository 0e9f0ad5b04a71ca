"""Structs and callbacks of unsay.h up to generation, for ctypes; see `_types`."""

from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)


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
