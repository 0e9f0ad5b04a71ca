/*
 * attention.inc.h - softmax attention of one head, in blocks of keys.
 *
 * A query meets the keys block after block and keeps the largest score so far, the sum of
 * exp(score - largest) and the values weighted by it; a new largest score rescales both
 * (Milakov and Gimelshein, 2018). Blocks start at multiples of KEY_BLOCK whatever the
 * query, so a query's result is one chain. Queries take turns at a block while it is in
 * cache.
 */

enum {
    KEY_BLOCK = 64,   /* 64 keys and values of 64 floats: 32 kB */
    QUERY_GROUP = 48, /* queries that take turns: whole strips */
    VALUE_VECTORS = LANES >= 16 ? 4 : 8
};
_Static_assert(KEY_BLOCK % KERNEL_PANEL == 0, "a block is whole panels of keys");
_Static_assert(KEY_BLOCK <= DEPTH_BLOCK, "and one chain of values");

/* out[j] = a . rows[j], j < count. */
static void dots(const float *a, const float *rows, size_t stride, size_t count,
    size_t width, float *out) {
    for (size_t j = 0; j < count; j += 4) {
        size_t last = count - 1;
        const float *p = rows + j * stride;
        const float *q = rows + (j + 1 < last ? j + 1 : last) * stride;
        const float *r = rows + (j + 2 < last ? j + 2 : last) * stride;
        const float *s = rows + (j + 3 < last ? j + 3 : last) * stride;
        vec vp = splat(0), vq = vp, vr = vp, vs = vp;
        size_t d = 0;
        for (; d + LANES <= width; d += LANES) {
            vec v = load(a + d);
            vp = multiply_add(v, load(p + d), vp);
            vq = multiply_add(v, load(q + d), vq);
            vr = multiply_add(v, load(r + d), vr);
            vs = multiply_add(v, load(s + d), vs);
        }
        quad result = four_sums(vp, vq, vr, vs);
        for (; d < width; d++) {
            quad v = {p[d], q[d], r[d], s[d]};
#if FUSED
            result = __builtin_elementwise_fma(a[d] - (quad){0}, v, result);
#else
            result += a[d] * v;
#endif
        }
        memcpy(out + j, &result, (count - j < 4 ? count - j : 4) * sizeof(float));
    }
}

/* out = out * before + sum_j factors[j] * rows[j]; `count` rows in ascending order. */
INLINE void weigh_vectors(size_t vectors, const float *factors, const float *rows,
    size_t stride, size_t count, float before, float *out) {
    vec sums[VALUE_VECTORS];
    UNROLLED for (size_t v = 0; v < vectors; v++) sums[v] = load(out + v * LANES) * before;
    for (size_t j = 0; j < count; j++, rows += stride) {
        vec factor = splat(factors[j]);
        UNROLLED for (size_t v = 0; v < vectors; v++) sums[v] =
            multiply_add(factor, load(rows + v * LANES), sums[v]);
    }
    UNROLLED for (size_t v = 0; v < vectors; v++) store(out + v * LANES, sums[v]);
}

static void weigh(const float *factors, const float *rows, size_t stride, size_t count,
    size_t width, float before, float *out) {
    size_t d = 0;
    for (; d + VALUE_VECTORS * LANES <= width; d += VALUE_VECTORS * LANES)
        weigh_vectors(VALUE_VECTORS, factors, rows + d, stride, count, before, out + d);
    for (; d + LANES <= width; d += LANES)
        weigh_vectors(1, factors, rows + d, stride, count, before, out + d);
    for (; d < width; d++) {
        float total = out[d] * before;
        for (size_t j = 0; j < count; j++)
            total = multiply_add_one(factors[j], rows[j * stride + d], total);
        out[d] = total;
    }
}

/* How many keys query i sees. */
INLINE size_t visible_keys(const kernel_attention_shape *shape, size_t i) {
    size_t position = shape->first_query + i;
    return shape->causal && position < shape->keys ? position + 1 : shape->keys;
}

/* The scores of query i with keys [first, first + count). */
INLINE void score_block(const kernel_attention_shape *shape, size_t i, size_t first,
    size_t count, const float *q, const float *k, const float *bias, float *scores) {
    dots(q + i * shape->q_stride, k + first * shape->k_stride, shape->k_stride, count,
        shape->d_kv, scores);
    if (!bias) return;
    const float *b = bias + ((ptrdiff_t)first - (ptrdiff_t)(shape->first_query + i));
    for (size_t j = 0; j < count; j++) scores[j] += b[j];
}

