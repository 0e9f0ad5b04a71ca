/*
 * row_packing.inc.h - rows of the left factor, packed for tiles: a strip of `height` rows
 * is one depth block after the other, and of each
 *
 *   [header_units, height]          what sums begin with
 *   [steps, step_units, height]     units of 32 bits
 *
 * A unit is a float, a pair of bf16, or of int8 weights' inputs four bytes of consecutive
 * depth indices k, or, where those are not multiplied, the pairs (k, k + 2), (k + 1, k + 3)
 * of 16 bits. Weights are bytes from 0 to 255 there, 128 more than what they stand for, so
 * sums begin with -128 times the sum of the inputs.
 */

/* out[k * out_stride + i] = from[i * stride + k] for i < height and k < steps: 4 by 4 where
 * that is possible, the last rows twice where they are not. */
INLINE void interleave(const float *from, size_t stride, size_t height, size_t steps,
    float *out, size_t out_stride) {
    size_t k = 0;
    if (height == 1 && out_stride == 1) {
        memcpy(out, from, steps * sizeof(float));
        return;
    }
    if (height >= 4)
        for (; k + 4 <= steps; k += 4)
            for (size_t row = 0; row < height; row += 4) {
                size_t i = row + 4 <= height ? row : height - 4;
                const float *at = from + i * stride + k;
                quad a = load_quad(at), b = load_quad(at + stride);
                quad c = load_quad(at + 2 * stride), d = load_quad(at + 3 * stride);
                quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
                quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
                quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
                quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
                float *to = out + k * out_stride + i;
                store_quad(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
                store_quad(
                    to + out_stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
                store_quad(to + 2 * out_stride,
                    __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
                store_quad(to + 3 * out_stride,
                    __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
            }
    if (height == 3 && out_stride == 3)
        for (; k + 4 <= steps; k += 4) {
            const float *at = from + k;
            quad a = load_quad(at), b = load_quad(at + stride);
            quad c = load_quad(at + 2 * stride);
            quad low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            quad high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            float *to = out + 3 * k;
            store_quad(to, __builtin_shufflevector(low, c, 0, 1, 4, 2));
            quad middle = __builtin_shufflevector(low, high, 3, 4, 5, 3);
            store_quad(to + 4, __builtin_shufflevector(middle, c, 0, 5, 1, 2));
            store_quad(to + 8, __builtin_shufflevector(c, high, 2, 6, 7, 3));
        }
    for (; k < steps; k++)
        for (size_t i = 0; i < height; i++) out[k * out_stride + i] = from[i * stride + k];
}

static void pack_floats(const float *x, size_t row_stride, size_t depth_stride,
    size_t height, size_t depth, float *out) {
    if (row_stride == 1) {
        for (size_t k = 0; k < depth; k++)
            for (size_t i = 0; i < height; i++)
                out[k * height + i] = x[k * depth_stride + i];
    } else if (depth_stride == 1) {
        interleave(x, row_stride, height, depth, out, height);
    } else {
        for (size_t k = 0; k < depth; k++)
            for (size_t i = 0; i < height; i++)
                out[k * height + i] = x[i * row_stride + k * depth_stride];
    }
}

/* The upper 16 bits of each float are those of its bf16: see kernel_bf16. */
INLINE bits_vec rounded_bits(vec x) {
    bits_vec bits = (bits_vec)x;
    bits_vec rounded = bits + 0x7fff + (bits >> 16 & 1);
    mask_vec is_nan = (mask_vec)((bits & 0x7fffffffu) > 0x7f800000u);
    return (bits_vec)blend(is_nan, (vec)(bits | 1u << 22), (vec)rounded);
}

/* One row of floats as pairs of bf16; a depth that is odd is followed by a 0. */
INLINE void round_row(const float *x, size_t stride, size_t depth, uint16_t *out) {
    size_t k = 0;
    if (stride == 1)
        for (; k + LANES <= depth; k += LANES) {
            half_shorts_vec narrow = __builtin_convertvector(
                (mask_vec)rounded_bits(load(x + k)) >> 16, half_shorts_vec);
            memcpy(out + k, &narrow, sizeof narrow);
        }
    for (; k < depth; k++) out[k] = kernel_bf16(x[k * stride]);
    if (depth % 2) out[depth] = 0;
}

/* One depth block of one row of integers: its units, `part` after `part`, and -128 times
 * the sum of each part. `steps` quads; what lies beyond the depth is 0. */
INLINE void split_row(const product_mode mode, const int16_t *x, size_t depth, size_t steps,
    uint32_t *units, int32_t *begins) {
    int16_t padded[INT8_BLOCK];
    if (depth < 4 * steps) {
        memcpy(padded, x, depth * sizeof *x);
        memset(padded + depth, 0, (4 * steps - depth) * sizeof *x);
        x = padded;
    }
    int32_t sum = 0, low_sum = 0;
    for (size_t k = 0; k < 4 * steps; k++) sum += x[k];
    if (!MULTIPLIES_QUADS) {
        for (size_t step = 0; step < steps; step++) {
            uint64_t quad;
            memcpy(&quad, x + 4 * step, sizeof quad);
            uint64_t even = quad & 0x0000ffff0000ffffu,
                     odd = quad >> 16 & 0x0000ffff0000ffffu;
            units[step] = (uint32_t)(even | even >> 16);
            units[steps + step] = (uint32_t)(odd | odd >> 16);
        }
    } else if (mode == MODE_INT8) {
        int8_t *bytes = (int8_t *)units;
        for (size_t k = 0; k < 4 * steps; k++) bytes[k] = (int8_t)x[k];
    } else {
        /* x = 256 high + low, both from -128 to 127. */
        int8_t *high = (int8_t *)units, *low = (int8_t *)(units + steps);
        for (size_t k = 0; k < 4 * steps; k++) {
            low[k] = (int8_t)x[k];
            high[k] = (int8_t)((x[k] + 128) >> 8);
            low_sum += (int8_t)x[k];
        }
        begins[1] = -128 * low_sum;
        sum = (sum - low_sum) / 256;
    }
    begins[0] = -128 * sum;
}

/* One depth block of a strip. x: of its first row and depth index. */
INLINE void pack_block(const product_mode mode, const kernel_product_shape *shape,
    const void *x, size_t height, size_t depth, float *out) {
    const size_t steps = (depth + step_depth(mode) - 1) / step_depth(mode);
    if (mode == MODE_FLOAT32 || (mode == MODE_BF16 && !MULTIPLIES_BF16)) {
        pack_floats(x, shape->row_stride, shape->depth_stride, height, depth, out);
        if (mode == MODE_BF16 && depth % 2)
            memset(out + depth * height, 0, height * sizeof(float));
        return;
    }
    /* Rows of units, which then interleave. */
    const size_t halves = mode == MODE_BF16 ? 1 : step_units(mode);
    enum { UNITS = DEPTH_BLOCK > INT8_BLOCK ? DEPTH_BLOCK / 2 : INT8_BLOCK / 2 };
    float units[PAIR_ROWS][UNITS];
    for (size_t i = 0; i < height; i++) {
        if (mode == MODE_BF16) {
            round_row((const float *)x + i * shape->row_stride, shape->depth_stride, depth,
                (uint16_t *)units[i]);
            continue;
        }
        int32_t begins[2];
        split_row(mode, (const int16_t *)x + i * shape->row_stride, depth, steps,
            (uint32_t *)units[i], begins);
        for (size_t part = 0; part < header_units(mode); part++)
            memcpy(out + part * height + i, begins + part, sizeof *begins);
    }
    out += header_units(mode) * height;
    for (size_t half = 0; half < halves; half++)
        interleave(units[0] + half * steps, UNITS, height, steps, out + half * height,
            halves * height);
}

/* Of a packed row, all depth blocks. */
INLINE size_t block_units(const product_mode mode) {
    return header_units(mode) + block_depth(mode) / step_depth(mode) * step_units(mode);
}

INLINE size_t packed_units(const product_mode mode, size_t depth) {
    return (depth + block_depth(mode) - 1) / block_depth(mode) * block_units(mode);
}

/* A strip: rows [row, row + height) of depth indices [start, start + depth). */
static void pack_rows(const product_mode mode, const kernel_product_shape *shape,
    const void *x, size_t row, size_t start, size_t height, size_t depth, float *out) {
    const size_t size = mode >= MODE_INT8 ? sizeof(int16_t) : sizeof(float);
    const size_t span = block_depth(mode), units = block_units(mode);
    const char *from =
        (const char *)x + (row * shape->row_stride + start * shape->depth_stride) * size;
    for (size_t k = 0; k < depth; k += span) {
        size_t length = depth - k < span ? depth - k : span;
        const void *block = from + k * shape->depth_stride * size;
        float *to = out + k / span * units * height;
        switch (mode) {
        case MODE_FLOAT32:
            pack_block(MODE_FLOAT32, shape, block, height, length, to);
            break;
        case MODE_BF16:
            pack_block(MODE_BF16, shape, block, height, length, to);
            break;
        case MODE_INT8:
            pack_block(MODE_INT8, shape, block, height, length, to);
            break;
        case MODE_INT8_WIDE:
            pack_block(MODE_INT8_WIDE, shape, block, height, length, to);
            break;
        }
    }
}

/* out = low and high as pairs of bf16; without high, with 0. */
INLINE void round_pairs(const float *low, const float *high, size_t count, uint32_t *out) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        bits_vec pairs = rounded_bits(load(low + i)) >> 16;
        if (high) pairs |= rounded_bits(load(high + i)) & 0xffff0000u;
        memcpy(out + i, &pairs, sizeof pairs);
    }
    for (; i < count; i++)
        out[i] = kernel_bf16(low[i]) | (high ? (uint32_t)kernel_bf16(high[i]) << 16 : 0);
}

/* Where the strips of a block of rows are packed: each row of it takes `row_size` units,
 * and `skipped` of them are of depth blocks before. */
typedef struct strip_space {
    float *base;
    size_t row_size, skipped;
} strip_space;

/* Strips [first, end) of `rows` rows that lie side by side, of floats and no more than
 * ROW_BLOCK: dealt out one depth index after the other, so that every cache line is read
 * once. x: of row 0 and the first depth index. */
static void deal_rows(const product_mode mode, const kernel_product_shape *shape,
    const float *x, size_t rows, size_t first, size_t end, size_t depth, strip_space out) {
    const size_t count = strip_count(mode, rows), span = block_depth(mode);
    const size_t step = mode == MODE_BF16 && MULTIPLIES_BF16 ? 2 : 1;
    const size_t last = mode == MODE_BF16 ? (depth + 1) / 2 * 2 : depth;
    size_t begins[ROW_BLOCK + 1];
    for (size_t s = first; s <= end; s++) begins[s - first] = strip_first(s, count, rows);
    const size_t height = begins[end - first] - begins[0];
    for (size_t k = 0; k < last; k += step) {
        const float *row = x + k * shape->depth_stride + begins[0];
        float made[ROW_BLOCK];
        if (step == 2)
            round_pairs(row, k + 1 < depth ? row + shape->depth_stride : NULL, height,
                (uint32_t *)made);
        else if (k == depth)
            memset(made, 0, sizeof made);
        if (step == 2 || k == depth) row = made;
        size_t at = out.skipped + k / span * block_units(mode) + k % span / step;
        for (size_t s = 0; s < end - first; s++) {
            size_t tall = begins[s + 1] - begins[s];
            const float *from = row + (begins[s] - begins[0]);
            float *to = out.base + begins[s] * out.row_size + at * tall;
            if (tall == TILE_ROWS)
                memcpy(to, from, TILE_ROWS * sizeof *to);
            else
                for (size_t i = 0; i < tall; i++) to[i] = from[i];
        }
    }
}

/* `height` rows, of depth indices [start, start + depth): strip after strip. */
static void pack_strips(const product_mode mode, const kernel_product_shape *shape,
    const void *x, size_t row, size_t height, size_t start, size_t depth, strip_space out) {
    const size_t count = strip_count(mode, height), together = ROW_BLOCK / tile_rows(mode);
    if (shape->row_stride == 1 && mode < MODE_INT8) {
        const float *from = (const float *)x + row + start * shape->depth_stride;
        for (size_t s = 0; s < count; s += together)
            deal_rows(mode, shape, from, height, s,
                s + together < count ? s + together : count, depth, out);
        return;
    }
    for (size_t s = 0; s < count; s++) {
        size_t first = strip_first(s, count, height);
        size_t tall = strip_first(s + 1, count, height) - first;
        pack_rows(mode, shape, x, row + first, start, tall, depth,
            out.base + first * out.row_size + out.skipped * tall);
    }
}

static size_t depth_blocks(const kernel_product_shape *shape) {
    size_t span = block_depth(mode_of(shape));
    return (shape->depth + span - 1) / span;
}

static size_t packed_rows_floats(const kernel_product_shape *shape) {
    return shape->rows * packed_units(mode_of(shape), shape->depth);
}

static void pack_row_blocks(const kernel_product_shape *shape, const void *x,
    size_t first_block, size_t end_block, float *out) {
    const product_mode mode = mode_of(shape);
    const size_t row_size = packed_units(mode, shape->depth), span = block_depth(mode);
    const size_t start = first_block * span;
    const size_t end = end_block * span < shape->depth ? end_block * span : shape->depth;
    strip_space space = {out, row_size, first_block * block_units(mode)};
    if (start < end) pack_strips(mode, shape, x, 0, shape->rows, start, end - start, space);
}

/* x = unit * out, with out as large as `bits` allow; NaN where x is not finite. */
static void quantize(const float *x, size_t x_stride, size_t rows, size_t depth, int bits,
    int16_t *out, size_t out_stride, float *row_units) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float top = bits > 8 ? 32639 : 127; /* 127 * 256 + 127 */
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
        float inverse = finite && highest > 1e-30f ? top / highest : 0;
        row_units[r] = finite ? highest / top : NAN;
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
