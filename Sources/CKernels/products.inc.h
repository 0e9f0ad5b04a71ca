/*
 * products.inc.h - products of rows with packed panels, of float32, bf16 or int8 weights.
 *
 * The geometry, set by the including file:
 *
 *   TILE_ROWS      rows of the largest tile of float32
 *   TILE_VECTORS   vectors across it: TILE_VECTORS * LANES columns divide KERNEL_PANEL
 *   PAIR_ROWS      the same of the others, which need more registers for a step, but for
 *   PAIR_VECTORS   one or two rows: those read weights as one stream in wide tiles, too
 *   DEPTH_BLOCK    depth of one tile, for which its panel stays in the nearest cache; even
 *   ROW_BLOCK      rows packed at a time
 *
 * The sum over depth k of one (row, column) is one chain whatever the tile: the products of
 * a depth block in ascending k, from 0; then the blocks in ascending order, each added to
 * out. Only DEPTH_BLOCK, and FUSED, decide its bits. Those of an int8 product are the same
 * at every level: a depth block's sum is exact in 32 bits.
 */

/* 80 kB, on the caller's stack, in units of 32 bits. */
enum { WORKSPACE = 20480 };
_Static_assert(ROW_BLOCK *DEPTH_BLOCK <= WORKSPACE, "a block of rows fits the workspace");
_Static_assert(KERNEL_PANEL % (TILE_VECTORS * LANES) == 0, "tiles divide a panel");
_Static_assert(PAIR_VECTORS <= TILE_VECTORS && PAIR_ROWS >= TILE_ROWS, "see sums");
_Static_assert(DEPTH_BLOCK % 2 == 0, "pairs are not torn");
_Static_assert(127LL * 32767 * DEPTH_BLOCK < INT32_MAX, "int8 sums are exact");

/* How a panel goes from one step to the next. A step is one depth index of float32, and a
 * pair of them of the others. */
enum { PANEL_BYTES_FLOAT32 = 4 * KERNEL_PANEL, PANEL_BYTES_INT8 = 2 * KERNEL_PANEL };

INLINE size_t panel_step(const kernel_weights kind) {
    return kind == KERNEL_INT8 ? PANEL_BYTES_INT8 : PANEL_BYTES_FLOAT32;
}

/* Depth indices of a step. */
INLINE size_t step_depth(const kernel_weights kind) {
    return kind == KERNEL_FLOAT32 ? 1 : 2;
}

/* Units of a packed row for each step: bf16 weights meet float32 rows unless the processor
 * multiplies pairs of bf16. */
INLINE size_t step_units(const kernel_weights kind) {
    return kind == KERNEL_BF16 && !MULTIPLIES_BF16 ? 2 : 1;
}

INLINE size_t tile_rows(const kernel_weights kind) {
    return kind == KERNEL_FLOAT32 ? TILE_ROWS : PAIR_ROWS;
}

INLINE size_t tile_vectors(const kernel_weights kind, const size_t height) {
    return kind == KERNEL_FLOAT32 || height <= 2 ? TILE_VECTORS : PAIR_VECTORS;
}

/* Weights that will be needed next: at each step a tile asks for the cache lines at `at`,
 * then moves `step` bytes on. */
typedef struct prefetch {
    const char *at;
    size_t step;
} prefetch;

/* What the integer sums of an int8 product count: of each row, and of each column. */
typedef struct units {
    const float *rows, *columns;
} units;

/* Weights of one vector of columns at one step; of a pair, those of its index `half`. */
INLINE vec weights_at(const kernel_weights kind, const char *panel, size_t v, int half) {
    if (kind == KERNEL_BF16 && !MULTIPLIES_BF16) {
        bits_vec pair = (bits_vec)load((const float *)panel + v * LANES);
        return (vec)(half ? pair & 0xffff0000u : pair << 16);
    }
    if (kind == KERNEL_INT8) return (vec)widened((const int8_t *)panel + v * 2 * LANES);
    return load((const float *)panel + v * LANES);
}

/* sum + x * weights; of an int8 product, and of pairs of bf16, the bits of both are pairs,
 * and of int8 those of the sum are integers. */
INLINE vec accumulate(const kernel_weights kind, vec x, vec weights, vec sum) {
    if (kind == KERNEL_INT8)
        return (vec)add_pairs((mask_vec)sum, (shorts_vec)x, (shorts_vec)weights);
    if (kind == KERNEL_BF16 && MULTIPLIES_BF16) return add_pairs_bf16(sum, x, weights);
    return multiply_add(x, weights, sum);
}

