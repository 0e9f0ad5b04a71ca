/*
 * geometry_avx512.h - vectors of 16 and 12 x 32 tiles: 24 of 32 registers hold sums.
 */
#define LANES 16
#define FUSED 1
#define TILE_ROWS 12
#define TILE_VECTORS 2
#define PAIR_ROWS 12
#define PAIR_VECTORS 2
#define DEPTH_BLOCK 384
#define ROW_BLOCK 48
