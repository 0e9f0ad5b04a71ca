/*
 * kernels_avx2.c - the kernels for AVX2 and FMA: 6 x 16 tiles, 3 x 32 for few rows; 12 of
 * 16 registers hold sums.
 */
#include "kernel_table.h"

#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#define LANES 8
#define FUSED 1
#define TALL_ROWS 6
#define TALL_VECTORS 2
#define WIDE_ROWS 3
#define WIDE_VECTORS 4
#define FEW_ROWS 36
#define DEPTH_BLOCK 192
#define ROW_BLOCK 96
#define TABLE kernel_table_avx2
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "bodies.inc.h"
#pragma clang attribute pop
#endif
