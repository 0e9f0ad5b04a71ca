/*
 * attention.inc.h - softmax attention of one head, in blocks of keys.
 *
 * A query meets the keys block after block and keeps the largest score so far, the sum of
 * exp(score - largest) and the values weighted by it; a new largest score rescales both
 * (Milakov and Gimelshein, 2018). Blocks start at multiples of KEY_BLOCK whatever the
 * query, so a query's result is one chain. Queries take turns at a block while it is in
 * cache. One query alone waits for memory: products with the keys of a block ask for its
 * values, and those with its values for the keys that come next.
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

/* The first step of `first` in the panel `column` lies in, of panels `depth` long. */
INLINE const char *panel_at(const product_mode mode, const void *panels, size_t column,
    size_t depth, size_t first) {
    size_t grain = step_depth(mode), steps = (depth + grain - 1) / grain;
    return (const char *)panels +
           (column / KERNEL_PANEL * steps + first / grain) * STEP_BYTES;
}

/* How far ahead of a lone strip memory is asked: a head or a part of one. */
enum { FAR = 16384 };

/* out (+)= a packed strip of `height` rows by `columns` of one panel, `depth` of it from
 * `panel` on; asks for what begins at `next` while it computes, if that is not NULL.
 * alone: there is no other strip, so that memory is what it waits for. */
static void panel_product(const product_mode mode, int alone, size_t height, size_t depth,
    const float *packed, const char *panel, const char *next, size_t columns, float *out,
    size_t out_stride, int adds) {
    size_t steps = (depth + step_depth(mode) - 1) / step_depth(mode);
    prefetch ahead = {next ? next : panel, next ? STEP_BYTES : 0};
    if (alone && next)
        for (size_t i = 0; i < steps * STEP_BYTES; i += 64)
            __builtin_prefetch(panel + FAR + i, 0, 2);
    strips[mode][alone && height > 2][height](
        steps, packed, panel, ahead, NULL, columns, out, out_stride, adds);
}

/* scores[n, j] = q[n] . k[first + j] for `count` queries, packed or to be packed in strips,
 * and all keys of the block; a chain over d as in products. Asks for the block's values. */
static void block_scores(const product_mode mode, const kernel_attention_shape *shape,
    size_t count, const float *q, const void *keys, const void *values, size_t first,
    float *packed, float *scores) {
    const kernel_product_shape rows = {.row_stride = shape->q_stride, .depth_stride = 1};
    size_t strip_total = strip_count(mode, count);
    for (size_t start = 0; start < shape->d_kv; start += DEPTH_BLOCK) {
        size_t left = shape->d_kv - start;
        size_t depth = left < DEPTH_BLOCK ? left : DEPTH_BLOCK;
        for (size_t s = 0; s < strip_total; s++) {
            size_t n = strip_first(s, strip_total, count);
            size_t tall = strip_first(s + 1, strip_total, count) - n;
            /* Packed once where one depth block is all there is. */
            if (first == 0 || shape->d_kv > DEPTH_BLOCK)
                pack_rows(mode, &rows, q, n, start, tall, depth, packed + n * DEPTH_BLOCK);
            for (size_t key = 0; key < KEY_BLOCK && first + key < shape->keys;
                 key += KERNEL_PANEL)
                panel_product(mode, strip_total == 1, tall, depth, packed + n * DEPTH_BLOCK,
                    panel_at(mode, keys, first + key, shape->d_kv, start),
                    s == 0 ? panel_at(mode, values, key, shape->value_rows, first) : NULL,
                    KERNEL_PANEL, scores + n * KEY_BLOCK + key, KEY_BLOCK, start > 0);
        }
    }
}

/* out[n] += sum_j weights[n, j] v[first + j], a chain over j, j < depth. Asks for the
 * panels of keys that begin at `next`. */
static void block_values(const product_mode mode, const kernel_attention_shape *shape,
    size_t count, size_t depth, const float *weights, const void *values,
    const char *next_keys, size_t first, float *packed, float *out) {
    const kernel_product_shape rows = {.row_stride = KEY_BLOCK, .depth_stride = 1};
    size_t strip_total = strip_count(mode, count);
    for (size_t s = 0; s < strip_total; s++) {
        size_t n = strip_first(s, strip_total, count);
        size_t tall = strip_first(s + 1, strip_total, count) - n;
        pack_rows(mode, &rows, weights, n, 0, tall, depth, packed);
        for (size_t d = 0; d < shape->d_kv; d += KERNEL_PANEL) {
            size_t left = shape->d_kv - d;
            panel_product(mode, strip_total == 1, tall, depth, packed,
                panel_at(mode, values, d, shape->value_rows, first),
                s == 0 ? panel_at(mode, next_keys, d, shape->d_kv, 0) : NULL,
                left < KERNEL_PANEL ? left : KERNEL_PANEL, out + n * shape->out_stride + d,
                shape->out_stride, 1);
        }
    }
}

static void attention(const kernel_attention_shape *shape, const float *q, const void *keys,
    const void *values, const float *bias, float *out, float *log_sums) {
    const product_mode mode = (product_mode)shape->weights;
    float scores[QUERY_GROUP * KEY_BLOCK], most[QUERY_GROUP], sums[QUERY_GROUP];
    float packed_queries[QUERY_GROUP * DEPTH_BLOCK], packed[PAIR_ROWS * KEY_BLOCK];

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
            block_scores(mode, shape, count, q + group * shape->q_stride, keys, values,
                first, packed_queries, scores);
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
                /* What nothing was added to is 0 still. */
                if (most[n] != highest && most[n] != -INFINITY) {
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
            /* After its last block a head is followed by the next one. */
            size_t behind = first + KEY_BLOCK < shape->keys
                                ? first + KEY_BLOCK
                                : shape->value_rows + KERNEL_PANEL - 1;
            block_values(mode, shape, count, depth, scores, values,
                panel_at(mode, keys, behind, shape->d_kv, 0), first, packed, rows);
        }
        for (size_t n = 0; n < count; n++) {
            float *row = rows + n * shape->out_stride;
            float inverse = sums[n] == 0 ? 0 : 1 / sums[n];
            scale(row, 0, inverse, 1, shape->d_kv, row, 0);
            if (log_sums) log_sums[group + n] = most[n] + logf(sums[n]);
        }
    }
}
