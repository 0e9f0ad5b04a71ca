/*
 * kernels_avx512.c - the kernels for AVX-512.
 */
#include "kernel_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "geometry_avx512.h"
#define ADD_PAIRS(sum, a, b)                                                               \
    (mask_vec)((bits_vec)(sum) + (bits_vec)_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#define TABLE kernel_table_avx512
#pragma clang attribute push(                                                              \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))),                     \
    apply_to = function)
#include "bodies.inc.h"
#pragma clang attribute pop
#endif
