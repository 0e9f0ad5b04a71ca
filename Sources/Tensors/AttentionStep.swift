import CKernels
import Glibc

/// Adds what each query attends to among its keys, the mean over heads, times `share`.
///
/// - Parameters: as of `attentionStep`; out: `[sequences, at least the largest count]`.
package func addMeanAttention(
    q: Rows, _ cached: [KeyValues], counts: [Int], heads: Int, dKV: Int,
    share: Float, into out: Rows, workers: Workers
) {
    workers.forEach(q.count) { sequence in
        let count = counts[sequence]
        withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { scores in
            for head in 0..<heads {
                let query = q.base + sequence * q.stride + head * dKV
                for index in 0..<count {
                    scores[index] = (0..<dKV).reduce(Float(0)) {
                        $0 + query[$1] * cached[sequence].key(head, index, $1)
                    }
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

/// Adds the new position of each sequence to its cache. k, v: `[sequences, heads * dKV]`.
///
/// A sequence may come several times, with different positions.
package func setKeyValues(
    k: Rows, v: Rows, _ cached: [KeyValues], positions: [Int], workers: Workers
) {
    assert(k.count == cached.count && v.count == cached.count && positions.count == cached.count)
    // Each float of a key goes to a cache line of its own: some 4 nanoseconds.
    workers.split(cached.count, smallest: max(1, 5_000 / max(4 * k.width, 1))) { rows in
        for row in rows {
            cached[row].set(positions[row], k: k.rows(row..<row + 1), v: v.rows(row..<row + 1))
        }
    }
}

/// One new query for each sequence against the sequence's own cache.
///
/// - Parameters:
///   - q: `[sequences, heads * dKV]`; out is shaped as q.
///   - cached, counts: of each sequence, the keys and values, and how many of them it sees.
///   - sharing: for each sequence, how many of the following, itself included, have the same
///     keys and values and see as many: those are read once. All 1 if nil.
///   - positions: each query's position, for the bias; nil for no bias.
package func attentionStep(
    q: Rows, _ cached: [KeyValues], counts: [Int], sharing: [Int]? = nil, heads: Int, dKV: Int,
    positions: [Int]?, bias: DistanceBias?, into out: Rows, workers: Workers
) {
    assert(q.width == heads * dKV && out.width == q.width && out.count == q.count)
    assert(cached.count == q.count && counts.count == q.count)
    var runs: [Range<Int>] = []
    var first = 0
    while first < q.count {
        runs.append(first..<first + (sharing?[first] ?? 1))
        first = runs[runs.count - 1].upperBound
    }
    let groups = runs
    // A key and its value take about a nanosecond for each 8 floats of a head, and a call half
    // a microsecond; chunks of 5 microseconds are worth handing over.
    let scores = counts.reduce(0, +) / max(groups.count, 1)
    let smallest = max(1, 5_000 / (scores * max(dKV / 8, 1) + 500))
    workers.split(groups.count * heads, smallest: smallest) { chunks in
        for chunk in chunks {
            let sequences = groups[chunk / heads]
            let sequence = sequences.lowerBound
            let head = chunk % heads
            let own = cached[sequence]
            var shape = kernel_attention_shape(
                queries: sequences.count, keys: counts[sequence], d_kv: dKV,
                first_query: positions.map { $0[sequence] } ?? 0, q_stride: q.stride,
                out_stride: out.stride, k_stride: 0, v_stride: 0, value_rows: own.capacity,
                weights: own.shape.precision.kernel, dropout: kernel_dropout(), causal: 0)
            kernel_attention(
                &shape, q.base + sequence * q.stride + head * dKV, own.keys(head),
                own.values(head), positions == nil ? nil : bias?.head(head),
                out.base + sequence * out.stride + head * dKV, nil)
        }
    }
}
