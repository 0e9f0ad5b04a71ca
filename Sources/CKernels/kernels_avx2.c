/*
 * kernels_avx2.c - the kernels for AVX2 and FMA: 3 x 32 tiles; 12 of 16 registers hold
 * sums.
 */
#include "kernel_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define LANES 8
#define FUSED 1
#define TILE_ROWS 3
#define TILE_VECTORS 4
#define PAIR_ROWS 6
#define PAIR_VECTORS 2
#define DEPTH_BLOCK 192
#define ROW_BLOCK 96
#define ADD_PAIRS(sum, a, b)                                                               \
    (mask_vec)((bits_vec)(sum) + (bits_vec)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#define TABLE kernel_table_avx2
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "bodies.inc.h"
#pragma clang attribute pop
#endif
