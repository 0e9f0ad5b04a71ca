/*
 * products.inc.h - products of rows with packed panels, of float32, bf16 or int8 weights;
 * row_packing.inc.h says how rows are packed.
 *
 * The geometry, set by the including file:
 *
 *   TILE_ROWS      rows of the largest tile of float32
 *   TILE_VECTORS   vectors across it: TILE_VECTORS * LANES columns divide KERNEL_PANEL
 *   PAIR_ROWS      the same of the others, which need more registers for a step, but for
 *   PAIR_VECTORS   one or two rows: those read weights as one stream in wide tiles, too
 *   DEPTH_BLOCK    depth of one tile, for which a strip and its panel stay in near caches
 *   ROW_BLOCK      rows packed at a time, unless the caller packs all of them
 *
 * The sum over depth k of one (row, column) is one chain whatever the tile: the products of
 * a depth block in ascending k, from 0; then the blocks in ascending order, each added to
 * out. Only the depth of a block, and FUSED, decide its bits. Those of an int8 product are
 * the same at every level: a depth block's sum is exact in 32 bits.
 */

/* WORKSPACE: 80 kB, on the caller's stack, in units of 32 bits. INT8_BLOCK: the depth of a
 * tile of int8 weights, at every level. */
enum { WORKSPACE = 20480, INT8_BLOCK = 384 };
_Static_assert(ROW_BLOCK *DEPTH_BLOCK <= WORKSPACE, "a block of rows fits the workspace");
_Static_assert(KERNEL_PANEL % (TILE_VECTORS * LANES) == 0, "tiles divide a panel");
_Static_assert(PAIR_VECTORS <= TILE_VECTORS && PAIR_ROWS >= TILE_ROWS, "see sums");
_Static_assert(DEPTH_BLOCK % 4 == 0, "steps are not torn");
_Static_assert(127LL * 32639 * INT8_BLOCK < INT32_MAX, "int8 sums are exact");

/* The ways to multiply: kernel_weights, but for the processors that multiply quads of
 * bytes, where int8 weights meet 16-bit inputs as two bytes each, with a sum for each. */
typedef enum product_mode {
    MODE_FLOAT32 = KERNEL_FLOAT32,
    MODE_BF16 = KERNEL_BF16,
    MODE_INT8 = KERNEL_INT8,
    MODE_INT8_WIDE
} product_mode;

/* From one step of a panel to the next. A step is 1 depth index of float32, 2 of bf16, 4 of
 * int8. */
enum { STEP_BYTES = 4 * KERNEL_PANEL };

INLINE size_t step_depth(const product_mode mode) {
    return mode == MODE_FLOAT32 ? 1 : mode == MODE_BF16 ? 2 : 4;
}

INLINE size_t block_depth(const product_mode mode) {
    return mode >= MODE_INT8 ? INT8_BLOCK : DEPTH_BLOCK;
}

/* Units of 32 bits of a packed row for each step. Where a processor does not multiply pairs
 * of bf16, they are floats; where it does not multiply quads of bytes, those are two pairs
 * of 16 bits. */
INLINE size_t step_units(const product_mode mode) {
    if (mode == MODE_BF16) return MULTIPLIES_BF16 ? 1 : 2;
    if (mode == MODE_INT8) return MULTIPLIES_QUADS ? 1 : 2;
    return mode == MODE_INT8_WIDE ? 2 : 1;
}

/* Sums of each element: of the high and the low bytes of 16-bit inputs. */
INLINE size_t sum_count(const product_mode mode) { return mode == MODE_INT8_WIDE ? 2 : 1; }

/* Units of a packed row in front of each depth block: what its sums begin with. */
INLINE size_t header_units(const product_mode mode) {
    return mode >= MODE_INT8 ? sum_count(mode) : 0;
}

INLINE size_t tile_rows(const product_mode mode) {
    if (mode == MODE_FLOAT32) return TILE_ROWS;
    return PAIR_ROWS / sum_count(mode);
}

INLINE size_t tile_vectors(const product_mode mode, const size_t height) {
    return mode == MODE_FLOAT32 || height <= 2 ? TILE_VECTORS : PAIR_VECTORS;
}

/* Weights that will be needed next: at each step a tile asks for the cache lines at `at`,
 * then moves `step` bytes on. */
typedef struct prefetch {
    const char *at;
    size_t step;
} prefetch;

