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

/// One new query for each sequence against the sequence's own cache.
///
/// - Parameters:
///   - q: `[sequences, heads * dKV]`; out is shaped as q.
///   - new: shaped as q: each query's own key and value, which first go to the cache, as the
///     last that it sees; nil if they are there.
///   - cached, counts: of each sequence, the keys and values, and how many of them it sees.
///   - sharing: for each sequence, how many of the following, itself included, have the same
///     keys and values. Those see as many, and keys and values are read once; or, with `new`,
///     each sees more than the one before. All 1 if nil.
///   - bias: by distance from the last key that a query sees; nil for none.
package func attentionStep(
    q: Rows, new: (k: Rows, v: Rows)? = nil, _ cached: [KeyValues], counts: [Int],
    sharing: [Int]? = nil, heads: Int, dKV: Int, bias: DistanceBias?, into out: Rows,
    workers: Workers
) {
    assert(q.width == heads * dKV && out.width == q.width && out.count == q.count)
    assert(cached.count == q.count && counts.count == q.count)
    let groups = groups(q.count, sharing)
    // A key and its value take about a nanosecond for each 8 floats of a head, and a call half
    // a microsecond; chunks of 5 microseconds are worth handing over.
    let scores = counts.reduce(0, +) / max(groups.count, 1)
    let smallest = max(1, 5_000 / (scores * max(dKV / 8, 1) + 500))
    let ask = { (chunk: Int) in
        for row in groups[chunk / heads] { cached[row].ask(counts[row] - 1, head: chunk % heads) }
    }
    let attend = { (rows: Range<Int>, head: Int) in
        let own = cached[rows.lowerBound], count = counts[rows.lowerBound], column = head * dKV
        var shape = kernel_attention_shape(
            queries: rows.count, keys: count, d_kv: dKV, first_query: max(count - 1, 0),
            q_stride: q.stride, out_stride: out.stride, k_stride: 0, v_stride: 0,
            value_rows: own.capacity, weights: own.shape.precision.kernel,
            dropout: kernel_dropout(), causal: 0)
        kernel_attention(
            &shape, q.base + rows.lowerBound * q.stride + column, own.keys(head),
            own.values(head), bias?.head(head),
            out.base + rows.lowerBound * out.stride + column, nil)
    }
    workers.split(groups.count * heads, smallest: smallest) { chunks in
        for chunk in chunks {
            let (rows, head) = (groups[chunk / heads], chunk % heads)
            guard let new else {
                attend(rows, head)
                continue
            }
            if chunk == chunks.lowerBound { ask(chunk) }
            for row in rows {
                cached[row].set(
                    counts[row] - 1, head: head, k: new.k.base + row * new.k.stride + head * dKV,
                    v: new.v.base + row * new.v.stride + head * dKV)
            }
            if chunk + 1 < chunks.upperBound { ask(chunk + 1) }
            for row in rows { attend(row..<row + 1, head) }
        }
    }
}

/// The rows that share keys and values.
private func groups(_ count: Int, _ sharing: [Int]?) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    groups.reserveCapacity(count)
    var first = 0
    while first < count {
        groups.append(first..<first + (sharing?[first] ?? 1))
        first = groups[groups.count - 1].upperBound
    }
    return groups
}
