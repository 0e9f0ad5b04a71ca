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
    KEY_BLOCK = KERNEL_KEY_BLOCK,    /* 64 keys and values of 64 floats: 32 kB */
    QUERY_GROUP = KERNEL_QUERY_GROUP /* queries that take turns: whole strips */
};
_Static_assert(KEY_BLOCK % KERNEL_PANEL == 0, "a block is whole panels of keys");
_Static_assert(KEY_BLOCK <= DEPTH_BLOCK, "and one chain of values");

/* How many keys query i sees. */
INLINE size_t visible_keys(const kernel_attention_shape *shape, size_t i) {
    size_t position = shape->first_query + i;
    return shape->causal && position < shape->keys ? position + 1 : shape->keys;
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