/* What dropout counts: query by query, key by key. */
INLINE uint64_t pair(const kernel_attention_shape *shape, size_t i, size_t key) {
    return (uint64_t)(shape->first_query + i) * shape->keys + key;
}

/* The keys of the block at `first` that a query which sees `visible` keys meets. */
INLINE size_t block_keys(size_t first, size_t visible) {
    if (first >= visible) return 0;
    return visible - first < KEY_BLOCK ? visible - first : KEY_BLOCK;
}

/* scores[n, j] = q[n] . k[first + j] for `count` queries, packed or to be packed in strips,
 * and all keys of the block; a chain over d as in products. */
static void block_scores(const kernel_attention_shape *shape, size_t count, const float *q,
    const float *keys, size_t first, float *packed, float *scores) {
    size_t strip_total = (count + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t start = 0; start < shape->d_kv; start += DEPTH_BLOCK) {
        size_t left = shape->d_kv - start;
        size_t depth = left < DEPTH_BLOCK ? left : DEPTH_BLOCK;
        for (size_t s = 0; s < strip_total; s++) {
            size_t n = strip_first(s, strip_total, count);
            size_t tall = strip_first(s + 1, strip_total, count) - n;
            /* Packed once where one depth block is all there is. */
            if (first == 0 || shape->d_kv > DEPTH_BLOCK)
                pack_floats(q + n * shape->q_stride + start, shape->q_stride, 1, tall,
                    depth, packed + n * depth);
            for (size_t key = 0; key < KEY_BLOCK && first + key < shape->keys;
                 key += KERNEL_PANEL) {
                const float *panel = keys + (first + key) * shape->d_kv;
                prefetch ahead = {(const char *)(panel + shape->d_kv * KERNEL_PANEL),
                    s == 0 ? STEP_BYTES : 0};
                strips[MODE_FLOAT32][0][tall](depth, packed + n * depth,
                    (const char *)(panel + start * KERNEL_PANEL), ahead,
                    (units){NULL, NULL}, KERNEL_PANEL, scores + n * KEY_BLOCK + key,
                    KEY_BLOCK, start > 0);
            }
        }
    }
}

/* out[n] += sum_j weights[n, j] v[first + j], a chain over j, j < depth. */
static void block_values(const kernel_attention_shape *shape, size_t count, size_t depth,
    const float *weights, const float *values, size_t first, float *packed, float *out) {
    size_t strip_total = (count + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t s = 0; s < strip_total; s++) {
        size_t n = strip_first(s, strip_total, count);
        size_t tall = strip_first(s + 1, strip_total, count) - n;
        pack_floats(weights + n * KEY_BLOCK, KEY_BLOCK, 1, tall, depth, packed);
        for (size_t d = 0; d < shape->d_kv; d += KERNEL_PANEL) {
            const float *panel = values + (d * shape->value_rows + first * KERNEL_PANEL);
            size_t left = shape->d_kv - d;
            prefetch ahead = {
                (const char *)(panel + depth * KERNEL_PANEL), s == 0 ? STEP_BYTES : 0};
            strips[MODE_FLOAT32][0][tall](depth, packed, (const char *)panel, ahead,
                (units){NULL, NULL}, left < KERNEL_PANEL ? left : KERNEL_PANEL,
                out + n * shape->out_stride + d, shape->out_stride, 1);
        }
    }
}

