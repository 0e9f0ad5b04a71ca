/*
 * dispatch.c - chooses this processor's kernels, and the public names.
 */
#include "kernel_table.h"

#include <stdatomic.h>

static const kernel_table *table_of(kernel_level level) {
#if defined(__x86_64__)
    if (level == KERNEL_AVX512_PAIRS) return &kernel_table_avx512_pairs;
    if (level == KERNEL_AVX512) return &kernel_table_avx512;
    if (level == KERNEL_AVX2) return &kernel_table_avx2;
#endif
    return level == KERNEL_PORTABLE ? &kernel_table_portable : NULL;
}

kernel_level kernel_level_best(void) {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return KERNEL_PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return KERNEL_AVX2;
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16")
               ? KERNEL_AVX512_PAIRS
               : KERNEL_AVX512;
#else
    return KERNEL_PORTABLE;
#endif
}

/* NULL until first used. Threads that race store the same table. */
static _Atomic(const kernel_table *) current;

static const kernel_table *table(void) {
    const kernel_table *chosen = atomic_load_explicit(&current, memory_order_relaxed);
    if (chosen) return chosen;
    const kernel_table *best = table_of(kernel_level_best()), *none = NULL;
    atomic_compare_exchange_strong(&current, &none, best);
    return none ? none : best;
}

kernel_level kernel_level_current(void) {
    const kernel_table *used = table();
#if defined(__x86_64__)
    if (used == &kernel_table_avx512_pairs) return KERNEL_AVX512_PAIRS;
    if (used == &kernel_table_avx512) return KERNEL_AVX512;
    if (used == &kernel_table_avx2) return KERNEL_AVX2;
#endif
    return used == &kernel_table_portable ? KERNEL_PORTABLE : kernel_level_best();
}

int kernel_level_select(kernel_level level) {
    const kernel_table *wanted = table_of(level);
    if (!wanted || level > kernel_level_best()) return 0;
    atomic_store(&current, wanted);
    return 1;
}

void kernel_table_use(const kernel_table *wanted) { atomic_store(&current, wanted); }

void kernel_product(const kernel_product_shape *shape, const void *x,
    const float *row_units, const void *panels, const float *column_units, float *out) {
    table()->product(shape, x, row_units, panels, column_units, out);
}

size_t kernel_packed_rows_floats(const kernel_product_shape *shape) {
    return table()->packed_rows_floats(shape);
}

size_t kernel_depth_blocks(const kernel_product_shape *shape) {
    return table()->depth_blocks(shape);
}

void kernel_pack_rows(const kernel_product_shape *shape, const void *x, size_t first_block,
    size_t end_block, float *out) {
    table()->pack_rows(shape, x, first_block, end_block, out);
}

void kernel_quantize(const float *x, size_t x_stride, size_t rows, size_t depth, int bits,
    int16_t *out, size_t out_stride, float *row_units) {
    table()->quantize(x, x_stride, rows, depth, bits, out, out_stride, row_units);
}

void kernel_rms_norm(const float *x, size_t x_stride, const float *weight, float epsilon,
    size_t rows, size_t width, float *out, size_t out_stride, float *inverse_rms) {
    table()->rms_norm(
        x, x_stride, weight, epsilon, rows, width, out, out_stride, inverse_rms);
}

void kernel_rms_norm_again(const float *x, size_t x_stride, const float *weight,
    const float *inverse_rms, size_t rows, size_t width, float *out, size_t out_stride) {
    table()->rms_norm_again(x, x_stride, weight, inverse_rms, rows, width, out, out_stride);
}

void kernel_rms_norm_backward(const float *dout, size_t dout_stride, const float *x,
    size_t x_stride, const float *weight, const float *inverse_rms, size_t rows,
    size_t width, float *dx, size_t dx_stride, float *dweight) {
    table()->rms_norm_backward(dout, dout_stride, x, x_stride, weight, inverse_rms, rows,
        width, dx, dx_stride, dweight);
}

void kernel_add(const float *x, size_t x_stride, size_t rows, size_t width, float *out,
    size_t out_stride) {
    table()->add(x, x_stride, rows, width, out, out_stride);
}

void kernel_scale(const float *x, size_t x_stride, float factor, size_t rows, size_t width,
    float *out, size_t out_stride) {
    table()->scale(x, x_stride, factor, rows, width, out, out_stride);
}

void kernel_activate(kernel_activation activation, int gated, const float *x,
    size_t x_stride, size_t rows, size_t width, float *out, size_t out_stride) {
    table()->activate(activation, gated, x, x_stride, rows, width, out, out_stride);
}

void kernel_activate_backward(kernel_activation activation, int gated, const float *dout,
    size_t dout_stride, const float *x, size_t x_stride, size_t rows, size_t width,
    float *dx, size_t dx_stride) {
    table()->activate_backward(
        activation, gated, dout, dout_stride, x, x_stride, rows, width, dx, dx_stride);
}

float kernel_log_sum_exp(const float *x, size_t count) {
    return table()->log_sum_exp(x, count);
}

float kernel_exp(const float *x, float offset, size_t count, float *out) {
    return table()->exp(x, offset, count, out);
}

size_t kernel_candidates(const float *scores, const float *errors, float size, size_t count,
    int32_t *indices, size_t room) {
    return table()->candidates(scores, errors, size, count, indices, room);
}

size_t kernel_argmax(const float *x, size_t count) { return table()->argmax(x, count); }

size_t kernel_next_above(
    const float *x, size_t first, size_t count, float added, float floor) {
    return table()->next_above(x, first, count, added, floor);
}

void kernel_attention(const kernel_attention_shape *shape, const float *q, const void *keys,
    const void *values, const float *bias, float *out, float *log_sums) {
    table()->attention(shape, q, keys, values, bias, out, log_sums);
}

void kernel_attention_backward(const kernel_attention_shape *shape, const float *q,
    const float *k, const float *v, const float *bias, const float *out,
    const float *log_sums, const float *dout, float *dq, float *dk, float *dv, float *dbias,
    float *scratch) {
    table()->attention_backward(
        shape, q, k, v, bias, out, log_sums, dout, dq, dk, dv, dbias, scratch);
}

void kernel_drop(const kernel_dropout *dropout, uint64_t first, size_t count, float *x) {
    table()->drop(dropout, first, count, x);
}

void kernel_sgd(const kernel_sgd_settings *settings, const float *gradient,
    const float *reference, size_t count, float *weight, float *momentum) {
    table()->sgd(settings, gradient, reference, count, weight, momentum);
}

void kernel_adafactor_moments(const kernel_adafactor_settings *settings,
    const float *gradient, size_t rows, size_t columns, double *row_sums,
    double *column_sums) {
    table()->adafactor_moments(settings, gradient, rows, columns, row_sums, column_sums);
}

double kernel_adafactor_update(const kernel_adafactor_settings *settings,
    const float *gradient, const float *row_factors, const float *column_factors,
    const float *reference, size_t rows, size_t columns, float *v, float *weight) {
    return table()->adafactor_update(settings, gradient, row_factors, column_factors,
        reference, rows, columns, v, weight);
}

void kernel_adamw(const kernel_adamw_settings *settings, const float *gradient,
    const float *reference, size_t count, float *weight, float *m, float *v) {
    table()->adamw(settings, gradient, reference, count, weight, m, v);
}

double kernel_square_sum(const float *x, size_t count) {
    return table()->square_sum(x, count);
}
