/*
 * registers.h - multiply-adds in registers, as many a second as a processor can: what
 * products are compared with. A function returns the operations it did, a multiply-add
 * being two.
 */
#ifndef UNSAY_REGISTERS_H
#define UNSAY_REGISTERS_H

#include <immintrin.h>

/* Work of one thread and the amount it does. */
typedef double work(const char *memory);

/* About a millisecond a pass: long enough for a clock, short enough to find both processors
 * of a shared machine free. */
enum { STEPS = 200000 };

__attribute__((target("avx2,fma"))) static double float32_avx2(const char *memory) {
    enum { CHAINS = 12 };
    __m256 sums[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    (void)memory;
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_set1_ps((float)i);
    for (int step = 0; step < STEPS; step++)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) sums[i] =
            _mm256_fmadd_ps(sums[i], x, y);
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    volatile float used = sums[0][0];
    (void)used;
    return 16.0 * CHAINS * STEPS;
}

__attribute__((target("avx512f"))) static double float32_avx512(const char *memory) {
    enum { CHAINS = 12 };
    __m512 sums[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    (void)memory;
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_ps((float)i);
    for (int step = 0; step < STEPS; step++)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) sums[i] =
            _mm512_fmadd_ps(sums[i], x, y);
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    volatile float used = sums[0][0];
    (void)used;
    return 32.0 * CHAINS * STEPS;
}

/* int8 without VNNI: pairs of 16 bits, added to 32. */
__attribute__((target("avx2"))) static double int8_avx2(const char *memory) {
    enum { CHAINS = 10 };
    __m256i sums[CHAINS], x = _mm256_set1_epi16(3), y = _mm256_set1_epi16(5);
    (void)memory;
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_set1_epi32(i);
    for (int step = 0; step < STEPS; step++)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+x"(x));
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(x, y));
        }
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    volatile int used = _mm256_extract_epi32(sums[0], 0);
    (void)used;
    return 32.0 * CHAINS * STEPS;
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static double int8_vnni(
    const char *memory) {
    enum { CHAINS = 12 };
    __m512i sums[CHAINS], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(5);
    (void)memory;
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_epi32(i);
    for (int step = 0; step < STEPS; step++)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) sums[i] =
            _mm512_dpbusd_epi32(sums[i], x, y);
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    volatile int used = _mm512_reduce_add_epi32(sums[0]);
    (void)used;
    return 128.0 * CHAINS * STEPS;
}

__attribute__((target("avx512f,avx512bf16"))) static double bf16_avx512(
    const char *memory) {
    enum { CHAINS = 12 };
    __m512 sums[CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f7f);
    (void)memory;
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_ps((float)i);
    for (int step = 0; step < STEPS; step++)
        _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) sums[i] =
            _mm512_dpbf16_ps(sums[i], x, x);
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    volatile float used = sums[0][0];
    (void)used;
    return 64.0 * CHAINS * STEPS;
}

/* The best of this processor. bf16 without its instructions is multiplied as float32. */
static inline work *registers_float32(void) {
    return __builtin_cpu_supports("avx512f") ? float32_avx512 : float32_avx2;
}

static inline work *registers_bf16(void) {
    return __builtin_cpu_supports("avx512bf16") ? bf16_avx512 : registers_float32();
}

static inline work *registers_int8(void) {
    return __builtin_cpu_supports("avx512vnni") ? int8_vnni : int8_avx2;
}

#endif
