#include "kernels_split.h"

#include "kernel_table.h"

#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "geometry_avx512.h"
#define TABLE kernel_table_split
/* Vectors of 16 passed in two registers: no caller outside this file sees one. */
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "bodies.inc.h"
#pragma clang attribute pop

int kernels_split_use(void) {
    if (kernel_level_best() < KERNEL_AVX2) return 0;
    kernel_table_use(&kernel_table_split);
    return 1;
}
#else
int kernels_split_use(void) { return 0; }
#endif