/* One tile: `height` rows, packed step after step, by tile_vectors(kind, height) vectors of
 * columns of a panel. kind and height are constants once inlined. */
INLINE void tile(const kernel_weights kind, const size_t height, size_t steps,
    const float *rows, const char *panel, prefetch ahead, units units, float *out,
    size_t out_stride, int adds) {
    const size_t vectors = tile_vectors(kind, height);
    vec sums[PAIR_ROWS][TILE_VECTORS];
    UNROLLED for (size_t i = 0; i < height; i++)
        UNROLLED for (size_t v = 0; v < vectors; v++) sums[i][v] = (vec){0};
    UNROLLED for (size_t i = 0; i < height; i++)
        __builtin_prefetch(out + i * out_stride, 1);
    for (size_t step = 0; step < steps; step++) {
        __builtin_prefetch(ahead.at);
        if (kind != KERNEL_INT8) __builtin_prefetch(ahead.at + 64);
        ahead.at += ahead.step;
        UNROLLED for (int half = 0; half < (int)step_units(kind); half++) {
            /* Weights are read again for the second half: no register is free for them. */
            if (half) __asm__ volatile("" ::: "memory");
            /* The shorter side of the tile is held in registers, the longer passes by. */
            if (height < vectors) {
                vec x[PAIR_ROWS];
                UNROLLED for (size_t i = 0; i < height; i++) x[i] = splat_bits(rows + i);
                UNROLLED for (size_t v = 0; v < vectors; v++) {
                    vec weights = weights_at(kind, panel, v, half);
                    UNROLLED for (size_t i = 0; i < height; i++) sums[i][v] =
                        accumulate(kind, x[i], weights, sums[i][v]);
                }
            } else {
                vec weights[TILE_VECTORS];
                UNROLLED for (size_t v = 0; v < vectors; v++) weights[v] =
                    weights_at(kind, panel, v, half);
                UNROLLED for (size_t i = 0; i < height; i++) {
                    vec x = splat_bits(rows + i);
                    UNROLLED for (size_t v = 0; v < vectors; v++) sums[i][v] =
                        accumulate(kind, x, weights[v], sums[i][v]);
                }
            }
            rows += height;
        }
        panel += panel_step(kind);
    }
    UNROLLED for (size_t i = 0; i < height; i++) {
        float *to = out + i * out_stride;
        UNROLLED for (size_t v = 0; v < vectors; v++, to += LANES) {
            vec sum = sums[i][v];
            if (kind == KERNEL_INT8)
                sum = __builtin_convertvector((mask_vec)sum, vec) * units.rows[i] *
                      load(units.columns + v * LANES);
            store(to, adds ? load(to) + sum : sum);
        }
    }
}

/* `height` rows by the first `columns` columns of a panel, DEPTH_BLOCK deep or less. */
INLINE void strip(const kernel_weights kind, const size_t height, size_t steps,
    const float *rows, const char *panel, prefetch ahead, units units, size_t columns,
    float *out, size_t out_stride, int adds) {
    const size_t width = tile_vectors(kind, height) * LANES;
    const size_t bytes = panel_step(kind) / KERNEL_PANEL; /* of a column at a step */
    for (size_t n = 0; n < columns; n += width) {
        struct units here = {units.rows, kind == KERNEL_INT8 ? units.columns + n : NULL};
        if (n + width <= columns) {
            tile(kind, height, steps, rows, panel + n * bytes, ahead, here, out + n,
                out_stride, adds);
            continue;
        }
        float whole[PAIR_ROWS][TILE_VECTORS * LANES];
        tile(kind, height, steps, rows, panel + n * bytes, ahead, here, whole[0],
            TILE_VECTORS * LANES, 0);
        for (size_t i = 0; i < height; i++)
            for (size_t j = 0; n + j < columns; j++)
                out[i * out_stride + n + j] =
                    adds ? out[i * out_stride + n + j] + whole[i][j] : whole[i][j];
    }
}

typedef void strip_product(size_t steps, const float *rows, const char *panel,
    prefetch ahead, units units, size_t columns, float *out, size_t out_stride, int adds);

