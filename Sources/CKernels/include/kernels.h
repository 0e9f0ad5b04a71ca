/*
 * kernels.h - the arithmetic of T5, single-threaded, over ranges of rows.
 *
 * Threads live in thread_pool.h and in the Swift target Tensors, never here. Every
 * function has one body, compiled for several processors (kernel_level) and chosen at run
 * time.
 *
 * One rule makes an output depend on nothing but its own input: a row's result never
 * depends on which other rows are computed with it. Every sum has one fixed order.
 *
 * Shapes are row-major; a `_stride` is the distance in floats from one row to the next.
 */
#ifndef UNSAY_KERNELS_H
#define UNSAY_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* ---- Which processor ---------------------------------------------------- */

typedef enum kernel_level {
    KERNEL_PORTABLE = 0,    /* any processor, no fused multiply-add              */
    KERNEL_AVX2 = 1,        /* AVX2 and FMA                                      */
    KERNEL_AVX512 = 2,      /* AVX-512 F, BW, DQ, VL                             */
    KERNEL_AVX512_PAIRS = 3 /* and VNNI and BF16: Zen 4, Sapphire Rapids ...  */
} kernel_level;

/* The highest level this processor runs; the level in use; a level to use from now on
 * (tests): 0 if this processor lacks it. Results differ between levels in the last bits,
 * so set it before any weight is used. */
kernel_level kernel_level_best(void);
kernel_level kernel_level_current(void);
int kernel_level_select(kernel_level level);

/* ---- Products ------------------------------------------------------------ */

/* A weight matrix is kept as panels of KERNEL_PANEL output columns: panel p holds, for
 * each depth index k, the weights of outputs p * KERNEL_PANEL + 0...31, one after the
 * other. The last panel is padded with zeros. The layout is the same at every level. */
enum { KERNEL_PANEL = 32 };

/* What weights are kept in. Those of 16 bits lie in pairs: at each depth index 2k, and for
 * each output, its weights 2k and 2k + 1; those of 8 bits in quads. What lies beyond the
 * depth stands for 0. */
typedef enum kernel_weights {
    KERNEL_FLOAT32 = 0,
    KERNEL_BF16 = 1, /* float32 rounded to its upper half                    */
    KERNEL_INT8 = 2  /* -127...127 times a unit of its output, kept as 1...255 */
} kernel_weights;

/* The bytes of a packed matrix of `columns` outputs and `depth` inputs. */
size_t kernel_panels_bytes(kernel_weights weights, size_t columns, size_t depth);

/* Packs outputs [first, end) of a matrix; element (output n, depth k) of the source is
 * source[(n - first) * output_stride + k * depth_stride], at any address. Leaves other
 * outputs alone: zero the panels first if columns is no multiple of KERNEL_PANEL.
 * column_units: of int8, one for each output and for those of padding; else NULL. */
void kernel_pack(kernel_weights weights, const float *source, size_t output_stride,
    size_t depth_stride, size_t first, size_t end, size_t depth, void *panels,
    float *column_units);

/* The reverse, in float32: writes outputs [first, end), [end - first, depth], to `out`. */
void kernel_unpack(kernel_weights weights, const void *panels, const float *column_units,
    size_t first, size_t end, size_t depth, float *out, size_t out_stride);

/* x rounded to bf16, to nearest and even; NaN stays NaN. */
static inline uint16_t kernel_bf16(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 64 : rounded);
}

/* out[r, n] = sum_k x[r, k] * weights[n, k], added to out if `adds`; for outputs of panels
 * [first_panel, end_panel) below `columns`. out[r, n] is out[r * out_stride + n] with n
 * counted from the matrix's output 0.
 *
 * x[r, k] is x[r * row_stride + k * depth_stride]: floats, or, for int8 weights, integers
 * of kernel_quantize with input_bits, times row_units[r]. depth_stride is 1 for int8. With
 * bf16 weights x is rounded to bf16 where the processor multiplies that. */
typedef struct kernel_product_shape {
    size_t rows, columns, depth;
    size_t row_stride, depth_stride, out_stride;
    size_t first_panel, end_panel;
    kernel_weights weights;
    int input_bits; /* of int8 weights: 8 or 16 */
    int adds;
    int is_packed; /* x was packed by kernel_pack_rows; its strides are not read */
} kernel_product_shape;

void kernel_product(const kernel_product_shape *shape, const void *x,
    const float *row_units, const void *panels, const float *column_units, float *out);

/* Packs all rows of x once where several calls multiply them, each by panels of its own;
 * blocks [first_block, end_block) of the kernel_depth_blocks that the depth is divided
 * into. The shape is that of the calls, but for panels, adds and is_packed; every call has
 * all rows. out: kernel_packed_rows_floats(shape). */
size_t kernel_packed_rows_floats(const kernel_product_shape *shape);
size_t kernel_depth_blocks(const kernel_product_shape *shape);
void kernel_pack_rows(const kernel_product_shape *shape, const void *x, size_t first_block,
    size_t end_block, float *out);

/* x[r, k] = row_units[r] * out[r, k], with out from -127 to 127 for 8 bits, from -32639 to
 * 32639 for 16; a row that is not finite becomes NaN. */