/* What the integer sums of an int8 product count: of each row, and of each column. Passed
 * by address: by value it would be copied right after it is written, which processors wait
 * for. */
typedef struct units {
    const float *rows, *columns;
} units;

/* Weights of one vector of columns at one step; of two halves, those that `half` of the
 * step's units meet. */
INLINE vec weights_at(const product_mode mode, const char *panel, size_t v, int half) {
    vec weights = load((const float *)panel + v * LANES);
    if (mode == MODE_BF16 && !MULTIPLIES_BF16)
        return (vec)(half ? (bits_vec)weights & 0xffff0000u : (bits_vec)weights << 16);
    if (mode == MODE_INT8 && !MULTIPLIES_QUADS)
        return (vec)((half ? (bits_vec)weights >> 8 : (bits_vec)weights) & 0x00ff00ffu);
    return weights;
}

/* sum + x * weights. Of int8, the bits of the sum are integers. */
INLINE vec accumulate(const product_mode mode, vec x, vec weights, vec sum) {
    if (mode >= MODE_INT8)
        return MULTIPLIES_QUADS
                   ? (vec)add_quads((mask_vec)sum, weights, x)
                   : (vec)add_pairs((mask_vec)sum, (shorts_vec)x, (shorts_vec)weights);
    if (mode == MODE_BF16 && MULTIPLIES_BF16) return add_pairs_bf16(sum, x, weights);
    return multiply_add(x, weights, sum);
}

/* One row or two read weights as fast as memory gives them, straight into the nearest
 * cache. More rows take longer over a step: if they are the only strip (`streams`), lines
 * wait in the second cache, which can ask for more of them at once, and come nearer a
 * little ahead. One query or two of attention, the only strips as low as that among others
 * (not `streams`), leave lines in the second cache. */
enum { NEAR = 8 * STEP_BYTES };

INLINE void ask_ahead(
    const size_t height, const int streams, const char *panel, const prefetch *ahead) {
    UNROLLED for (size_t line = 0; line < STEP_BYTES; line += 64) {
        if (streams == (height > 2)) {
            __builtin_prefetch(ahead->at + line, 0, 2);
            if (streams) __builtin_prefetch(panel + NEAR + line);
        } else {
            __builtin_prefetch(ahead->at + line);
        }
    }
}

/* One tile: `height` rows, packed step after step, by tile_vectors(mode, height) vectors of
 * columns of a panel. mode, height and streams are constants once inlined. */
INLINE void tile(const product_mode mode, const size_t height, const int streams,
    size_t steps, const float *rows, const char *panel, prefetch ahead, units units,
    float *out, size_t out_stride, int adds) {
    const size_t vectors = tile_vectors(mode, height);
    vec sums[2][PAIR_ROWS][TILE_VECTORS];
    UNROLLED for (size_t part = 0; part < sum_count(mode); part++)
        UNROLLED for (size_t i = 0; i < height; i++)
            UNROLLED for (size_t v = 0; v < vectors; v++) sums[part][i][v] =
                header_units(mode) ? splat_bits(rows + part * height + i) : (vec){0};
    rows += header_units(mode) * height;
    UNROLLED for (size_t i = 0; i < height; i++)
        __builtin_prefetch(out + i * out_stride, 1);
    for (size_t step = 0; step < steps; step++) {
        ask_ahead(height, streams, panel, &ahead);
        ahead.at += ahead.step;
        UNROLLED for (int half = 0; half < (int)step_units(mode); half++) {
            const int part = mode == MODE_INT8_WIDE ? half : 0;
            /* Weights are read again for the second half: no register is free for them. */
            if (half && mode != MODE_INT8_WIDE) __asm__ volatile("" ::: "memory");
            /* The shorter side of the tile is held in registers, the longer passes by. */
            if (height < vectors) {
                vec x[PAIR_ROWS];
                UNROLLED for (size_t i = 0; i < height; i++) x[i] = splat_bits(rows + i);
                UNROLLED for (size_t v = 0; v < vectors; v++) {
                    vec weights = weights_at(mode, panel, v, half);
                    UNROLLED for (size_t i = 0; i < height; i++) sums[part][i][v] =
                        accumulate(mode, x[i], weights, sums[part][i][v]);
                }
            } else {
                vec weights[TILE_VECTORS];
                UNROLLED for (size_t v = 0; v < vectors; v++) weights[v] =
                    weights_at(mode, panel, v, half);
                UNROLLED for (size_t i = 0; i < height; i++) {
                    vec x = splat_bits(rows + i);
                    UNROLLED for (size_t v = 0; v < vectors; v++) sums[part][i][v] =
                        accumulate(mode, x, weights[v], sums[part][i][v]);
                }
            }
            rows += height;
        }
        panel += STEP_BYTES;
    }
    UNROLLED for (size_t i = 0; i < height; i++) {
        float *to = out + i * out_stride;
        UNROLLED for (size_t v = 0; v < vectors; v++, to += LANES) {
            vec sum = sums[0][i][v];
            if (mode >= MODE_INT8) {
                mask_vec whole = (mask_vec)sum;
                if (mode == MODE_INT8_WIDE) whole = whole * 256 + (mask_vec)sums[1][i][v];
                sum = __builtin_convertvector(whole, vec) * units.rows[i] *
                      load(units.columns + v * LANES);
            }
            store(to, adds ? load(to) + sum : sum);
        }
    }
}

