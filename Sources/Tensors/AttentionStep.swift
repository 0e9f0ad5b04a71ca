import CKernels
import Glibc

/// Adds what each query attends to among its keys, the mean over heads, times `share`.
///
/// - Parameters: as of `attentionStep`; out: `[sequences, at least the largest count]`.
package func addMeanAttention(
    q: Rows, keys: [UnsafePointer<Float>], counts: [Int], kvStride: Int, heads: Int, dKV: Int,
    share: Float, into out: Rows, workers: Workers
) {
    let keys = Shared(keys)
    workers.forEach(q.count) { sequence in
        let count = counts[sequence]
        withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { scores in
            for head in 0..<heads {
                let query = q.base + sequence * q.stride + head * dKV
                for index in 0..<count {
                    let key = keys.pointer[sequence] + index * kvStride + head * dKV
                    scores[index] = (0..<dKV).reduce(Float(0)) { $0 + query[$1] * key[$1] }
                }
                let normalizer = logSumExp(scores)
                for index in 0..<count {
                    scores[index] = scores[index] - normalizer
                }
                let row = out[sequence]
                for index in 0..<count {
                    row[index] += share / Float(heads) * exp(scores[index])
                }
            }
        }
    }
}

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
                k_stride: kvStride, v_stride: kvStride, out_stride: out.stride,
                dropout: kernel_dropout(), causal: 0)
            kernel_attention(
                &shape, q.base + sequence * q.stride + head * dKV,
                keys.pointer[sequence] + head * dKV, values.pointer[sequence] + head * dKV,
                positions == nil ? nil : bias?.head(head),
                out.base + sequence * out.stride + head * dKV, nil)
        }
    }
}
