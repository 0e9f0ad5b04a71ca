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
static uint32_t *column_at(const void *panels, kernel_weights weights, size_t n, size_t depth) {
    size_t first = n / KERNEL_PANEL * steps(weights, depth) * KERNEL_PANEL;
    return (uint32_t *)panels + first + n % KERNEL_PANEL;
}

static void pack_bf16(
    const anywhere *from, size_t depth_stride, size_t depth, uint32_t *to) {
    for (size_t k = 0; k < depth; k += 2, to += KERNEL_PANEL) {
        uint32_t next = k + 1 < depth ? kernel_bf16(from[(k + 1) * depth_stride]) : 0;
        *to = kernel_bf16(from[k * depth_stride]) | next << 16;
    }
}

/* Returns the unit. */
static float pack_int8(
    const anywhere *from, size_t depth_stride, size_t depth, uint32_t *to) {
    float most = 0;
    for (size_t k = 0; k < depth; k++) {
        float size = __builtin_fabsf(from[k * depth_stride]);
        most = size > most ? size : most;
    }
    float unit = most / 127, inverse = most > 1e-30f ? 127 / most : 0;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    for (size_t k = 0; k < depth; k += 4, to += KERNEL_PANEL) {
        uint32_t quad = 0x80808080u;
        for (size_t i = 0; i < 4 && k + i < depth; i++) {
            int whole = (int)(from[(k + i) * depth_stride] * inverse + magic - magic);
            quad += (uint32_t)whole << 8 * i;
        }
        *to = quad;
    }
    return unit;
}

void kernel_pack(kernel_weights weights, const float *source, size_t output_stride,
    size_t depth_stride, size_t first, size_t end, size_t depth, void *panels,
    float *column_units) {
    if (weights == KERNEL_FLOAT32) {
        pack_floats(source, output_stride, depth_stride, first, end, depth, panels);
        return;
    }
    for (size_t n = first; n < end; n++) {
        const anywhere *from = (const anywhere *)source + (n - first) * output_stride;
        uint32_t *to = column_at(panels, weights, n, depth);
        if (weights == KERNEL_BF16)
            pack_bf16(from, depth_stride, depth, to);
        else
            column_units[n] = pack_int8(from, depth_stride, depth, to);
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
