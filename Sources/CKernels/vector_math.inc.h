/*
 * vector_math.inc.h - exp, log-sum-exp and the largest value of a row.
 */

/* Below this, exp is 0: log(2^-126) is -87.33. */
#define EXP_LOWEST (-87.3f)
/* Above this, exp is infinite: log(FLT_MAX) is 88.7228. */
#define EXP_HIGHEST 88.7228394f

/* exp within 2 ulp.
 *
 * x = n log 2 + r with |r| <= log(2) / 2. log 2 is split in two, the first with 9 zero
 * bits at its end, so that n log 2 loses nothing (Cody and Waite, 1980). exp(r) is its
 * Taylor series to r^7 / 7!: what is left out is below 0.35^8 / 8! = 6e-9, a tenth of an
 * ulp. 2^n is applied in two halves, as n may be 128. NaN stays NaN. */
INLINE vec exponential(vec x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    vec clamped = blend(x < EXP_LOWEST, splat(EXP_LOWEST), x);
    clamped = blend(clamped > EXP_HIGHEST, splat(EXP_HIGHEST), clamped);

    vec shifted = multiply_add(clamped, splat(1.44269504f), splat(magic)); /* 1 / log 2 */
    vec n = shifted - magic;
    vec r = multiply_add(n, splat(-0x1.62e400p-1f), clamped);
    r = multiply_add(n, splat(-0x1.7f7d1cp-20f), r);

    vec series = splat(1.0f / 5040);
    series = multiply_add(series, r, splat(1.0f / 720));
    series = multiply_add(series, r, splat(1.0f / 120));
    series = multiply_add(series, r, splat(1.0f / 24));
    series = multiply_add(series, r, splat(1.0f / 6));
    series = multiply_add(series, r, splat(0.5f));
    series = multiply_add(series * r, r, r) + 1.0f;

    /* n as an integer, plus 256 so that halving it rounds down. */
    bits_vec whole = (bits_vec)shifted - (0x4b400000u - 256u);
    bits_vec half = whole >> 1;
    vec low = (vec)((half + (127u - 128u)) << 23);
    vec high = (vec)((whole - half + (127u - 128u)) << 23);
    vec result = series * low * high;
    result = blend(x < EXP_LOWEST, splat(0), result);
    return blend(x > EXP_HIGHEST, splat(INFINITY), result);
}

/* 1 / (1 + exp(-x)). */
INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }

/* Vectors whose sum is kept in float before it joins a sum in double. */
enum { SUM_BLOCK = 16 };

/* out[i] = exp(x[i] - offset) if out; returns the sum. */
INLINE double exponentials(const float *x, float offset, size_t count, float *out) {
    double total = 0;
    for (size_t start = 0; start < count; start += SUM_BLOCK * LANES) {
        size_t left = count - start;
        size_t end = start + (left < SUM_BLOCK * LANES ? left : SUM_BLOCK * LANES);
        vec block = splat(0);
        size_t i = start;
        for (; i + LANES <= end; i += LANES) {
            vec e = exponential(load(x + i) - offset);
            if (out) store(out + i, e);
            block += e;
        }
        if (i < end) {
            vec e = exponential(load_part(x + i, end - i, 0) - offset);
            if (out) store_part(out + i, e, end - i);
            vec counted = splat(0);
            memcpy(&counted, &e, (end - i) * sizeof(float));
            block += counted;
        }
        total += (double)sum(block);
    }
    return total;
}

/* The largest value, numbers before NaN; -inf if there is none. */
INLINE float row_largest(const float *x, size_t count) {
    vec best = splat(-INFINITY);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) best = larger(load(x + i), best);
    if (i < count) best = larger(load_part(x + i, count - i, -INFINITY), best);
    return largest(best);
}

static float log_sum_exp(const float *x, size_t count) {
    float most = row_largest(x, count);
    if (isinf(most)) {
        for (size_t i = 0; i < count; i++)
            if (isnan(x[i])) return x[i];
        return most;
    }
    return most + (float)log(exponentials(x, most, count, NULL));
}

static float exp_row(const float *x, float offset, size_t count, float *out) {
    return (float)exponentials(x, offset, count, out);
}

static size_t argmax(const float *x, size_t count) {
    float most = row_largest(x, count);
    for (size_t i = 0; i < count; i++)
        if (x[i] == most) return i;
    return 0;
}

static size_t next_above(
    const float *x, size_t first, size_t count, float added, float floor) {
    size_t i = first;
    for (; i + LANES <= count; i += LANES) {
        if (__builtin_reduce_or(load(x + i) + added > splat(floor))) break;
    }
    for (; i < count; i++)
        if (x[i] + added > floor) return i;
    return count;
}

static size_t candidates(const float *scores, const float *errors, float size, size_t count,
    int32_t *indices, size_t room) {
    vec floors = splat(-INFINITY);
    float floor = -INFINITY;
    size_t i = 0, found = 0;
    for (; i + LANES <= count; i += LANES)
        floors = larger(load(scores + i) - load(errors + i) * size, floors);
    for (; i < count; i++) {
        float low = scores[i] - errors[i] * size;
        if (low > floor) floor = low;
    }
    if (largest(floors) > floor) floor = largest(floors);
    for (i = 0; i < count && found <= room; i += LANES) {
        size_t end = count - i < LANES ? count : i + LANES;
        if (end == i + LANES && largest(load(scores + i) + load(errors + i) * size) < floor)
            continue;
        for (size_t n = i; n < end; n++) {
            if (!(scores[n] + errors[n] * size >= floor) || isinf(scores[n])) continue;
            if (found < room) indices[found] = (int32_t)n;
            if (found++ == room) break;
        }
    }
    return found;
}

static double square_sum(const float *x, size_t count) {
    wide_vec total = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        wide_vec v = __builtin_convertvector(load(x + i), wide_vec);
        total += v * v;
    }
    double result = 0;
    for (int lane = 0; lane < LANES; lane++) result += total[lane];
    for (; i < count; i++) result += (double)x[i] * (double)x[i];
    return result;
}
