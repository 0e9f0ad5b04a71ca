/*
 * optimizers.inc.h - one step of AdamW, of descent with momentum, of Adafactor.
 */

INLINE vec adamw_vector(const kernel_adamw_settings *settings, vec gradient, vec reference,
    vec weight, vec *m, vec *v) {
    vec g = gradient * settings->scale;
    *m = *m * settings->beta1 + g * (1 - settings->beta1);
    *v = *v * settings->beta2 + g * g * (1 - settings->beta2);
    vec root = __builtin_elementwise_sqrt(*v / settings->correction2);
    vec step = *m / settings->correction1 / (root + settings->epsilon);
    vec decayed = (weight - reference) * (settings->rate * settings->decay);
    return weight - step * settings->rate - decayed;
}

static void adamw(const kernel_adamw_settings *settings, const float *gradient,
    const float *reference, size_t count, float *weight, float *m, float *v) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        vec mean = load(m + i), square = load(v + i);
        vec to = reference ? load(reference + i) : splat(0);
        store(weight + i, adamw_vector(settings, load(gradient + i), to, load(weight + i),
                              &mean, &square));
        store(m + i, mean);
        store(v + i, square);
    }
    if (i < count) {
        size_t n = count - i;
        vec mean = load_part(m + i, n, 0), square = load_part(v + i, n, 0);
        vec to = reference ? load_part(reference + i, n, 0) : splat(0);
        vec before = load_part(weight + i, n, 0);
        vec after = adamw_vector(
            settings, load_part(gradient + i, n, 0), to, before, &mean, &square);
        store_part(weight + i, after, n);
        store_part(m + i, mean, n);
        store_part(v + i, square, n);
    }
}

static void sgd(const kernel_sgd_settings *settings, const float *gradient,
    const float *reference, size_t count, float *weight, float *momentum) {
    const kernel_sgd_settings s = *settings;
    for (size_t i = 0; i < count; i++) {
        float m = s.momentum * momentum[i] + s.scale * gradient[i];
        float away = weight[i] - (reference ? reference[i] : 0);
        momentum[i] = m;
        weight[i] -= s.rate * (m + s.decay * away);
    }
}

static void adafactor_moments(const kernel_adafactor_settings *settings,
    const float *gradient, size_t rows, size_t columns, double *row_sums,
    double *column_sums) {
    const float scale = settings->scale, epsilon = settings->epsilon;
    for (size_t r = 0; r < rows; r++) {
        const float *g = gradient + r * columns;
        double total = 0;
        for (size_t c = 0; c < columns; c++) {
            float x = scale * g[c];
            float square = x * x + epsilon;
            total += square;
            column_sums[c] += square;
        }
        row_sums[r] += total;
    }
}

static double adafactor_update(const kernel_adafactor_settings *settings,
    const float *gradient, const float *row_factors, const float *column_factors,
    const float *reference, size_t rows, size_t columns, float *v, float *weight) {
    const kernel_adafactor_settings s = *settings;
    double squares = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t row = r * columns;
        for (size_t c = 0; c < columns; c++) {
            float g = s.scale * gradient[row + c], u;
            if (v) {
                if (!weight)
                    v[row + c] = s.beta2 * v[row + c] + (1 - s.beta2) * (g * g + s.epsilon);
                u = g / sqrtf(v[row + c]);
            } else {
                u = g * row_factors[r] * column_factors[c];
            }
            squares += (double)u * u;
            if (!weight) continue;
            float away = weight[row + c] - (reference ? reference[row + c] : 0);
            weight[row + c] -= s.rate * u + s.decay * away;
        }
    }
    return squares;
}
