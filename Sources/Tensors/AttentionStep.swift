import CKernels

/// One new query for each sequence against the sequence's own cache.
///
/// - Parameters:
///   - q: `[sequences, heads * dKV]`; out is shaped as q.
///   - keys, values: for each sequence, `[counts[s], heads * dKV]`, rows `kvStride` floats apart.
///   - positions: each query's position, for the bias; nil for no bias.
package func attentionStep(
    q: Rows, keys: [UnsafePointer<Float>], values: [UnsafePointer<Float>], counts: [Int],
    kvStride: Int, heads: Int, dKV: Int, positions: [Int]?, bias: DistanceBias?, into out: Rows,
    workers: Workers
) {
    assert(q.width == heads * dKV && out.width == q.width && out.count == q.count)
    assert(keys.count == q.count && values.count == q.count && counts.count == q.count)
    let keys = Shared(keys), values = Shared(values)
    // A key and its value take about a nanosecond for each 8 floats of a head.
    let scores = counts.reduce(0, +) / max(q.count, 1)
    let smallest = max(1, 20_000 / max(scores * max(dKV / 8, 1), 1))
    workers.split(q.count * heads, smallest: smallest) { chunks in
        for chunk in chunks {
            let sequence = chunk / heads
            let head = chunk % heads
            var shape = kernel_attention_shape(
                queries: 1, keys: counts[sequence], d_kv: dKV,
                first_query: positions.map { $0[sequence] } ?? 0, q_stride: q.stride,
                k_stride: kvStride, v_stride: kvStride, out_stride: out.stride, causal: 0)
            kernel_attention(
                &shape, q.base + sequence * q.stride + head * dKV,
                keys.pointer[sequence] + head * dKV, values.pointer[sequence] + head * dKV,
                positions == nil ? nil : bias?.head(head),
                out.base + sequence * out.stride + head * dKV, nil)
        }
    }
}
