/*
 * products.c - the speed of products, as a share of what the processor can do and against
 * OpenBLAS, on one thread.
 *
 * Up to 32 rows the weights come from a pool larger than the caches, as they do when a
 * model generates; at 512 they are one matrix. Every figure is the best of several passes:
 * on a busy machine compare figures of one line.
 */
#include "../limits/registers.h"
#include "kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

void openblas_set_num_threads(int threads);

static const size_t POOL_FLOATS = 32 << 20; /* 128 MB */
static const double SECONDS = 0.3;          /* for each figure */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Zeros, in huge pages as the library asks for them. */
static float *floats(size_t count) {
    size_t page = 2 << 20, bytes = (count * sizeof(float) + page - 1) / page * page;
    float *memory = aligned_alloc(page, bytes);
    if (!memory) {
        fprintf(stderr, "no memory for %zu floats\n", count);
        exit(1);
    }
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 0, bytes);
    return memory;
}

/* Billions of operations a second that registers reach. */
static double peak(work *body) {
    double best = 0;
    for (int pass = 0; pass < 40; pass++) {
        double start = now(), amount = body(NULL), speed = amount / (now() - start) / 1e9;
        if (speed > best) best = speed;
    }
    return best;
}

/* What is measured: the types of weights, int8 with inputs of either size, and of float32
 * the two products of the backward pass, their packing included. */
typedef enum kind { FLOAT32, BF16, INT8, INT8_WIDE, INPUT_GRADIENT, WEIGHT_GRADIENT } kind;
static const char *const names[] = {
    "float32", "bf16", "int8, 8 bits", "int8, 16 bits", "gradient of x", "gradient of W"};

static kernel_weights weights_of(kind kind) {
    return kind == BF16                        ? KERNEL_BF16
           : kind == INT8 || kind == INT8_WIDE ? KERNEL_INT8
                                               : KERNEL_FLOAT32;
}

typedef struct problem {
    kind kind;
    size_t rows, depth, columns, copies, bytes;
    const float *x, *y, *plain;
    const int16_t *integers;
    const float *row_units, *column_units;
    const char *panels;
    float *out;
} problem;

static kernel_product_shape shape_of(size_t rows, size_t columns, size_t depth) {
    return (kernel_product_shape){.rows = rows,
        .columns = columns,
        .depth = depth,
        .row_stride = depth,
        .depth_stride = 1,
        .out_stride = columns,
        .end_panel = (columns + KERNEL_PANEL - 1) / KERNEL_PANEL};
}

static void ours(const problem *p, size_t copy) {
    kernel_product_shape shape = shape_of(p->rows, p->columns, p->depth);
    const float *plain = p->plain + copy * p->columns * p->depth;
    float *packed = (float *)p->panels;
    if (p->kind == INPUT_GRADIENT) { /* [rows, columns] times [columns, depth] */
        kernel_pack(
            KERNEL_FLOAT32, plain, 1, p->depth, 0, p->depth, p->columns, packed, NULL);
        shape = shape_of(p->rows, p->depth, p->columns);
        kernel_product(&shape, p->y, NULL, packed, NULL, p->out);
        return;
    }
    if (p->kind == WEIGHT_GRADIENT) { /* [columns, rows] times [rows, depth] */
        kernel_pack(KERNEL_FLOAT32, p->x, 1, p->depth, 0, p->depth, p->rows, packed, NULL);
        shape = shape_of(p->columns, p->depth, p->rows);
        shape.row_stride = 1;
        shape.depth_stride = p->columns;
        kernel_product(&shape, p->y, NULL, packed, NULL, p->out);
        return;
    }
    int is_int8 = weights_of(p->kind) == KERNEL_INT8;
    shape.weights = weights_of(p->kind);
    shape.input_bits = p->kind == INT8 ? 8 : 16;
    kernel_product(&shape, is_int8 ? (const void *)p->integers : (const void *)p->x,
        is_int8 ? p->row_units : NULL, p->panels + copy * p->bytes,
        is_int8 ? p->column_units : NULL, p->out);
}

