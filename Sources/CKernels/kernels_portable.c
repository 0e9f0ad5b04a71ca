/*
 * kernels_portable.c - the kernels for any processor: vectors of 4, no fused multiply-add.
 */
#include "kernel_table.h"

#define LANES 4
#define FUSED 0
#define TILE_ROWS 3
#define TILE_VECTORS 4
#define PAIR_ROWS 6
#define PAIR_VECTORS 2
#define DEPTH_BLOCK 192
#define ROW_BLOCK 96
#define TABLE kernel_table_portable
#include "bodies.inc.h"
