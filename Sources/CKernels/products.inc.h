/*
 * products.inc.h - products of rows with packed panels.
 *
 * The geometry, set by the including file:
 *
 *   TALL_ROWS      rows of the largest tile
 *   TALL_VECTORS   vectors across it: TALL_VECTORS * LANES columns divide KERNEL_PANEL
 *   WIDE_ROWS      tiles of at most this many rows are wider,
 *   WIDE_VECTORS   so that few rows read the weights as one sequential stream
 *   FEW_ROWS       and used for blocks of at most this many rows
 *   DEPTH_BLOCK    depth of one tile, for which its panel stays in the nearest cache
 *   ROW_BLOCK      rows packed at a time
 *
 * The sum over depth k of one (row, column) is one chain whatever the tile: the products of
 * a depth block in ascending k, from 0; then the blocks in ascending order, each added to
 * out. Only DEPTH_BLOCK, and FUSED, decide its bits.
 */

/* 80 kB, on the caller's stack. */
enum { WORKSPACE = 20480 };
_Static_assert(ROW_BLOCK *DEPTH_BLOCK <= WORKSPACE, "a block of rows fits the workspace");
_Static_assert(TALL_VECTORS <= WIDE_VECTORS, "few rows take wide tiles");
_Static_assert(KERNEL_PANEL % (TALL_VECTORS * LANES) == 0, "tall tiles divide a panel");
_Static_assert(KERNEL_PANEL % (WIDE_VECTORS * LANES) == 0, "wide tiles divide a panel");

/* Weights that will be needed next: at each depth index a tile asks for the two cache lines
 * at `at`, then moves `step` floats on. */
typedef struct prefetch {
    const float *at;
    size_t step;
} prefetch;

/* One tile: `height` rows, packed depth after depth, by `vectors` vectors of columns of a
 * panel. height and vectors are constants once inlined. */
INLINE void tile(const size_t height, const size_t vectors, size_t depth, const float *rows,
    const float *panel, prefetch ahead, float *out, size_t out_stride, int adds) {
    vec sums[TALL_ROWS][WIDE_VECTORS];
    UNROLLED for (size_t i = 0; i < height; i++)
        UNROLLED for (size_t v = 0; v < vectors; v++) sums[i][v] = splat(0);
    UNROLLED for (size_t i = 0; i < height; i++)
        __builtin_prefetch(out + i * out_stride, 1);
    for (size_t k = 0; k < depth; k++) {
        __builtin_prefetch(ahead.at);
        __builtin_prefetch(ahead.at + 16);
        ahead.at += ahead.step;
        /* The shorter side of the tile is held in registers, the longer one passes by. */
        if (height < vectors) {
            vec x[TALL_ROWS];
            UNROLLED for (size_t i = 0; i < height; i++) x[i] = splat(rows[i]);
            UNROLLED for (size_t v = 0; v < vectors; v++) {
                vec weights = load(panel + v * LANES);
                UNROLLED for (size_t i = 0; i < height; i++) sums[i][v] =
                    multiply_add(x[i], weights, sums[i][v]);
            }
        } else {
            vec weights[WIDE_VECTORS];
            UNROLLED for (size_t v = 0; v < vectors; v++) weights[v] =
                load(panel + v * LANES);
            UNROLLED for (size_t i = 0; i < height; i++) {
                vec x = splat(rows[i]);
                UNROLLED for (size_t v = 0; v < vectors; v++) sums[i][v] =
                    multiply_add(x, weights[v], sums[i][v]);
            }
        }
        rows += height;
        panel += KERNEL_PANEL;
    }
    UNROLLED for (size_t i = 0; i < height; i++) {
        float *to = out + i * out_stride;
        UNROLLED for (size_t v = 0; v < vectors; v++, to += LANES)
            store(to, adds ? load(to) + sums[i][v] : sums[i][v]);
    }
}

/* A tile of which only `columns` columns exist. */
INLINE void tile_part(const size_t height, const size_t vectors, size_t depth,
    const float *rows, const float *panel, prefetch ahead, size_t columns, float *out,
    size_t out_stride, int adds) {
    float whole[TALL_ROWS][WIDE_VECTORS * LANES];
    tile(height, vectors, depth, rows, panel, ahead, whole[0], WIDE_VECTORS * LANES, 0);
    for (size_t i = 0; i < height; i++)
        for (size_t n = 0; n < columns; n++)
            out[i * out_stride + n] =
                adds ? out[i * out_stride + n] + whole[i][n] : whole[i][n];
}

/* `height` rows by the first `columns` columns of a panel, DEPTH_BLOCK deep or less. */
INLINE void strip(const size_t height, size_t depth, const float *rows, const float *panel,
    prefetch ahead, size_t columns, float *out, size_t out_stride, int adds) {
    const size_t vectors = height <= WIDE_ROWS ? WIDE_VECTORS : TALL_VECTORS;
    const size_t width = vectors * LANES;
    size_t n = 0;
    for (; n + width <= columns; n += width)
        tile(height, vectors, depth, rows, panel + n, ahead, out + n, out_stride, adds);
    if (n < columns)
        tile_part(height, vectors, depth, rows, panel + n, ahead, columns - n, out + n,
            out_stride, adds);
}