/* `height` rows by the first `columns` columns of a panel, a depth block or less. */
INLINE void strip(const product_mode mode, const size_t height, const int streams,
    size_t steps, const float *rows, const char *panel, prefetch ahead, const units *of,
    size_t columns, float *out, size_t out_stride, int adds) {
    const size_t width = tile_vectors(mode, height) * LANES;
    units units = {NULL, NULL};
    if (mode >= MODE_INT8) units = *of;
    for (size_t n = 0; n < columns; n += width) {
        const char *here = panel + n * (STEP_BYTES / KERNEL_PANEL);
        if (mode >= MODE_INT8 && n > 0) units.columns += width;
        if (n + width <= columns) {
            tile(mode, height, streams, steps, rows, here, ahead, units, out + n,
                out_stride, adds);
            continue;
        }
        float whole[PAIR_ROWS][TILE_VECTORS * LANES];
        tile(mode, height, streams, steps, rows, here, ahead, units, whole[0],
            TILE_VECTORS * LANES, 0);
        for (size_t i = 0; i < height; i++)
            for (size_t j = 0; n + j < columns; j++)
                out[i * out_stride + n + j] =
                    adds ? out[i * out_stride + n + j] + whole[i][j] : whole[i][j];
    }
}

typedef void strip_product(size_t steps, const float *rows, const char *panel,
    prefetch ahead, const units *of, size_t columns, float *out, size_t out_stride,
    int adds);

#define STRIP_OF(mode, height, streams)                                                    \
    static void strip_##mode##_##height##_##streams(size_t steps, const float *rows,       \
        const char *panel, prefetch ahead, const units *of, size_t columns, float *out,    \
        size_t out_stride, int adds) {                                                     \
        strip(MODE_##mode, height, streams, steps, rows, panel, ahead, of, columns, out,   \
            out_stride, adds);                                                             \
    }
#define STRIPS_OF(mode, height) STRIP_OF(mode, height, 0) STRIP_OF(mode, height, 1)
#define STRIP(height)                                                                      \
    STRIPS_OF(FLOAT32, height) STRIPS_OF(BF16, height) STRIPS_OF(INT8, height)

/* clang-format off */
STRIP(1) STRIP(2) STRIP(3) STRIP(4) STRIP(5) STRIP(6)
#if MULTIPLIES_QUADS
STRIPS_OF(INT8_WIDE, 1) STRIPS_OF(INT8_WIDE, 2) STRIPS_OF(INT8_WIDE, 3)
STRIPS_OF(INT8_WIDE, 4) STRIPS_OF(INT8_WIDE, 5) STRIPS_OF(INT8_WIDE, 6)
#endif
#define SIX(mode, streams)                                                                 \
    NULL, strip_##mode##_1_##streams, strip_##mode##_2_##streams,                          \
    strip_##mode##_3_##streams, strip_##mode##_4_##streams, strip_##mode##_5_##streams,    \
    strip_##mode##_6_##streams
