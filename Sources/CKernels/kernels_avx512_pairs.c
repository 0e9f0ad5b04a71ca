/*
 * kernels_avx512_pairs.c - the kernels for AVX-512 with VNNI and BF16, whose products take
 * two depth indices of bf16, or four of int8, in one instruction.
 */
#include "kernel_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "geometry_avx512.h"
#define ADD_QUADS(sum, a, b)                                                               \
    ((mask_vec)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(b)))
#define ADD_PAIRS_BF16(sum, a, b)                                                          \
    ((vec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b)))
#define TABLE kernel_table_avx512_pairs
#pragma clang attribute push(                                                              \
    __attribute__((                                                                        \
        target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma"))),          \
    apply_to = function)
#include "bodies.inc.h"
#pragma clang attribute pop
#endif