#define STRIP_OF(kind, height)                                                             \
    static void strip_##kind##_##height(size_t steps, const float *rows,                   \
        const char *panel, prefetch ahead, units units, size_t columns, float *out,        \
        size_t out_stride, int adds) {                                                     \
        strip(KERNEL_##kind, height, steps, rows, panel, ahead, units, columns, out,       \
            out_stride, adds);                                                             \
    }
#define STRIP(height)                                                                      \
    STRIP_OF(FLOAT32, height) STRIP_OF(BF16, height) STRIP_OF(INT8, height)

/* clang-format off */
STRIP(1) STRIP(2) STRIP(3) STRIP(4) STRIP(5) STRIP(6)
#if PAIR_ROWS > 6
STRIP(7) STRIP(8) STRIP(9) STRIP(10) STRIP(11) STRIP(12)
#define STRIPS(kind)                                                                       \
    {NULL, strip_##kind##_1, strip_##kind##_2, strip_##kind##_3, strip_##kind##_4,         \
     strip_##kind##_5, strip_##kind##_6, strip_##kind##_7, strip_##kind##_8,               \
     strip_##kind##_9, strip_##kind##_10, strip_##kind##_11, strip_##kind##_12}
#else
#define STRIPS(kind)                                                                       \
    {NULL, strip_##kind##_1, strip_##kind##_2, strip_##kind##_3, strip_##kind##_4,         \
     strip_##kind##_5, strip_##kind##_6}
#endif
    /* clang-format on */

    /* By kernel_weights and height. */
    static strip_product *const strips[][PAIR_ROWS + 1] = {
        STRIPS(FLOAT32), STRIPS(BF16), STRIPS(INT8)};

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
    size_t k = 0;
    if (height == 3 && depth_stride == 1)
        for (; k + 4 <= depth; k += 4, out += 12) {
            quad a = load_quad(x + k), b = load_quad(x + row_stride + k);
            quad c = load_quad(x + 2 * row_stride + k);
            quad low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            quad high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            store_quad(out, __builtin_shufflevector(low, c, 0, 1, 4, 2));
            quad middle = __builtin_shufflevector(low, high, 3, 4, 5, 3);
            store_quad(out + 4, __builtin_shufflevector(middle, c, 0, 5, 1, 2));
            store_quad(out + 8, __builtin_shufflevector(c, high, 2, 6, 7, 3));
        }
    for (; k < depth; k++, out += height)
        for (size_t i = 0; i < height; i++) out[i] = x[i * row_stride + k * depth_stride];
}

/* The same of pairs: of int16, or of floats, which become bf16. A depth that is odd is
 * followed by a 0. */
static void pack_pairs(const kernel_weights kind, const void *x, size_t row_stride,
    size_t depth_stride, size_t height, size_t depth, float *out) {
    for (size_t i = 0; i < height; i++)
        for (size_t k = 0; k < depth; k += 2) {
            uint32_t first, second = 0;
            if (kind == KERNEL_INT8) {
                const int16_t *row = (const int16_t *)x + i * row_stride + k;
                first = (uint16_t)row[0];
                if (k + 1 < depth) second = (uint16_t)row[1];
            } else {
                const float *row = (const float *)x + i * row_stride + k * depth_stride;
                first = kernel_bf16(row[0]);
                if (k + 1 < depth) second = kernel_bf16(row[depth_stride]);
            }
            uint32_t pair = first | second << 16;
            memcpy(out + k / 2 * height + i, &pair, sizeof pair);
        }
}

INLINE void pack_rows(const kernel_weights kind, const kernel_product_shape *shape,
    const void *x, size_t row, size_t start, size_t height, size_t depth, float *out) {
    size_t at = row * shape->row_stride + start * shape->depth_stride;
    const void *from = kind == KERNEL_INT8 ? (const void *)((const int16_t *)x + at)
                                           : (const void *)((const float *)x + at);
    if (kind == KERNEL_FLOAT32 || step_units(kind) == 2) {
        pack_strip(from, shape->row_stride, shape->depth_stride, height, depth, out);
        if (kind == KERNEL_BF16 && depth % 2)
            memset(out + depth * height, 0, height * sizeof(float));
        return;
    }
    pack_pairs(kind, from, shape->row_stride, shape->depth_stride, height, depth, out);
}

static void product(const kernel_product_shape *shape, const void *x,
    const float *row_units, const void *panels, const float *column_units, float *out) {
    float workspace[WORKSPACE] __attribute__((aligned(64)));
    const kernel_weights kind = shape->weights;
    const size_t grain = step_depth(kind), bytes = panel_step(kind);
    const size_t depth = shape->depth, panel_steps = (depth + grain - 1) / grain;

    for (size_t row = 0; row < shape->rows; row += ROW_BLOCK) {
        size_t height = shape->rows - row < ROW_BLOCK ? shape->rows - row : ROW_BLOCK;
        size_t count = (height + tile_rows(kind) - 1) / tile_rows(kind);
        /* As many depth blocks as fit: with few rows a panel is then read in one go. */
        size_t span = WORKSPACE / height / DEPTH_BLOCK * DEPTH_BLOCK;

        for (size_t start = 0; start < depth; start += span) {
            size_t length = depth - start < span ? depth - start : span;
            size_t length_steps = (length + grain - 1) / grain;
            size_t row_units_of = length_steps * step_units(kind);
            for (size_t s = 0; s < count; s++) {
                size_t first = strip_first(s, count, height);
                size_t tall = strip_first(s + 1, count, height) - first;
                pack_rows(kind, shape, x, row + first, start, tall, length,
                    workspace + first * row_units_of);
            }
            for (size_t p = shape->first_panel; p < shape->end_panel; p++) {
                const char *panel =
                    (const char *)panels + (p * panel_steps + start / grain) * bytes;
                size_t left = shape->columns - p * KERNEL_PANEL;
                size_t width = left < KERNEL_PANEL ? left : KERNEL_PANEL;
                float *to = out + row * shape->out_stride + p * KERNEL_PANEL;

                for (size_t k = 0; k < length_steps; k += DEPTH_BLOCK / grain) {
                    size_t block = DEPTH_BLOCK / grain;
                    const char *here = panel + k * bytes;
                    const char *next = k + block < length_steps
                                           ? here + block * bytes
                                           : panel + panel_steps * bytes;
                    if (length_steps - k < block) block = length_steps - k;
                    /* Each strip asks for its share of the next block: memory is then
                     * read while all of them compute. */
                    size_t share = (bytes / count + 63) / 64 * 64;
                    if (count > bytes / 64) share = bytes / count / 4 * 4;
                    for (size_t s = 0; s < count; s++) {
                        size_t first = strip_first(s, count, height);
                        size_t tall = strip_first(s + 1, count, height) - first;
                        prefetch ahead = {next + s * share * (DEPTH_BLOCK / grain), share};
                        units units = {row_units ? row_units + row + first : NULL,
                            column_units ? column_units + p * KERNEL_PANEL : NULL};
                        strips[kind][tall](block,
                            workspace + first * row_units_of + k * step_units(kind) * tall,
                            here, ahead, units, width, to + first * shape->out_stride,
                            shape->out_stride, shape->adds || start + k > 0);
                    }
                }
            }
        }
    }
}

/* x = unit * out, with out as large as 16 bits hold; NaN where x is not finite. */
static void quantize(const float *x, size_t x_stride, size_t rows, size_t depth,
    int16_t *out, size_t out_stride, float *row_units) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    for (size_t r = 0; r < rows; r++) {
        const float *from = x + r * x_stride;
        int16_t *to = out + r * out_stride;
        vec most = splat(0), doubt = splat(0); /* NaN once one is not finite */
        float highest = 0, other_doubt = 0;
        size_t k = 0;
        for (; k + LANES <= depth; k += LANES) {
            vec v = load(from + k);
            doubt += v - v;
            most = larger((vec)((bits_vec)v & 0x7fffffffu), most);
        }
        for (; k < depth; k++) {
            other_doubt += from[k] - from[k];
            if (fabsf(from[k]) > highest) highest = fabsf(from[k]);
        }
        if (largest(most) > highest) highest = largest(most);
        int finite = sum(doubt) + other_doubt == 0;
        float inverse = finite && highest > 1e-30f ? 32767.0f / highest : 0;
        row_units[r] = finite ? highest / 32767.0f : NAN;
        for (k = 0; k + LANES <= depth; k += LANES) {
            vec v = finite ? load(from + k) * inverse + magic : splat(magic);
            mask_vec whole = (mask_vec)v - 0x4b400000;
            half_shorts_vec narrow = __builtin_convertvector(whole, half_shorts_vec);
            memcpy(to + k, &narrow, sizeof narrow);
        }
        for (; k < depth; k++)
            to[k] = (int16_t)(finite ? (int)(from[k] * inverse + magic - magic) : 0);
    }
}