static void openblas(const problem *p, size_t copy) {
    int rows = (int)p->rows, columns = (int)p->columns, depth = (int)p->depth;
    const float *plain = p->plain + copy * p->columns * p->depth;
    if (p->kind == INPUT_GRADIENT)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, depth, columns, 1,
            p->y, columns, plain, depth, 0, p->out, depth);
    else if (p->kind == WEIGHT_GRADIENT)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, columns, depth, rows, 1, p->y,
            columns, p->x, depth, 0, p->out, depth);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, depth, 1, p->x,
            depth, plain, depth, 0, p->out, columns);
}

/* Seconds of one product: the best pass over the pool. */
static double seconds(void (*product)(const problem *, size_t), const problem *p) {
    double best = 1e9, start = now();
    size_t copies = p->rows > 32 ? 1 : p->copies;
    for (int pass = 0; pass < 3 || now() - start < SECONDS; pass++) {
        double begin = now();
        for (size_t copy = 0; copy < copies; copy++) product(p, copy);
        double each = (now() - begin) / (double)copies;
        if (each < best) best = each;
    }
    return best;
}

static void measure(size_t depth, size_t columns, const double *peaks) {
    static const size_t rows[] = {1, 8, 32, 512};
    size_t count = columns * depth;
    size_t copies = POOL_FLOATS / count > 1 ? POOL_FLOATS / count : 1;
    float *plain = floats(copies * count), *panels = floats(copies * count + 32 * depth);
    size_t outputs = count > 512 * columns ? count : 512 * columns;
    float *x = floats(512 * depth), *y = floats(512 * columns), *out = floats(outputs);
    float *integers = floats(256 * depth + 1), *row_units = floats(512);
    float *column_units = floats(columns + KERNEL_PANEL);
    for (size_t i = 0; i < copies * count; i++) plain[i] = (float)(i % 251) / 251 - 0.5f;
    for (size_t i = 0; i < 512 * depth; i++) x[i] = (float)(i % 257) / 257 - 0.5f;
    for (size_t i = 0; i < 512 * columns; i++) y[i] = (float)(i % 253) / 253 - 0.5f;

    for (kind kind = FLOAT32; kind <= WEIGHT_GRADIENT; kind++) {
        kernel_weights weights = weights_of(kind);
        size_t bytes = kernel_panels_bytes(weights, columns, depth);
        for (size_t i = 0; i < copies && kind < INPUT_GRADIENT; i++)
            kernel_pack(weights, plain + i * count, depth, 1, 0, columns, depth,
                (char *)panels + i * bytes, column_units);
        kernel_quantize(x, depth, 512, depth, kind == INT8 ? 8 : 16, (int16_t *)integers,
            depth, row_units);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (kind >= INPUT_GRADIENT && rows[i] < 32) continue;
            problem p = {kind, rows[i], depth, columns, copies, bytes, x, y, plain,
                (int16_t *)integers, row_units, column_units, (char *)panels, out};
            double mine = seconds(ours, &p), theirs = seconds(openblas, &p);
            double operations = 2.0 * (double)(rows[i] * count) / 1e9;
            printf("%-13s %4zu x %4zu x %5zu  %7.1f  %4.0f %%  %6.1f  %5.2f\n", names[kind],
                rows[i], depth, columns, operations / mine,
                100 * operations / mine / peaks[weights], (double)bytes / mine / 1e9,
                theirs / mine);
            fflush(stdout);
        }
    }
    free(plain);
    free(panels);
    free(x);
    free(y);
    free(out);
    free(integers);
    free(row_units);
    free(column_units);
}

int main(void) {
    openblas_set_num_threads(1);
    double peaks[] = {
        peak(registers_float32()), peak(registers_bf16()), peak(registers_int8())};
    printf("one thread; registers reach %.1f GFLOP/s float32, %.1f bf16, %.1f Gop/s int8;\n"
           "OpenBLAS computes in float32\n",
        peaks[0], peaks[1], peaks[2]);
    printf("weights       rows x depth x columns  Gop/s    peak    GB/s  to OpenBLAS\n");
    measure(768, 768, peaks);
    measure(768, 3072, peaks);
    measure(3072, 768, peaks);
    measure(768, 32128, peaks);
    return 0;
}
