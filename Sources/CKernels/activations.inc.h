/*
 * activations.inc.h - the four activations T5 checkpoints use, plain or gated.
 *
 * gelu_new is x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3), as
 * (1 + tanh u) / 2 = sigmoid(2u): so three of the four need exp alone.
 */

#define GELU_SCALE 1.59576912f /* 2 sqrt(2 / pi) */
#define GELU_CUBIC 0.044715f   /* Hendrycks and Gimpel, 2016 */
#define HALF_ROOT 0.707106781f /* 1 / sqrt 2 */
#define INVERSE_ROOT_TWO_PI 0.398942280f

INLINE vec normal_distribution(vec x) {
    vec result;
    UNROLLED for (int i = 0; i < LANES; i++) result[i] = erff(x[i] * HALF_ROOT);
    return (result + 1.0f) * 0.5f;
}

INLINE vec activation_value(kernel_activation activation, vec x) {
    switch (activation) {
    case KERNEL_GELU_NEW:
        return x * sigmoid((x + x * x * x * GELU_CUBIC) * GELU_SCALE);
    case KERNEL_GELU:
        return x * normal_distribution(x);
    case KERNEL_SILU:
        return x * sigmoid(x);
    case KERNEL_RELU:
        break;
    }
    return blend(x < 0.0f, splat(0), x);
}

/* d act(x) / dx. */
INLINE vec activation_slope(kernel_activation activation, vec x) {
    switch (activation) {
    case KERNEL_GELU_NEW: {
        vec s = sigmoid((x + x * x * x * GELU_CUBIC) * GELU_SCALE);
        vec inner = (1.0f + x * x * (3 * GELU_CUBIC)) * GELU_SCALE;
        return s + x * s * (1.0f - s) * inner;
    }
    case KERNEL_GELU:
        return normal_distribution(x) +
               x * exponential(x * x * -0.5f) * INVERSE_ROOT_TWO_PI;
    case KERNEL_SILU: {
        vec s = sigmoid(x);
        return s + x * s * (1.0f - s);
    }
    case KERNEL_RELU:
        break;
    }
    return blend(x > 0.0f, splat(1), splat(0));
}

INLINE void activate_rows(kernel_activation activation, int gated, const float *x,
    size_t x_stride, size_t rows, size_t width, float *out, size_t out_stride) {
    for (size_t r = 0; r < rows; r++) {
        const float *from = x + r * x_stride, *gate = from + width;
        float *to = out + r * out_stride;
        size_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            vec v = activation_value(activation, load(from + i));
            store(to + i, gated ? v * load(gate + i) : v);
        }
        if (i < width) {
            vec v = activation_value(activation, load_part(from + i, width - i, 0));
            store_part(
                to + i, gated ? v * load_part(gate + i, width - i, 0) : v, width - i);
        }
    }
}

INLINE void activate_rows_backward(kernel_activation activation, int gated,
    const float *dout, size_t dout_stride, const float *x, size_t x_stride, size_t rows,
    size_t width, float *dx, size_t dx_stride) {
    for (size_t r = 0; r < rows; r++) {
        const float *dy = dout + r * dout_stride;
        const float *from = x + r * x_stride, *gate = from + width;
        float *to = dx + r * dx_stride, *dgate = to + width;
        for (size_t i = 0; i < width; i += LANES) {
            size_t n = width - i < LANES ? width - i : LANES;
            vec v = n == LANES ? load(from + i) : load_part(from + i, n, 0);
            vec d = n == LANES ? load(dy + i) : load_part(dy + i, n, 0);
            vec into = d * activation_slope(activation, v);
            if (gated) {
                into *= n == LANES ? load(gate + i) : load_part(gate + i, n, 0);
                vec into_gate = d * activation_value(activation, v);
                if (n == LANES)
                    store(dgate + i, into_gate);
                else
                    store_part(dgate + i, into_gate, n);
            }
            if (n == LANES)
                store(to + i, into);
            else
                store_part(to + i, into, n);
        }
    }
}

static void activate(kernel_activation activation, int gated, const float *x,
    size_t x_stride, size_t rows, size_t width, float *out, size_t out_stride) {
#define FORWARD(kind) activate_rows(kind, gated, x, x_stride, rows, width, out, out_stride)
    switch (activation) {
    case KERNEL_GELU_NEW:
        FORWARD(KERNEL_GELU_NEW);
        break;
    case KERNEL_GELU:
        FORWARD(KERNEL_GELU);
        break;
    case KERNEL_SILU:
        FORWARD(KERNEL_SILU);
        break;
    case KERNEL_RELU:
        FORWARD(KERNEL_RELU);
        break;
    }
#undef FORWARD
}

static void activate_backward(kernel_activation activation, int gated, const float *dout,
    size_t dout_stride, const float *x, size_t x_stride, size_t rows, size_t width,
    float *dx, size_t dx_stride) {
#define BACKWARD(kind)                                                                     \
    activate_rows_backward(                                                                \
        kind, gated, dout, dout_stride, x, x_stride, rows, width, dx, dx_stride)
    switch (activation) {
    case KERNEL_GELU_NEW:
        BACKWARD(KERNEL_GELU_NEW);
        break;
    case KERNEL_GELU:
        BACKWARD(KERNEL_GELU);
        break;
    case KERNEL_SILU:
        BACKWARD(KERNEL_SILU);
        break;
    case KERNEL_RELU:
        BACKWARD(KERNEL_RELU);
        break;
    }
#undef BACKWARD
}
