/*
 * rows.inc.h - the layer norm and plain sums, row by row.
 */

INLINE void rms_norm_row(
    const float *x, const float *weight, float inverse, size_t width, float *out) {
    size_t i = 0;
    for (; i + LANES <= width; i += LANES)
        store(out + i, load(x + i) * inverse * load(weight + i));
    for (; i < width; i++) out[i] = x[i] * inverse * weight[i];
}

static void rms_norm(const float *x, size_t x_stride, const float *weight, float epsilon,
    size_t rows, size_t width, float *out, size_t out_stride, float *inverse_rms) {
    for (size_t r = 0; r < rows; r++) {
        const float *from = x + r * x_stride;
        vec even = splat(0), odd = splat(0);
        size_t i = 0;
        for (; i + 2 * LANES <= width; i += 2 * LANES) {
            vec a = load(from + i), b = load(from + i + LANES);
            even = multiply_add(a, a, even);
            odd = multiply_add(b, b, odd);
        }
        float squares = sum(even + odd);
        for (; i < width; i++) squares = multiply_add_one(from[i], from[i], squares);
        float inverse = 1.0f / sqrtf(squares / (float)width + epsilon);

        rms_norm_row(from, weight, inverse, width, out + r * out_stride);
        if (inverse_rms) inverse_rms[r] = inverse;
    }
}

static void rms_norm_again(const float *x, size_t x_stride, const float *weight,
    const float *inverse_rms, size_t rows, size_t width, float *out, size_t out_stride) {
    for (size_t r = 0; r < rows; r++)
        rms_norm_row(x + r * x_stride, weight, inverse_rms[r], width, out + r * out_stride);
}

/* With s = inverse_rms and g = dout * weight:
 *
 *   dx      += s g - x s^3 mean(g x)
 *   dweight += dout x s                                                      */
static void rms_norm_backward(const float *dout, size_t dout_stride, const float *x,
    size_t x_stride, const float *weight, const float *inverse_rms, size_t rows,
    size_t width, float *dx, size_t dx_stride, float *dweight) {
    for (size_t r = 0; r < rows; r++) {
        const float *dy = dout + r * dout_stride, *from = x + r * x_stride;
        float *to = dx + r * dx_stride;
        float inverse = inverse_rms[r];
        vec dots = splat(0);
        size_t i = 0;
        for (; i + LANES <= width; i += LANES)
            dots = multiply_add(load(dy + i) * load(weight + i), load(from + i), dots);
        float dot = sum(dots);
        for (; i < width; i++) dot = multiply_add_one(dy[i] * weight[i], from[i], dot);
        float share = inverse * inverse * inverse * (dot / (float)width);

        for (i = 0; i + LANES <= width; i += LANES) {
            vec d = load(dy + i), v = load(from + i);
            store(to + i, load(to + i) + (d * load(weight + i) * inverse - v * share));
            store(dweight + i, load(dweight + i) + d * v * inverse);
        }
        for (; i < width; i++) {
            to[i] += dy[i] * weight[i] * inverse - from[i] * share;
            dweight[i] += dy[i] * from[i] * inverse;
        }
    }
}

static void add(const float *x, size_t x_stride, size_t rows, size_t width, float *out,
    size_t out_stride) {
    for (size_t r = 0; r < rows; r++) {
        const float *from = x + r * x_stride;
        float *to = out + r * out_stride;
        size_t i = 0;
        for (; i + LANES <= width; i += LANES) store(to + i, load(to + i) + load(from + i));
        for (; i < width; i++) to[i] += from[i];
    }
}

static void scale(const float *x, size_t x_stride, float factor, size_t rows, size_t width,
    float *out, size_t out_stride) {
    for (size_t r = 0; r < rows; r++) {
        const float *from = x + r * x_stride;
        float *to = out + r * out_stride;
        size_t i = 0;
        for (; i + LANES <= width; i += LANES) store(to + i, load(from + i) * factor);
        for (; i < width; i++) to[i] = from[i] * factor;
    }
}