#if PAIR_ROWS > 6
STRIP(7) STRIP(8) STRIP(9) STRIP(10) STRIP(11) STRIP(12)
#define STRIPS(mode, streams)                                                              \
    {SIX(mode, streams), strip_##mode##_7_##streams, strip_##mode##_8_##streams,           \
     strip_##mode##_9_##streams, strip_##mode##_10_##streams, strip_##mode##_11_##streams, \
     strip_##mode##_12_##streams}
#else
#define STRIPS(mode, streams) {SIX(mode, streams)}
#endif
    /* clang-format on */

    /* By product_mode, whether there is one strip, and height. */
    static strip_product *const strips[][2][PAIR_ROWS + 1] = {
        {STRIPS(FLOAT32, 0), STRIPS(FLOAT32, 1)},
        {STRIPS(BF16, 0), STRIPS(BF16, 1)},
        {STRIPS(INT8, 0), STRIPS(INT8, 1)},
#if MULTIPLIES_QUADS
        {{SIX(INT8_WIDE, 0)}, {SIX(INT8_WIDE, 1)}},
#endif
};

/* The first row of a strip: `count` strips as equal as can be. */
INLINE size_t strip_first(size_t strip, size_t count, size_t rows) {
    size_t rest = rows % count;
    return strip * (rows / count) + (strip < rest ? strip : rest);
}

INLINE size_t strip_count(const product_mode mode, size_t rows) {
    return (rows + tile_rows(mode) - 1) / tile_rows(mode);
}

INLINE product_mode mode_of(const kernel_product_shape *shape) {
    int is_wide = shape->weights == KERNEL_INT8 && shape->input_bits > 8;
    return is_wide && MULTIPLIES_QUADS ? MODE_INT8_WIDE : (product_mode)shape->weights;
}

#include "row_packing.inc.h"

static void product(const kernel_product_shape *shape, const void *x,
    const float *row_units, const void *panels, const float *column_units, float *out) {
    float workspace[WORKSPACE] __attribute__((aligned(64)));
    const product_mode mode = mode_of(shape);
    const size_t grain = step_depth(mode), block = block_depth(mode) / grain;
    const size_t depth = shape->depth, panel_steps = (depth + grain - 1) / grain;

    /* Rows that are packed already meet a panel all at once: it is read from memory once.
     */
    const size_t row_block = shape->is_packed ? shape->rows : ROW_BLOCK;
    for (size_t row = 0; row < shape->rows; row += row_block) {
        size_t left = shape->rows - row, height = left < row_block ? left : row_block;
        size_t count = strip_count(mode, height);
        /* As many depth blocks as fit: with few rows a panel is then read in one go. */
        size_t span = WORKSPACE / height / block_units(mode) * block_depth(mode);
        if (shape->is_packed) span = depth;

        for (size_t start = 0; start < depth; start += span) {
            size_t length = depth - start < span ? depth - start : span;
            size_t steps = (length + grain - 1) / grain;
            size_t row_size = packed_units(mode, length);
            const float *packed = (const float *)x + row * row_size;
            for (size_t s = 0; s < count && !shape->is_packed; s++) {
                size_t first = strip_first(s, count, height);
                size_t tall = strip_first(s + 1, count, height) - first;
                pack_rows(mode, shape, x, row + first, start, tall, length,
                    workspace + first * row_size);
                packed = workspace;
            }
            for (size_t p = shape->first_panel; p < shape->end_panel; p++) {
                const char *panel =
                    (const char *)panels + (p * panel_steps + start / grain) * STEP_BYTES;
                size_t columns = shape->columns - p * KERNEL_PANEL;
                size_t width = columns < KERNEL_PANEL ? columns : KERNEL_PANEL;
                float *to = out + row * shape->out_stride + p * KERNEL_PANEL;

                for (size_t k = 0; k < steps; k += block) {
                    const char *here = panel + k * STEP_BYTES;
                    const char *next = k + block < steps ? here + block * STEP_BYTES
                                                         : panel + panel_steps * STEP_BYTES;
                    size_t part = steps - k < block ? steps - k : block;
                    /* Each strip asks for its share of the next block: memory is then
                     * read while all of them compute. */
                    size_t share = (STEP_BYTES / count + 63) / 64 * 64;
                    if (count > STEP_BYTES / 64) share = (STEP_BYTES / count + 3) / 4 * 4;
                    for (size_t s = 0; s < count; s++) {
                        size_t first = strip_first(s, count, height);
                        size_t tall = strip_first(s + 1, count, height) - first;
                        prefetch ahead = {next + s * share * block, share};
                        units units = {row_units ? row_units + row + first : NULL,
                            column_units ? column_units + p * KERNEL_PANEL : NULL};
                        strips[mode][count == 1][tall](part,
                            packed + first * row_size +
                                k / block * block_units(mode) * tall,
                            here, ahead, &units, width, to + first * shape->out_stride,
                            shape->out_stride, shape->adds || start + k > 0);
                    }
                }
            }
        }
    }
}
