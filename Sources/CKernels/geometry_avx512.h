/*
 * geometry_avx512.h - vectors of 16 and 12 x 32 tiles: 24 of 32 registers hold sums.
 */
#define LANES 16
#define FUSED 1
#define TALL_ROWS 12
#define TALL_VECTORS 2
#define WIDE_ROWS 12
#define WIDE_VECTORS 2
#define FEW_ROWS 12
#define DEPTH_BLOCK 192
#define ROW_BLOCK 96
