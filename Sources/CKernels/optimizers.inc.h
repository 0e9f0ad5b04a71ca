/*
 * optimizers.inc.h - one step of AdamW in one pass over the memory.
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
