/*
 * vector.inc.h - the vector type every kernel is written in.
 *
 * Included, with the other .inc.h files, once for each processor. The including file sets
 *
 *   LANES      floats in a vector: 4, 8 or 16
 *   FUSED      1 if the processor multiplies and adds in one rounding
 *
 * and the geometry of products (products.inc.h). LANES need not be the width of a register:
 * the compiler splits longer vectors, with the same results.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("clang loop unroll(full)")

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float vec_in_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask_vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits_vec __attribute__((vector_size(4 * LANES)));
typedef double wide_vec __attribute__((vector_size(8 * LANES)));
typedef int16_t shorts_vec __attribute__((vector_size(4 * LANES)));
typedef int16_t half_shorts_vec __attribute__((vector_size(2 * LANES)));
typedef float quad __attribute__((vector_size(16)));

INLINE vec load(const float *p) { return *(const vec_in_memory *)p; }

INLINE void store(float *p, vec v) { *(vec_in_memory *)p = v; }

INLINE quad load_quad(const float *p) {
    quad v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_quad(float *p, quad v) { memcpy(p, &v, sizeof v); }

/* x - 0 is x for every x, so this compiles to a broadcast. */
INLINE vec splat(float x) { return x - (vec){0}; }

/* Any 32 bits at p, in every lane. */
INLINE vec splat_bits(const float *p) {
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    return (vec)(bits | (bits_vec){0});
}

/* sum[i] + a[2i] b[2i] + a[2i + 1] b[2i + 1], modulo 2^32. */
INLINE mask_vec add_pairs(mask_vec sum, shorts_vec a, shorts_vec b) {
#ifdef ADD_PAIRS
    return ADD_PAIRS(sum, a, b);
#else
    mask_vec low =
        ((mask_vec)((bits_vec)a << 16) >> 16) * ((mask_vec)((bits_vec)b << 16) >> 16);
    mask_vec high = ((mask_vec)a >> 16) * ((mask_vec)b >> 16);
    return (mask_vec)((bits_vec)sum + (bits_vec)low + (bits_vec)high);
#endif
}

/* The same of pairs of bf16, where a processor has that. */
#ifdef ADD_PAIRS_BF16
#define MULTIPLIES_BF16 1
INLINE vec add_pairs_bf16(vec sum, vec a, vec b) { return ADD_PAIRS_BF16(sum, a, b); }
#else
#define MULTIPLIES_BF16 0
INLINE vec add_pairs_bf16(vec sum, vec a, vec b) { return (void)a, (void)b, sum; }
#endif

/* sum[i] + a[4i] b[4i] + ... + a[4i + 3] b[4i + 3], of unsigned bytes a and signed bytes b,
 * where a processor has that. */
#ifdef ADD_QUADS
#define MULTIPLIES_QUADS 1
INLINE mask_vec add_quads(mask_vec sum, vec a, vec b) { return ADD_QUADS(sum, a, b); }
#else
#define MULTIPLIES_QUADS 0
INLINE mask_vec add_quads(mask_vec sum, vec a, vec b) { return (void)a, (void)b, sum; }
#endif

/* The first `count` floats at p, then `rest`. */
INLINE vec load_part(const float *p, size_t count, float rest) {
    vec v = splat(rest);
    memcpy(&v, p, count * sizeof(float));
    return v;
}

INLINE void store_part(float *p, vec v, size_t count) {
    memcpy(p, &v, count * sizeof(float));
}

/* a * b + c. */
INLINE vec multiply_add(vec a, vec b, vec c) {
#if FUSED
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE float multiply_add_one(float a, float b, float c) {
#if FUSED
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE vec blend(mask_vec mask, vec yes, vec no) {
    return (vec)(((bits_vec)mask & (bits_vec)yes) | (~(bits_vec)mask & (bits_vec)no));
}

INLINE vec larger(vec a, vec b) { return blend(a > b, a, b); }

/* Lane i, i + 4, i + 8, ... added up, in a fixed order. */
INLINE quad fold(vec v) {
#if LANES == 16
    typedef float half __attribute__((vector_size(32)));
    half h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif LANES == 8
    vec h = v;
#endif
#if LANES >= 8
    return __builtin_shufflevector(h, h, 0, 1, 2, 3) +
           __builtin_shufflevector(h, h, 4, 5, 6, 7);
#else
    return v;
#endif
}

INLINE float sum(vec v) {
    quad q = fold(v);
    return (q[0] + q[2]) + (q[1] + q[3]);
}

/* Of numbers; what is equal, as 0 and -0, may be either. */
INLINE float largest(vec v) {
#if LANES == 16
    v = larger(v, __builtin_shufflevector(
                      v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = larger(v, __builtin_shufflevector(
                      v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
#elif LANES == 8
    v = larger(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
#endif
    float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
    return a > b ? a : b;
}
