import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// The bucket of a relative position (key minus query), as transformers computes it: half
/// of the buckets count single steps, the rest grow logarithmically up to `maxDistance`.
///
/// - Parameter bidirectional: true in the encoder, where half of the buckets are for keys
///   after the query; in the decoder those do not exist.
package func relativePositionBucket(
    _ relativePosition: Int, bidirectional: Bool, buckets: Int, maxDistance: Int
) -> Int {
    var buckets = buckets
    var first = 0
    var distance = -relativePosition
    if bidirectional {
        buckets /= 2
        if relativePosition > 0 { first = buckets }
        distance = abs(relativePosition)
    } else {
        distance = max(distance, 0)
    }
    let exact = buckets / 2
    if distance < exact || exact == 0 { return first + min(distance, max(buckets - 1, 0)) }
    // float32, operation by operation as transformers does it, so that no position
    // falls into a neighbouring bucket.
    let ratio =
        logf(Float(distance) / Float(exact)) / Float(log(Double(maxDistance) / Double(exact)))
    let scaled = ratio * Float(buckets - exact)
    // checked: finite, and at most `buckets`
    let far = scaled.isFinite ? Int(min(max(scaled, 0), Float(buckets))) : buckets
    return first + min(exact + far, buckets - 1)
}

/// The bucket of every distance within a longest sequence.
package struct RelativeBuckets: Sendable {
    /// The column of distance 0: distances run from `-zero` to `zero`.
    package let zero: Int
    package let buckets: [Int]

    package init(_ configuration: T5Configuration, bidirectional: Bool, longest: Int) {
        let zero = max(longest - 1, 0)
        self.zero = zero
        buckets = (-zero...zero).map {
            relativePositionBucket(
                $0, bidirectional: bidirectional,
                buckets: configuration.relativeAttentionNumBuckets,
                maxDistance: configuration.relativeAttentionMaxDistance)
        }
    }

    /// Spreads a table, [buckets, heads], over distances: [heads, distances].
    package func bias(from table: Rows, arena: Arena) throws -> DistanceBias {
        let spread = try arena.rows(table.width, buckets.count)
        for (column, bucket) in buckets.enumerated() {
            let entry = table[bucket]
            for head in 0..<table.width { spread[head][column] = entry[head] }
        }
        return DistanceBias(table: spread, zero: zero)
    }

    /// The backward pass of `bias`: adds to `dtable`.
    package func biasBackward(_ dbias: DistanceBias, addingTo dtable: Rows) {
        for (column, bucket) in buckets.enumerated() {
            let entry = dtable[bucket]
            for head in 0..<dtable.width { entry[head] += dbias.table[head][column] }
        }
    }
}
