import CKernels
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// What comparing a position with an original needs of the logits that never change, where a few
/// rows of the head are all that is trained; see `FixedLogits`.
struct FixedComparison {
    /// log sum exp of the trained logits over the other ids.
    private let logSum: Double
    /// The other id with the largest of them.
    private let largest: (id: Int32, logit: Float)
    /// Of the original: log sum exp of all logits, its likeliest id.
    private let originalLogSum: Double
    private let originalLargest: Int32
    /// Of the rows: the original's logits.
    private let rows: [Int32]
    private let original: [Double]
    /// Over the others: the sum of q (z° - z).
    private let difference: Double
    private let price: Double
    private let avoided: [Avoided]

    /// An id whose probability is asked for.
    private struct Avoided {
        /// Among the rows; nil of the others.
        let row: Int?
        let before: Double
        /// The trained logit of one of the others.
        let logit: Double
    }

    /// - Parameters:
    ///   - rows: the ids of the rows that are trained.
    ///   - original: z°, [vocab_size]; changed.
    ///   - trained: z before training, [vocab_size]; changed.
    ///   - scratch: [vocab_size].
    ///   - ids: whose probabilities are asked for.
    init(
        rows: [Int32], original: UnsafeMutableBufferPointer<Float>,
        trained: UnsafeMutableBufferPointer<Float>,
        scratch: UnsafeMutablePointer<Float>, ids: [Int32]
    ) {
        self.rows = rows
        self.original = rows.map { Double(original[Int($0)]) }
        let largestBefore = original.baseAddress.map { kernel_argmax($0, original.count) } ?? 0
        originalLargest = Int32(truncatingIfNeeded: largestBefore)
        let before = ids.map { Double(original[Int($0)]) }
        let logits = ids.map { Double(trained[Int($0)]) }
        let kept = rows.map { (original[Int($0)], trained[Int($0)]) }
        for id in rows {
            original[Int(id)] = -.infinity
            trained[Int(id)] = -.infinity
        }
        logSum = logSumExp(trained, into: scratch).value
        let first = trained.baseAddress.map { kernel_argmax($0, trained.count) } ?? 0
        largest = (Int32(truncatingIfNeeded: first), trained[Int(first)])
        let (others, sum) = logSumExp(original, into: scratch)
        let whole = FixedLogits.logSum(self.original + [others])
        originalLogSum = whole
        var cross = 0.0
        for i in original.indices where scratch[i] > 0 {
            cross += Double(scratch[i]) * (Double(original[i]) - Double(trained[i]))
        }
        difference = sum > 0 ? cross / Double(sum) * exp(others - whole) : 0
        avoided = zip(ids, zip(before, logits)).map { id, values in
            Avoided(
                row: rows.firstIndex(of: id), before: exp(values.0 - whole), logit: values.1)
        }
        for (id, values) in zip(rows, kept) {
            (original[Int(id)], trained[Int(id)]) = values
        }
        price =
            compare(
                original: original, trained: trained,
                scratch: UnsafeMutableBufferPointer(start: scratch, count: trained.count), ids: ids
            ).price
    }

    /// - Parameter logits: the trained ones of the rows.
    func comparison(_ logits: UnsafeMutableBufferPointer<Float>) -> Comparison {
        var result = Comparison()
        let z = logits.map(Double.init)
        let whole = FixedLogits.logSum(z + [logSum])
        var cross = difference
        for row in z.indices where original[row] > -.infinity {
            cross += exp(original[row] - originalLogSum) * (original[row] - z[row])
        }
        result.kl = max(cross - originalLogSum + whole, 0)
        var likeliest = largest
        for (id, logit) in zip(rows, logits)
        where logit > likeliest.logit || (logit == likeliest.logit && id < likeliest.id) {
            likeliest = (id, logit)
        }
        result.isFlipped = likeliest.id != originalLargest
        result.probabilities = avoided.map {
            (before: $0.before, after: exp(($0.row.map { z[$0] } ?? $0.logit) - whole))
        }
        result.price = price
        return result
    }
}
