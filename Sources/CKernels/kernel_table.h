/*
 * kernel_table.h - what one processor's compilation of the kernels provides.
 */
#ifndef UNSAY_KERNEL_TABLE_H
#define UNSAY_KERNEL_TABLE_H

#include "kernels.h"

typedef struct kernel_table {
    void (*product)(const kernel_product_shape *shape, const void *x,
        const float *row_units, const void *panels, const float *column_units, float *out);
    size_t (*packed_rows_floats)(const kernel_product_shape *shape);
    size_t (*depth_blocks)(const kernel_product_shape *shape);
    void (*pack_rows)(const kernel_product_shape *shape, const void *x, size_t first_block,
        size_t end_block, float *out);
    void (*quantize)(const float *x, size_t x_stride, size_t rows, size_t depth, int bits,
        int16_t *out, size_t out_stride, float *row_units);
    void (*rms_norm)(const float *x, size_t x_stride, const float *weight, float epsilon,
        size_t rows, size_t width, float *out, size_t out_stride, float *inverse_rms);
    void (*rms_norm_again)(const float *x, size_t x_stride, const float *weight,
        const float *inverse_rms, size_t rows, size_t width, float *out, size_t out_stride);
    void (*rms_norm_backward)(const float *dout, size_t dout_stride, const float *x,
        size_t x_stride, const float *weight, const float *inverse_rms, size_t rows,
        size_t width, float *dx, size_t dx_stride, float *dweight);
    void (*add)(const float *x, size_t x_stride, size_t rows, size_t width, float *out,
        size_t out_stride);
    void (*scale)(const float *x, size_t x_stride, float factor, size_t rows, size_t width,
        float *out, size_t out_stride);
    void (*activate)(kernel_activation activation, int gated, const float *x,
        size_t x_stride, size_t rows, size_t width, float *out, size_t out_stride);
    void (*activate_backward)(kernel_activation activation, int gated, const float *dout,
        size_t dout_stride, const float *x, size_t x_stride, size_t rows, size_t width,
        float *dx, size_t dx_stride);
    float (*log_sum_exp)(const float *x, size_t count);
    float (*exp)(const float *x, float offset, size_t count, float *out);
    size_t (*argmax)(const float *x, size_t count);
    size_t (*next_above)(
        const float *x, size_t first, size_t count, float added, float floor);
    size_t (*candidates)(const float *scores, const float *errors, float size, size_t count,
        int32_t *indices, size_t room);
    void (*attention)(const kernel_attention_shape *shape, const float *q, const void *keys,
        const void *values, const float *bias, float *out, float *log_sums);
    void (*attention_backward)(const kernel_attention_shape *shape, const float *q,
        const float *k, const float *v, const float *bias, const float *out,
        const float *log_sums, const float *dout, float *dq, float *dk, float *dv,
        float *dbias, float *scratch);
    void (*drop)(const kernel_dropout *dropout, uint64_t first, size_t count, float *x);
    void (*sgd)(const kernel_sgd_settings *settings, const float *gradient,
        const float *reference, size_t count, float *weight, float *momentum);
    void (*adafactor_moments)(const kernel_adafactor_settings *settings,
        const float *gradient, size_t rows, size_t columns, double *row_sums,
        double *column_sums);
    double (*adafactor_update)(const kernel_adafactor_settings *settings,
        const float *gradient, const float *row_factors, const float *column_factors,
        const float *reference, size_t rows, size_t columns, float *v, float *weight);
    void (*adamw)(const kernel_adamw_settings *settings, const float *gradient,
        const float *reference, size_t count, float *weight, float *m, float *v);
    double (*square_sum)(const float *x, size_t count);
} kernel_table;

extern const kernel_table kernel_table_portable, kernel_table_avx2, kernel_table_avx512,
    kernel_table_avx512_pairs;

/* Uses a table of the caller's from now on: for tests of a geometry this processor would
 * not choose. kernel_level_select undoes it. */
void kernel_table_use(const kernel_table *table);

#endif
