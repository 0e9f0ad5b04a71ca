/*
 * attention_backward.inc.h - the backward pass of attention.inc.h, in the same blocks.
 *
 * With p = exp(score - log_sum), m_j the factor of dropout (1 without) and
 * e = sum_j p_j m_j (dout . v_j) = dout . out:
 *
 *   dv_j += p_j m_j dout        dscore_j = p_j (m_j dout . v_j - e)
 *   dq += sum_j dscore_j k_j        dk_j += dscore_j q        dbias += dscore_j
 *
 * Five products of a block of keys with a group of queries. Sums over keys go block by
 * block, those over queries in ascending order: one chain each.
 */

/* A block of keys or a group of queries with its rows as the right factor of products. */
typedef struct attention_sides {
    float *k_scores, *v_scores; /* [d_kv, KEY_BLOCK] in panels of keys */
    float *k_rows;              /* [keys, d_kv] in panels of d, KEY_BLOCK long */
    float *q_rows, *dout_rows;  /* [queries, d_kv] in panels of d, QUERY_GROUP long */
    float *packed;              /* a strip of left factors */
} attention_sides;

static attention_sides sides_in(float *scratch, size_t d_kv) {
    size_t wide = (d_kv + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL;
    attention_sides sides = {.k_scores = scratch};
    sides.v_scores = sides.k_scores + KEY_BLOCK * wide;
    sides.k_rows = sides.v_scores + KEY_BLOCK * wide;
    sides.q_rows = sides.k_rows + KEY_BLOCK * wide;
    sides.dout_rows = sides.q_rows + QUERY_GROUP * wide;
    sides.packed = sides.dout_rows + QUERY_GROUP * wide;
    return sides;
}

/* `count` rows as columns: panels of KERNEL_PANEL rows, [d_kv, KERNEL_PANEL] each; zeros
 * fill the last. */
static void rows_to_columns(
    const float *rows, size_t stride, size_t count, size_t d_kv, float *panels) {
    for (size_t first = 0; first < count; first += KERNEL_PANEL) {
        float *panel = panels + first * d_kv;
        size_t some = count - first < KERNEL_PANEL ? count - first : KERNEL_PANEL;
        if (some < KERNEL_PANEL) memset(panel, 0, d_kv * KERNEL_PANEL * sizeof(float));
        interleave(rows + first * stride, stride, some, d_kv, panel, KERNEL_PANEL);
    }
}

/* `count` rows in panels of KERNEL_PANEL columns, `length` rows apart. */
static void rows_to_panels(const float *rows, size_t stride, size_t count, size_t d_kv,
    size_t length, float *panels) {
    for (size_t d = 0; d < d_kv; d += KERNEL_PANEL) {
        size_t some = d_kv - d < KERNEL_PANEL ? d_kv - d : KERNEL_PANEL;
        float *panel = panels + d * length;
        for (size_t n = 0; n < count; n++, panel += KERNEL_PANEL) {
            memcpy(panel, rows + n * stride + d, some * sizeof(float));
            if (some < KERNEL_PANEL)
                memset(panel + some, 0, (KERNEL_PANEL - some) * sizeof(float));
        }
    }
}

/* out[n] (+)= sum_k left[n, k] panels[k] for `count` rows n: left at n * row_stride +
 * k * depth_stride, panels of `length` steps each, `columns` columns of out. */
static void attention_product(size_t count, size_t depth, const float *left,
    size_t row_stride, size_t depth_stride, const float *panels, size_t length,
    size_t columns, float *packed, float *out, size_t out_stride, int adds) {
    size_t strip_total = strip_count(MODE_FLOAT32, count);
    for (size_t s = 0; s < strip_total; s++) {
        size_t n = strip_first(s, strip_total, count);
        size_t tall = strip_first(s + 1, strip_total, count) - n;
        pack_floats(left + n * row_stride, row_stride, depth_stride, tall, depth, packed);
        for (size_t c = 0; c < columns; c += KERNEL_PANEL)
            panel_product(MODE_FLOAT32, 0, tall, depth, packed,
                (const char *)(panels + c * length), NULL,
                columns - c < KERNEL_PANEL ? columns - c : KERNEL_PANEL,
                out + n * out_stride + c, out_stride, adds);
    }
}

/* weights: from scores to p m; dweights: from dout . v to dscore; [KEY_BLOCK] each, of the
 * first `seen` keys of the block at `first`. `expected` is e. */
static void score_gradients(const kernel_attention_shape *shape, size_t i, size_t first,
    size_t seen, const float *bias, float log_sum, float expected, float *weights,
    float *dweights) {
    float kept[KEY_BLOCK];
    if (bias) {
        const float *b = bias + ((ptrdiff_t)first - (ptrdiff_t)(shape->first_query + i));
        for (size_t j = 0; j < seen; j++) weights[j] += b[j];
    }
    exp_row(weights, log_sum, seen, weights);
    if (!shape->dropout.threshold) {
        for (size_t j = 0; j < seen; j++)
            dweights[j] = weights[j] * (dweights[j] - expected);
        return;
    }
    dropout_factors(&shape->dropout, pair(shape, i, first), seen, kept);
    for (size_t j = 0; j < seen; j++) {
        dweights[j] = weights[j] * (dweights[j] * kept[j] - expected);
        weights[j] *= kept[j];
    }
}

static float dot(const float *a, const float *b, size_t count) {
    vec sums = splat(0);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        sums = multiply_add(load(a + i), load(b + i), sums);
    float total = sum(sums);
    for (; i < count; i++) total = multiply_add_one(a[i], b[i], total);
    return total;
}

static void attention_backward(const kernel_attention_shape *shape, const float *q,
    const float *k, const float *v, const float *bias, const float *out,
    const float *log_sums, const float *dout, float *dq, float *dk, float *dv, float *dbias,
    float *scratch) {
    float weights[QUERY_GROUP * KEY_BLOCK], dweights[QUERY_GROUP * KEY_BLOCK];
    const size_t d_kv = shape->d_kv, q_stride = shape->q_stride;
    const attention_sides sides = sides_in(scratch, d_kv);

    for (size_t first = 0; first < shape->keys; first += KEY_BLOCK) {
        size_t keys = block_keys(first, shape->keys);
        const float *k_block = k + first * shape->k_stride;
        rows_to_columns(k_block, shape->k_stride, keys, d_kv, sides.k_scores);
        rows_to_columns(
            v + first * shape->v_stride, shape->v_stride, keys, d_kv, sides.v_scores);
        rows_to_panels(k_block, shape->k_stride, keys, d_kv, KEY_BLOCK, sides.k_rows);
        for (size_t group = 0; group < shape->queries; group += QUERY_GROUP) {
            size_t left = shape->queries - group;
            size_t count = left < QUERY_GROUP ? left : QUERY_GROUP;
            /* The last query of the group sees most. */
            size_t depth = block_keys(first, visible_keys(shape, group + count - 1));
            if (depth == 0) continue;
            size_t scored = (depth + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL;
            const float *q_group = q + group * q_stride;
            const float *dout_group = dout + group * shape->out_stride;
            attention_product(count, d_kv, q_group, q_stride, 1, sides.k_scores, d_kv,
                scored, sides.packed, weights, KEY_BLOCK, 0);
            attention_product(count, d_kv, dout_group, shape->out_stride, 1, sides.v_scores,
                d_kv, scored, sides.packed, dweights, KEY_BLOCK, 0);
            for (size_t n = 0; n < count; n++) {
                size_t i = group + n, seen = block_keys(first, visible_keys(shape, i));
                float *row = weights + n * KEY_BLOCK, *drow = dweights + n * KEY_BLOCK;
                memset(row + seen, 0, (depth - seen) * sizeof(float));
                memset(drow + seen, 0, (depth - seen) * sizeof(float));
                float expected = dot(
                    dout_group + n * shape->out_stride, out + i * shape->out_stride, d_kv);
                score_gradients(
                    shape, i, first, seen, bias, log_sums[i], expected, row, drow);
                if (!dbias) continue;
                float *b = dbias + ((ptrdiff_t)first - (ptrdiff_t)(shape->first_query + i));
                for (size_t j = 0; j < seen; j++) b[j] += drow[j];
            }
            rows_to_panels(q_group, q_stride, count, d_kv, QUERY_GROUP, sides.q_rows);
            rows_to_panels(
                dout_group, shape->out_stride, count, d_kv, QUERY_GROUP, sides.dout_rows);
            attention_product(count, depth, dweights, KEY_BLOCK, 1, sides.k_rows, KEY_BLOCK,
                d_kv, sides.packed, dq + group * q_stride, q_stride, 1);
            attention_product(depth, count, dweights, 1, KEY_BLOCK, sides.q_rows,
                QUERY_GROUP, d_kv, sides.packed, dk + first * shape->k_stride,
                shape->k_stride, 1);
            attention_product(depth, count, weights, 1, KEY_BLOCK, sides.dout_rows,
                QUERY_GROUP, d_kv, sides.packed, dv + first * shape->v_stride,
                shape->v_stride, 1);
        }
    }
}
