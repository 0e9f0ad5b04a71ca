/*
 * products.c - the speed of products, as a share of what the processor can do and against
 * OpenBLAS, on one thread.
 *
 * Up to 32 rows the weights come from a pool larger than the caches, as they do when a
 * model generates; at 512 they are one matrix. Every figure is the best of several passes:
 * on a busy machine compare figures of one line.
 */
#include "kernels.h"

#include <cblas.h>
#include <immintrin.h>
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

/* Billions of float operations a second that multiply-adds in registers reach. */
__attribute__((target("avx2,fma"))) static double peak(void) {
    enum { CHAINS = 12, STEPS = 2000000 };
    double best = 0;
    for (int pass = 0; pass < 8; pass++) {
        __m256 sums[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_set1_ps((float)i);
        double start = now();
        for (int step = 0; step < STEPS; step++)
            _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) sums[i] =
                _mm256_fmadd_ps(sums[i], x, y);
        double speed = 16.0 * CHAINS * STEPS / (now() - start) / 1e9;
        for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
        volatile float used = sums[0][0];
        (void)used;
        if (speed > best) best = speed;
    }
    return best;
}

typedef struct problem {
    kernel_weights weights;
    size_t rows, depth, columns, copies, bytes;
    const float *x, *plain;
    const int16_t *integers;
    const float *row_units, *column_units;
    const char *panels;
    float *out;
} problem;

static void ours(const problem *p, size_t copy) {
    int is_int8 = p->weights == KERNEL_INT8;
    kernel_product_shape shape = {p->rows, p->columns, p->depth, p->depth, 1, p->columns, 0,
        (p->columns + KERNEL_PANEL - 1) / KERNEL_PANEL, p->weights, 0};
    kernel_product(&shape, is_int8 ? (const void *)p->integers : (const void *)p->x,
        is_int8 ? p->row_units : NULL, p->panels + copy * p->bytes,
        is_int8 ? p->column_units : NULL, p->out);
}

static void openblas(const problem *p, size_t copy) {
    int rows = (int)p->rows, columns = (int)p->columns, depth = (int)p->depth;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, depth, 1, p->x,
        depth, p->plain + copy * p->columns * p->depth, depth, 0, p->out, columns);
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

static void measure(size_t depth, size_t columns, double peak) {
    static const size_t rows[] = {1, 8, 32, 512};
    static const char *const names[] = {"float32", "bf16", "int8"};
    size_t count = columns * depth;
    size_t copies = POOL_FLOATS / count > 1 ? POOL_FLOATS / count : 1;
    float *plain = floats(copies * count), *panels = floats(copies * count + 32 * depth);
    float *x = floats(512 * depth), *out = floats(512 * columns);
    float *integers = floats(256 * depth + 1), *row_units = floats(512);
    float *column_units = floats(columns + KERNEL_PANEL);
    for (size_t i = 0; i < copies * count; i++) plain[i] = (float)(i % 251) / 251 - 0.5f;
    for (size_t i = 0; i < 512 * depth; i++) x[i] = (float)(i % 257) / 257 - 0.5f;
    kernel_quantize(x, depth, 512, depth, (int16_t *)integers, depth, row_units);

    for (int weights = KERNEL_FLOAT32; weights <= KERNEL_INT8; weights++) {
        size_t bytes = kernel_panels_bytes(weights, columns, depth);
        for (size_t i = 0; i < copies; i++)
            kernel_pack(weights, plain + i * count, depth, 1, 0, columns, depth,
                (char *)panels + i * bytes, column_units);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            problem p = {weights, rows[i], depth, columns, copies, bytes, x, plain,
                (int16_t *)integers, row_units, column_units, (char *)panels, out};
            double mine = seconds(ours, &p), theirs = seconds(openblas, &p);
            double work = 2.0 * (double)(rows[i] * count) / 1e9;
            printf("%-7s %4zu x %4zu x %5zu  %7.1f  %4.0f %%  %6.1f  %5.2f\n",
                names[weights], rows[i], depth, columns, work / mine,
                100 * work / mine / peak, (double)bytes / mine / 1e9, theirs / mine);
            fflush(stdout);
        }
    }
    free(plain);
    free(panels);
    free(x);
    free(out);
    free(integers);
    free(row_units);
    free(column_units);
}

int main(void) {
    openblas_set_num_threads(1);
    double most = peak();
    printf("one thread; float32 peak %.1f GFLOP/s; OpenBLAS computes in float32\n", most);
    printf("weights rows x depth x columns  GFLOP/s  peak    GB/s  to OpenBLAS\n");
    measure(768, 768, most);
    measure(768, 3072, most);
    measure(3072, 768, most);
    measure(768, 32128, most);
    return 0;
}