void kernel_quantize(const float *x, size_t x_stride, size_t rows, size_t depth, int bits,
    int16_t *out, size_t out_stride, float *row_units);

/* ---- Rows ---------------------------------------------------------------- */

/* T5's layer norm: divide each row by its root mean square, then scale.
 *
 *   out[r, i] = x[r, i] * inverse_rms[r] * weight[i]
 *   inverse_rms[r] = 1 / sqrt(mean_i x[r, i]^2 + epsilon)
 *
 * weight: [width]. inverse_rms: [rows], kept for the backward pass; may be NULL. out may
 * be x. No bias, no mean subtraction. */
void kernel_rms_norm(const float *x, size_t x_stride, const float *weight, float epsilon,
    size_t rows, size_t width, float *out, size_t out_stride, float *inverse_rms);

/* The same out, to the bit, from the inverse_rms that kernel_rms_norm wrote. */
void kernel_rms_norm_again(const float *x, size_t x_stride, const float *weight,
    const float *inverse_rms, size_t rows, size_t width, float *out, size_t out_stride);

/* Adds to dx, [rows, width], and dweight, [width]. */
void kernel_rms_norm_backward(const float *dout, size_t dout_stride, const float *x,
    size_t x_stride, const float *weight, const float *inverse_rms, size_t rows,
    size_t width, float *dx, size_t dx_stride, float *dweight);

/* out += x, [rows, width]. */
void kernel_add(const float *x, size_t x_stride, size_t rows, size_t width, float *out,
    size_t out_stride);

/* out = x * factor; out may be x. */
void kernel_scale(const float *x, size_t x_stride, float factor, size_t rows, size_t width,
    float *out, size_t out_stride);

typedef enum kernel_activation {
    KERNEL_RELU = 0,
    KERNEL_GELU_NEW = 1, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))      */
    KERNEL_GELU = 2,     /* x/2 (1 + erf(x / sqrt 2))                          */
    KERNEL_SILU = 3      /* x / (1 + exp(-x))                                  */
} kernel_activation;

/* out[r, i] = act(x[r, i]), or, gated, act(x[r, i]) * x[r, width + i]. x: [rows, width] or
 * [rows, 2 * width]; out: [rows, width]. out may be x. */
void kernel_activate(kernel_activation activation, int gated, const float *x,
    size_t x_stride, size_t rows, size_t width, float *out, size_t out_stride);

/* Overwrites dx, shaped as x. Rows of dout may be the beginnings of those of dx. */
void kernel_activate_backward(kernel_activation activation, int gated, const float *dout,
    size_t dout_stride, const float *x, size_t x_stride, size_t rows, size_t width,
    float *dx, size_t dx_stride);

/* log sum_i exp(x[i]), with the largest x taken out first. -inf for a row of -inf. */
float kernel_log_sum_exp(const float *x, size_t count);

/* out[i] = exp(x[i] - offset); returns their sum. out may be x. exp within 2 ulp, 0 below
 * -87.3. */
float kernel_exp(const float *x, float offset, size_t count, float *out);

/* The lowest index of the largest value. count > 0. */
size_t kernel_argmax(const float *x, size_t count);

/* The lowest index from `first` on with x[i] + added > floor; count if there is none. */
size_t kernel_next_above(
    const float *x, size_t first, size_t count, float added, float floor);

/* Where exact[n] lies within size * errors[n] of scores[n] for every n: writes, ascending,
 * the indices that may be the largest of `exact`; returns their number, or room + 1 if
 * there are more than `room`. size and errors are not negative; a score of -inf is never
 * one of them. */
size_t kernel_candidates(const float *scores, const float *errors, float size, size_t count,
    int32_t *indices, size_t room);

/* ---- Dropout ------------------------------------------------------------- */

/* Element `index` of what a key stands for stays, times factor = 1 / (1 - rate), if a hash
 * of both is at least threshold = rate * 2^32; else it becomes 0. threshold 0: all stay as
 * they are. Indices count modulo 2^32. */
typedef struct kernel_dropout {
    uint64_t key;
    uint32_t threshold;
    float factor;
} kernel_dropout;

/* x[j] is element first + j. */
void kernel_drop(const kernel_dropout *dropout, uint64_t first, size_t count, float *x);

/* ---- Attention ----------------------------------------------------------- */

/* One head over one sequence. Query i stands at position first_query + i.
 *
 *   score[i, j] = q[i] . k[j] + bias[j - (first_query + i)]
 *   out[i] = sum_j softmax_j(score[i, j]) v[j]
 *
 * T5 does not divide by sqrt(d_kv). q, out: [queries, d_kv]; k, v: [keys, d_kv], packed in
 * panels of float32 or bf16: the keys as kernel_pack packs `keys` outputs of depth d_kv,
 * the values as it packs d_kv outputs of depth value_rows >= keys; of bf16, a row of values
 * after an even last one is 0 or finite. With bf16, q and the softmax are rounded, too,
 * where the processor multiplies that. bias points at the entry for distance 0 and may be
 * NULL; it is read from -(first_query + queries - 1) to keys - 1 - first_query. causal:
 * keys after the query's own position are left out. log_sums: [queries], log-sum-exp of the
 * scores, for the backward pass; may be NULL. Works in blocks of keys: no array of scores
 * is kept, and a query's result does not depend on how many queries are asked for at once.
 */
