/*
 * packing.c - weights to panels of KERNEL_PANEL columns, and back. Moves only: the same on
 * every processor.
 */
#include "kernels.h"

#include <string.h>

typedef float quad __attribute__((vector_size(16)));
typedef float quad_in_memory __attribute__((vector_size(16), aligned(1), may_alias));
/* Weights lie at any address in files. */
typedef float anywhere __attribute__((aligned(1), may_alias));

static quad load(const anywhere *p) { return *(const quad_in_memory *)p; }
static void store(float *p, quad v) { *(quad_in_memory *)p = v; }

/* Steps of a panel: depth indices of float32, pairs of them of bf16, quads of int8. A step
 * has 32 bits of each output. */
static size_t steps(kernel_weights weights, size_t depth) {
    static const size_t depth_of_step[] = {1, 2, 4};
    size_t grain = depth_of_step[weights];
    return (depth + grain - 1) / grain;
}

size_t kernel_panels_bytes(kernel_weights weights, size_t columns, size_t depth) {
    size_t padded = (columns + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL;
    return padded * steps(weights, depth) * sizeof(float);
}

/* to[i * to_stride + j] = from[j * from_stride + i] for i, j < 4. */
static void transpose(
    const anywhere *from, size_t from_stride, float *to, size_t to_stride) {
    quad a = load(from), b = load(from + from_stride);
    quad c = load(from + 2 * from_stride), d = load(from + 3 * from_stride);
    quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store(to + to_stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store(to + 2 * to_stride, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store(to + 3 * to_stride, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/* Transposes [rows, columns] to [columns, rows], a cache line of each row at a time. */
static void transpose_all(const anywhere *from, size_t from_stride, size_t rows,
    size_t columns, float *to, size_t to_stride) {
    enum { LINE = 16 };
    for (size_t line = 0; line < columns; line += LINE) {
        size_t end = columns - line < LINE ? columns : line + LINE;
        size_t j = 0;
        for (; j + 4 <= rows; j += 4) {
            const anywhere *source = from + j * from_stride;
            size_t i = line;
            for (; i + 4 <= end; i += 4)
                transpose(source + i, from_stride, to + i * to_stride + j, to_stride);
            for (; i < end; i++)
                for (size_t n = 0; n < 4; n++)
                    to[i * to_stride + j + n] = source[n * from_stride + i];
        }
        for (; j < rows; j++)
            for (size_t i = line; i < end; i++)
                to[i * to_stride + j] = from[j * from_stride + i];
    }
}

/* Copies [depth, width] out of rows `stride` apart to panels, whole cache lines of several
 * panels at a time. `first` is the output of column 0. */
static void copy_columns(const anywhere *from, size_t stride, size_t first, size_t end,
    size_t depth, float *panels) {
    enum { DEPTH_STEP = 64 };
    for (size_t start = 0; start < depth; start += DEPTH_STEP) {
        size_t stop = depth - start < DEPTH_STEP ? depth : start + DEPTH_STEP;
        for (size_t n = first; n < end;) {
            size_t inside = n % KERNEL_PANEL;
            size_t room = KERNEL_PANEL - inside;
            size_t width = end - n < room ? end - n : room;
            const anywhere *source = from + (n - first);
            float *to = panels + n / KERNEL_PANEL * KERNEL_PANEL * depth + inside;
            if (width == KERNEL_PANEL)
                for (size_t k = start; k < stop; k++)
                    memcpy(to + k * KERNEL_PANEL, source + k * stride,
                        KERNEL_PANEL * sizeof(float));
            else
                for (size_t k = start; k < stop; k++)
                    memcpy(
                        to + k * KERNEL_PANEL, source + k * stride, width * sizeof(float));
            n += width;
        }
    }
}

static void pack_floats(const float *source, size_t output_stride, size_t depth_stride,
    size_t first, size_t end, size_t depth, float *panels) {
    if (output_stride == 1) {
        copy_columns(source, depth_stride, first, end, depth, panels);
        return;
    }
    for (size_t n = first; n < end;) {
        size_t inside = n % KERNEL_PANEL;
        size_t room = KERNEL_PANEL - inside;
        size_t width = end - n < room ? end - n : room;
        const anywhere *from = (const anywhere *)source + (n - first) * output_stride;
        float *to = panels + n / KERNEL_PANEL * KERNEL_PANEL * depth + inside;
        if (depth_stride == 1) {
            transpose_all(from, output_stride, width, depth, to, KERNEL_PANEL);
        } else {
            for (size_t k = 0; k < depth; k++)
                for (size_t j = 0; j < width; j++)
                    to[k * KERNEL_PANEL + j] = from[j * output_stride + k * depth_stride];
        }
        n += width;
    }
}

static void unpack_floats(const float *panels, size_t first, size_t end, size_t depth,
    float *out, size_t out_stride) {
    for (size_t n = first; n < end;) {
        size_t inside = n % KERNEL_PANEL;
        size_t room = KERNEL_PANEL - inside;
        size_t width = end - n < room ? end - n : room;
        const float *from = panels + n / KERNEL_PANEL * KERNEL_PANEL * depth + inside;
        transpose_all(
            from, KERNEL_PANEL, depth, width, out + (n - first) * out_stride, out_stride);
        n += width;
    }
}

/* Where the first step of output n lies; the next is KERNEL_PANEL further. */
static uint32_t *column_at(
    const void *panels, kernel_weights weights, size_t n, size_t depth) {
    size_t first = n / KERNEL_PANEL * steps(weights, depth) * KERNEL_PANEL;
    return (uint32_t *)panels + first + n % KERNEL_PANEL;
}

/* [columns, steps] of units to [steps, KERNEL_PANEL], all of one panel. */
static void place_units(
    const uint32_t *units, size_t stride, size_t columns, size_t count, uint32_t *to) {
    transpose_all(
        (const anywhere *)units, stride, columns, count, (float *)to, KERNEL_PANEL);
}

/* Pairs of consecutive depth indices at a time, through memory of their own. */
enum { UNIT_BLOCK = 64 };

/* Outputs of one panel. */
static void pack_bf16(const anywhere *from, size_t output_stride, size_t depth_stride,
    size_t columns, size_t depth, uint32_t *to) {
    if (output_stride == 1) {
        for (size_t k = 0; k < depth; k += 2, to += KERNEL_PANEL) {
            const anywhere *low = from + k * depth_stride;
            const anywhere *high = k + 1 < depth ? low + depth_stride : NULL;
            if (high)
                for (size_t n = 0; n < columns; n++)
                    to[n] = kernel_bf16(low[n]) | (uint32_t)kernel_bf16(high[n]) << 16;
            else
                for (size_t n = 0; n < columns; n++) to[n] = kernel_bf16(low[n]);
        }
        return;
    }
    for (size_t start = 0; start < depth; start += 2 * UNIT_BLOCK) {
        size_t length = depth - start < 2 * UNIT_BLOCK ? depth - start : 2 * UNIT_BLOCK;
        uint32_t units[KERNEL_PANEL][UNIT_BLOCK];
        for (size_t n = 0; n < columns; n++) {
            const anywhere *row = from + n * output_stride + start * depth_stride;
            uint16_t *halves = (uint16_t *)units[n];
            if (depth_stride == 1)
                for (size_t k = 0; k < length; k++) halves[k] = kernel_bf16(row[k]);
            else
                for (size_t k = 0; k < length; k++)
                    halves[k] = kernel_bf16(row[k * depth_stride]);
            if (length % 2) halves[length] = 0;
        }
        place_units(
            units[0], UNIT_BLOCK, columns, (length + 1) / 2, to + start / 2 * KERNEL_PANEL);
    }
}

/* Outputs of one panel, and their units. */
static void pack_int8(const anywhere *from, size_t output_stride, size_t depth_stride,
    size_t columns, size_t depth, uint32_t *to, float *column_units) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float inverses[KERNEL_PANEL];
    for (size_t n = 0; n < columns; n++) {
        const anywhere *row = from + n * output_stride;
        float most = 0;
        for (size_t k = 0; k < depth; k++) {
            float size = __builtin_fabsf(row[k * depth_stride]);
            most = size > most || size != size ? size : most;
        }
        /* A column that holds what is no number gives none. */
        column_units[n] = most / 127;
        inverses[n] = most > 1e-30f ? 127 / most : 0;
    }
    for (size_t start = 0; start < depth; start += 4 * UNIT_BLOCK) {
        size_t length = depth - start < 4 * UNIT_BLOCK ? depth - start : 4 * UNIT_BLOCK;
        uint32_t units[KERNEL_PANEL][UNIT_BLOCK];
        for (size_t n = 0; n < columns; n++) {
            const anywhere *row = from + n * output_stride + start * depth_stride;
            uint8_t *bytes = (uint8_t *)units[n];
            for (size_t k = 0; k < length; k++) {
                float whole = row[k * depth_stride] * inverses[n] + magic - magic;
                bytes[k] = (uint8_t)((whole == whole ? (int)whole : 0) + 128);
            }
            for (size_t k = length; k % 4 != 0; k++) bytes[k] = 128;
        }
        place_units(
            units[0], UNIT_BLOCK, columns, (length + 3) / 4, to + start / 4 * KERNEL_PANEL);
    }
}

void kernel_pack(kernel_weights weights, const float *source, size_t output_stride,
    size_t depth_stride, size_t first, size_t end, size_t depth, void *panels,
    float *column_units) {
    if (weights == KERNEL_FLOAT32) {
        pack_floats(source, output_stride, depth_stride, first, end, depth, panels);
        return;
    }
    for (size_t n = first; n < end;) {
        size_t room = KERNEL_PANEL - n % KERNEL_PANEL;
        size_t width = end - n < room ? end - n : room;
        const anywhere *from = (const anywhere *)source + (n - first) * output_stride;
        uint32_t *to = column_at(panels, weights, n, depth);
        if (weights == KERNEL_BF16)
            pack_bf16(from, output_stride, depth_stride, width, depth, to);
        else
            pack_int8(
                from, output_stride, depth_stride, width, depth, to, column_units + n);
        n += width;
    }
}

void kernel_unpack(kernel_weights weights, const void *panels, const float *column_units,
    size_t first, size_t end, size_t depth, float *out, size_t out_stride) {
    if (weights == KERNEL_FLOAT32) {
        unpack_floats(panels, first, end, depth, out, out_stride);
        return;
    }
    for (size_t n = first; n < end; n++) {
        const uint32_t *from = column_at(panels, weights, n, depth);
        float *to = out + (n - first) * out_stride;
        for (size_t k = 0; k < depth; k++) {
            if (weights == KERNEL_INT8) {
                uint32_t byte = from[k / 4 * KERNEL_PANEL] >> k % 4 * 8 & 255;
                to[k] = (float)((int)byte - 128) * column_units[n];
            } else {
                uint32_t pair = from[k / 2 * KERNEL_PANEL];
                uint32_t bits = k % 2 ? pair & 0xffff0000u : pair << 16;
                memcpy(to + k, &bits, sizeof bits);
            }
        }
    }
}

/* Where a position's value lies in the panel that column d is the first of. */
static uint32_t *value_at(
    void *values, kernel_weights weights, size_t d, size_t position, size_t value_rows) {
    size_t step = weights == KERNEL_BF16 ? position / 2 : position;
    return column_at(values, weights, d, value_rows) + step * KERNEL_PANEL;
}

void kernel_set_key_value(kernel_weights weights, const float *k, const float *v,
    size_t d_kv, size_t position, size_t value_rows, void *keys, void *values) {
    uint32_t *key = column_at(keys, weights, position, d_kv);
    if (weights == KERNEL_BF16) {
        for (size_t d = 0; d + 1 < d_kv; d += 2, key += KERNEL_PANEL)
            *key = kernel_bf16(k[d]) | (uint32_t)kernel_bf16(k[d + 1]) << 16;
        if (d_kv % 2) *key = kernel_bf16(k[d_kv - 1]);
    } else {
        for (size_t d = 0; d < d_kv; d++, key += KERNEL_PANEL)
            memcpy(key, k + d, sizeof *key);
    }
    for (size_t first = 0; first < d_kv; first += KERNEL_PANEL) {
        size_t count = d_kv - first < KERNEL_PANEL ? d_kv - first : KERNEL_PANEL;
        uint32_t *value = value_at(values, weights, first, position, value_rows);
        if (weights != KERNEL_BF16)
            memcpy(value, v + first, count * sizeof(float));
        else if (position % 2 == 0)
            for (size_t d = 0; d < count; d++) value[d] = kernel_bf16(v[first + d]);
        else
            for (size_t d = 0; d < count; d++)
                value[d] = (value[d] & 0xffff) | (uint32_t)kernel_bf16(v[first + d]) << 16;
    }
}

void kernel_ask_key_value(kernel_weights weights, size_t d_kv, size_t position,
    size_t value_rows, void *keys, void *values) {
    enum { LINE = 16 };
    const uint32_t *key = column_at(keys, weights, position, d_kv);
    for (size_t step = 0; step < steps(weights, d_kv); step++, key += KERNEL_PANEL)
        __builtin_prefetch(key, 1);
    for (size_t first = 0; first < d_kv; first += KERNEL_PANEL)
        for (size_t d = 0; d < KERNEL_PANEL; d += LINE)
            __builtin_prefetch(
                value_at(values, weights, first, position, value_rows) + d, 1);
}
