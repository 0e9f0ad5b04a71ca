"""Structs of unsay.h for classifiers, for ctypes; see `_types`."""

from ctypes import (
    POINTER,
    Structure,
    c_double,
    c_float,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)

from ._structs import ProgressFunction, Sequence, Span


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