#define STRIP(height)                                                                      \
    static void strip_##height(size_t depth, const float *rows, const float *panel,        \
        prefetch ahead, size_t columns, float *out, size_t out_stride, int adds) {         \
        strip(height, depth, rows, panel, ahead, columns, out, out_stride, adds);          \
    }

typedef void strip_product(size_t depth, const float *rows, const float *panel,
    prefetch ahead, size_t columns, float *out, size_t out_stride, int adds);

STRIP(1)
STRIP(2)
STRIP(3)
STRIP(4)
STRIP(5)
STRIP(6)
#if TALL_ROWS > 6
STRIP(7)
STRIP(8)
STRIP(9)
STRIP(10)
STRIP(11)
STRIP(12)
#endif

static strip_product *const strips[] = {
    NULL,
    strip_1,
    strip_2,
    strip_3,
    strip_4,
    strip_5,
    strip_6,
#if TALL_ROWS > 6
    strip_7,
    strip_8,
    strip_9,
    strip_10,
    strip_11,
    strip_12,
#endif
};
_Static_assert(sizeof strips / sizeof *strips == TALL_ROWS + 1, "a strip for each height");

/* How many strips a block of `rows` is cut into. Wide ones read weights as one stream,
 * which is what counts as long as few rows share them. */
INLINE size_t strip_count(size_t rows) {
    size_t tallest = rows <= FEW_ROWS ? WIDE_ROWS : TALL_ROWS;
    return (rows + tallest - 1) / tallest;
}

/* The first row of a strip: `count` strips as equal as can be. */
INLINE size_t strip_first(size_t strip, size_t count, size_t rows) {
    size_t rest = rows % count;
    return strip * (rows / count) + (strip < rest ? strip : rest);
}

/* Packs `height` rows to [depth, height]. */
static void pack_strip(const float *x, size_t row_stride, size_t depth_stride,
    size_t height, size_t depth, float *out) {
    if (row_stride == 1) {
        for (size_t k = 0; k < depth; k++)
            for (size_t i = 0; i < height; i++)
                out[k * height + i] = x[k * depth_stride + i];
        return;
    }
    for (size_t i = 0; i < height; i++)
        for (size_t k = 0; k < depth; k++)
            out[k * height + i] = x[i * row_stride + k * depth_stride];
}

static void product(size_t rows, size_t columns, size_t depth, const float *x,
    size_t row_stride, size_t depth_stride, const float *panels, size_t first_panel,
    size_t end_panel, float *out, size_t out_stride, int adds) {
    float workspace[WORKSPACE] __attribute__((aligned(64)));

    for (size_t row = 0; row < rows; row += ROW_BLOCK) {
        size_t height = rows - row < ROW_BLOCK ? rows - row : ROW_BLOCK;
        size_t count = strip_count(height);
        /* As many depth blocks as fit: with few rows a panel is then read in one go. */
        size_t span = WORKSPACE / height / DEPTH_BLOCK * DEPTH_BLOCK;

        for (size_t start = 0; start < depth; start += span) {
            size_t length = depth - start < span ? depth - start : span;
            for (size_t s = 0; s < count; s++) {
                size_t first = strip_first(s, count, height),
                       end = strip_first(s + 1, count, height);
                pack_strip(x + (row + first) * row_stride + start * depth_stride,
                    row_stride, depth_stride, end - first, length,
                    workspace + first * length);
            }
            for (size_t p = first_panel; p < end_panel; p++) {
                const float *panel = panels + (p * depth + start) * KERNEL_PANEL;
                size_t left = columns - p * KERNEL_PANEL;
                size_t width = left < KERNEL_PANEL ? left : KERNEL_PANEL;
                float *to = out + row * out_stride + p * KERNEL_PANEL;

                for (size_t k = 0; k < length; k += DEPTH_BLOCK) {
                    const float *here = panel + k * KERNEL_PANEL;
                    const float *next = k + DEPTH_BLOCK < length
                                            ? here + DEPTH_BLOCK * KERNEL_PANEL
                                            : panel + depth * KERNEL_PANEL;
                    size_t block = length - k < DEPTH_BLOCK ? length - k : DEPTH_BLOCK;
                    /* Each strip asks for its share of the next block: memory is then
                     * read while all of them compute. */
                    size_t step = (KERNEL_PANEL + count - 1) / count;
                    for (size_t s = 0; s < count; s++) {
                        size_t first = strip_first(s, count, height);
                        size_t tall = strip_first(s + 1, count, height) - first;
                        prefetch ahead = {next + s * step * DEPTH_BLOCK, step};
                        strips[tall](block, workspace + first * length + k * tall, here,
                            ahead, width, to + first * out_stride, out_stride,
                            adds || start + k > 0);
                    }
                }
            }
        }
    }
}