enum {
    KERNEL_KEY_BLOCK = 64,  /* keys that a query meets before another takes its turn */
    KERNEL_QUERY_GROUP = 48 /* queries that take turns */
};

typedef struct kernel_attention_shape {
    size_t queries, keys, d_kv, first_query;
    size_t q_stride, out_stride;
    size_t k_stride, v_stride; /* of the backward pass, whose k and v are plain rows */
    size_t value_rows;         /* of the forward pass */
    kernel_weights weights;    /* of the forward pass: KERNEL_FLOAT32 or KERNEL_BF16 */
    kernel_dropout dropout;    /* of the softmax; element (i, j) is i * keys + j */
    int causal;
} kernel_attention_shape;

void kernel_attention(const kernel_attention_shape *shape, const float *q, const void *keys,
    const void *values, const float *bias, float *out, float *log_sums);

/* Writes one position's key and value, [d_kv] each, of one head, into keys and values
 * packed as kernel_attention reads them; of bf16, an even position's clears the odd one
 * behind it. kernel_ask_key_value: brings near what that is going to write. */
void kernel_set_key_value(kernel_weights weights, const float *k, const float *v,
    size_t d_kv, size_t position, size_t value_rows, void *keys, void *values);
void kernel_ask_key_value(kernel_weights weights, size_t d_kv, size_t position,
    size_t value_rows, void *keys, void *values);

/* Its backward pass; dq, dk, dv have the strides of q, k, v; dout has out's. Adds to dq,
 * dk, dv and to dbias, indexed as bias (NULL if bias is). scratch:
 * [kernel_attention_scratch], need not be set. */
void kernel_attention_backward(const kernel_attention_shape *shape, const float *q,
    const float *k, const float *v, const float *bias, const float *out,
    const float *log_sums, const float *dout, float *dq, float *dk, float *dv, float *dbias,
    float *scratch);

static inline size_t kernel_attention_scratch(size_t d_kv) {
    size_t wide = (d_kv + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL;
    /* A block of keys in three layouts, a group of queries in two, a strip of 16 rows. */
    return wide * (3 * KERNEL_KEY_BLOCK + 2 * KERNEL_QUERY_GROUP) +
           16 * (wide < KERNEL_KEY_BLOCK ? KERNEL_KEY_BLOCK : wide);
}

/* ---- Optimizers ---------------------------------------------------------- */

/* One step of AdamW over [count] weights, in one pass:
 *
 *   m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
 *   w -= rate * (m / correction1) / (sqrt(v / correction2) + epsilon)
 *   w -= rate * decay * (w_before - reference)
 *
 * g is scale * gradient; correction = 1 - beta^step. reference NULL: decay towards 0. */
typedef struct kernel_adamw_settings {
    float rate, beta1, beta2, epsilon, correction1, correction2, decay, scale;
} kernel_adamw_settings;

void kernel_adamw(const kernel_adamw_settings *settings, const float *gradient,
    const float *reference, size_t count, float *weight, float *m, float *v);

/* One step of gradient descent with momentum, as PyTorch has it, in one pass:
 *
 *   m = momentum m + g        w -= rate * (m + decay * (w_before - reference))
 *
 * g is scale * gradient. reference NULL: decay towards 0. */
typedef struct kernel_sgd_settings {
    float rate, momentum, decay, scale;
} kernel_sgd_settings;

void kernel_sgd(const kernel_sgd_settings *settings, const float *gradient,
    const float *reference, size_t count, float *weight, float *momentum);

/* Adafactor (Shazeer and Stern, 2018) in two passes over a matrix. g is scale * gradient.
 * The first adds the sums of g^2 + epsilon over [rows, columns] to row_sums, [rows], and
 * column_sums, [columns]; neither if it is NULL. */
typedef struct kernel_adafactor_settings {
    float scale, epsilon;
    float beta2; /* of v, where it is not factored                          */
    float rate;  /* step size over the update's RMS, the weights' included  */
    float decay; /* w -= decay * (w_before - reference): times the rate     */
    float reserved;
} kernel_adafactor_settings;

void kernel_adafactor_moments(const kernel_adafactor_settings *settings,
    const float *gradient, size_t rows, size_t columns, double *row_sums,
    double *column_sums);

/* The update u = g row_factors[r] column_factors[c], or, with v, [rows, columns], instead,
 * v = beta2 v + (1 - beta2) (g^2 + epsilon) and u = g / sqrt(v). Returns sum u^2. weight
 * NULL: only that, and v is brought up to date; else v is read only, and
 * w -= rate u + decay (w - reference). */
double kernel_adafactor_update(const kernel_adafactor_settings *settings,
    const float *gradient, const float *row_factors, const float *column_factors,
    const float *reference, size_t rows, size_t columns, float *v, float *weight);

/* sum_i x[i]^2 in double. */
double kernel_square_sum(const float *x, size_t count);

#endif
