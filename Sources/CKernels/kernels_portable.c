/*
 * kernels_portable.c - the kernels for any processor: vectors of 4, no fused multiply-add.
 */
#include "kernel_table.h"

#define LANES 4
#define FUSED 0
#define TALL_ROWS 6
#define TALL_VECTORS 2
#define WIDE_ROWS 3
#define WIDE_VECTORS 4
#define FEW_ROWS 36
#define DEPTH_BLOCK 192
#define ROW_BLOCK 96
#define TABLE kernel_table_portable
#include "bodies.inc.h"
