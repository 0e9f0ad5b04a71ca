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
    size_t rows, depth, columns, copies;
    const float *x, *panels, *weights;
    float *out;
} problem;

static void ours(const problem *p, size_t copy) {
    size_t size = kernel_panels_size(p->columns, p->depth);
    kernel_product(p->rows, p->columns, p->depth, p->x, p->depth, 1,
        p->panels + copy * size, 0, (p->columns + KERNEL_PANEL - 1) / KERNEL_PANEL, p->out,
        p->columns, 0);
}

static void openblas(const problem *p, size_t copy) {
    int rows = (int)p->rows, columns = (int)p->columns, depth = (int)p->depth;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, depth, 1, p->x,
        depth, p->weights + copy * p->columns * p->depth, depth, 0, p->out, columns);
}

/* Billions of float operations a second: the best pass over the pool. */
static double speed(void (*product)(const problem *, size_t), const problem *p) {
    double best = 1e9, start = now();
    size_t copies = p->rows > 32 ? 1 : p->copies;
    for (int pass = 0; pass < 3 || now() - start < SECONDS; pass++) {
        double begin = now();
        for (size_t copy = 0; copy < copies; copy++) product(p, copy);
        double seconds = (now() - begin) / (double)copies;
        if (seconds < best) best = seconds;
    }
    return 2.0 * (double)(p->rows * p->depth * p->columns) / best / 1e9;
}

static void measure(size_t depth, size_t columns, double peak) {
    static const size_t rows[] = {1, 8, 32, 512};
    size_t count = columns * depth, size = kernel_panels_size(columns, depth);
    size_t copies = POOL_FLOATS / count > 1 ? POOL_FLOATS / count : 1;
    float *weights = floats(copies * count), *panels = floats(copies * size);
    float *x = floats(512 * depth), *out = floats(512 * columns);
    for (size_t i = 0; i < copies * count; i++) weights[i] = (float)(i % 251) / 251 - 0.5f;
    for (size_t i = 0; i < 512 * depth; i++) x[i] = (float)(i % 257) / 257 - 0.5f;
    for (size_t i = 0; i < copies; i++)
        kernel_pack(weights + i * count, depth, 1, 0, columns, depth, panels + i * size);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        problem p = {rows[i], depth, columns, copies, x, panels, weights, out};
        double mine = speed(ours, &p), theirs = speed(openblas, &p);
        printf("%4zu x %4zu x %5zu  %7.1f  %4.0f %%  %7.1f  %5.2f\n", rows[i], depth,
            columns, mine, 100 * mine / peak, theirs, mine / theirs);
        fflush(stdout);
    }
    free(weights);
    free(panels);
    free(x);
    free(out);
}

int main(void) {
    openblas_set_num_threads(1);
    double most = peak();
    printf("float32, one thread; peak %.1f GFLOP/s\n", most);
    printf("rows x depth x columns  GFLOP/s  peak  OpenBLAS  ratio\n");
    measure(768, 768, most);
    measure(768, 3072, most);
    measure(3072, 768, most);
    measure(768, 32128, most);
    return 0;
}