static void attention(const kernel_attention_shape *shape, const float *q,
    const float *keys, const float *values, const float *bias, float *out,
    float *log_sums) {
    float scores[QUERY_GROUP * KEY_BLOCK], most[QUERY_GROUP], sums[QUERY_GROUP];
    float packed_queries[QUERY_GROUP * DEPTH_BLOCK], packed[TILE_ROWS * KEY_BLOCK];

    for (size_t group = 0; group < shape->queries; group += QUERY_GROUP) {
        size_t left = shape->queries - group;
        size_t count = left < QUERY_GROUP ? left : QUERY_GROUP;
        float *rows = out + group * shape->out_stride;
        for (size_t n = 0; n < count; n++) {
            most[n] = -INFINITY;
            sums[n] = 0;
            memset(rows + n * shape->out_stride, 0, shape->d_kv * sizeof(float));
        }
        for (size_t first = 0; first < shape->keys; first += KEY_BLOCK) {
            /* The last query of the group sees most. */
            size_t depth = block_keys(first, visible_keys(shape, group + count - 1));
            if (depth == 0) break;
            block_scores(shape, count, q + group * shape->q_stride, keys, first,
                packed_queries, scores);
            for (size_t n = 0; n < count; n++) {
                size_t i = group + n;
                float *row = scores + n * KEY_BLOCK;
                size_t seen = block_keys(first, visible_keys(shape, i));
                memset(row + seen, 0, (depth - seen) * sizeof(float));
                if (seen == 0) continue;
                if (bias) {
                    const float *b =
                        bias + ((ptrdiff_t)first - (ptrdiff_t)(shape->first_query + i));
                    for (size_t j = 0; j < seen; j++) row[j] += b[j];
                }
                float highest = row_largest(row, seen);
                if (highest < most[n]) highest = most[n];
                float offset = highest == -INFINITY ? 0 : highest;
                if (most[n] != highest) {
                    float before = exponential(splat(most[n] - offset))[0];
                    sums[n] *= before;
                    float *to = rows + n * shape->out_stride;
                    scale(to, 0, before, 1, shape->d_kv, to, 0);
                }
                sums[n] += exp_row(row, offset, seen, row);
                most[n] = highest;
                if (shape->dropout.threshold)
                    drop(&shape->dropout, pair(shape, i, first), seen, row);
            }
            block_values(shape, count, depth, scores, values, first, packed, rows);
        }
        for (size_t n = 0; n < count; n++) {
            float *row = rows + n * shape->out_stride;
            float inverse = sums[n] == 0 ? 0 : 1 / sums[n];
            scale(row, 0, inverse, 1, shape->d_kv, row, 0);
            if (log_sums) log_sums[group + n] = most[n] + logf(sums[n]);
        }
    }
}

/* With p = exp(score - log_sum), m_j the factor of dropout (1 without) and
 * e = sum_j p_j m_j (dout . v_j) = dout . out:
 *
 *   dv_j += p_j m_j dout        dscore_j = p_j (m_j dout . v_j - e)
 *   dq += sum_j dscore_j k_j        dk_j += dscore_j q        dbias += dscore_j  */
static void attention_backward(const kernel_attention_shape *shape, const float *q,
    const float *k, const float *v, const float *bias, const float *out,
    const float *log_sums, const float *dout, float *dq, float *dk, float *dv,
    float *dbias) {
    float p[KEY_BLOCK], dscores[KEY_BLOCK], kept[KEY_BLOCK];

    for (size_t first = 0; first < shape->keys; first += KEY_BLOCK) {
        for (size_t i = 0; i < shape->queries; i++) {
            size_t keys = block_keys(first, visible_keys(shape, i));
            if (keys == 0) continue;
            const float *dy = dout + i * shape->out_stride;
            float expected;
            dots(dy, out + i * shape->out_stride, 0, 1, shape->d_kv, &expected);

            score_block(shape, i, first, keys, q, k, bias, p);
            exp_row(p, log_sums[i], keys, p);
            dots(dy, v + first * shape->v_stride, shape->v_stride, keys, shape->d_kv,
                dscores);
            if (shape->dropout.threshold) {
                dropout_factors(&shape->dropout, pair(shape, i, first), keys, kept);
                for (size_t j = 0; j < keys; j++) dscores[j] *= kept[j];
            }
            for (size_t j = 0; j < keys; j++) dscores[j] = p[j] * (dscores[j] - expected);
            if (shape->dropout.threshold)
                for (size_t j = 0; j < keys; j++) p[j] *= kept[j];

            weigh(dscores, k + first * shape->k_stride, shape->k_stride, keys, shape->d_kv,
                1, dq + i * shape->q_stride);
            for (size_t j = 0; j < keys; j++) {
                add_multiple(q + i * shape->q_stride, dscores[j], shape->d_kv,
                    dk + (first + j) * shape->k_stride);
                add_multiple(dy, p[j], shape->d_kv, dv + (first + j) * shape->v_stride);
            }
            if (dbias) {
                ptrdiff_t distance = (ptrdiff_t)first - (ptrdiff_t)(shape->first_query + i);
                for (size_t j = 0; j < keys; j++)
                    dbias[distance + (ptrdiff_t)j] += dscores[j];
            }
        }
    }
}
