import CKernels
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// How one position of the trained model differs from the original.
package struct Comparison: Sendable {
    /// KL(original ‖ trained), nats.
    package var kl = 0.0
    /// Whether the most likely token differs.
    package var isFlipped = false
    /// Of each id asked for: its probability before and after.
    package var probabilities: [(before: Double, after: Double)] = []
    /// -log(1 - q(N)), N the ids asked for: what it costs at least to unsay them here, nats.
    package var price = 0.0

    /// Of logits that are not all finite: every measure is NaN.
    fileprivate init(notFinite count: Int) {
        kl = .nan
        probabilities = Array(repeating: (before: .nan, after: .nan), count: count)
        price = .nan
    }

    package init() {}
}

/// Compares two distributions over the next token. Every measure is NaN unless all logits are
/// finite.
///
/// - Parameters:
///   - original, trained: logits, [vocab_size]; the original's are changed.
///   - scratch: [vocab_size].
package func compare(
    original: UnsafeMutableBufferPointer<Float>, trained: UnsafeMutableBufferPointer<Float>,
    scratch: UnsafeMutableBufferPointer<Float>, ids: [Int32]
) -> Comparison {
    // Exponentials and maxima of the kernels may pass over a NaN: no measure may.
    guard allFinite(UnsafeBufferPointer(original)), allFinite(UnsafeBufferPointer(trained)) else {
        return Comparison(notFinite: ids.count)
    }
    var result = Comparison()
    guard let before = original.baseAddress, let after = trained.baseAddress,
        let exponentials = scratch.baseAddress
    else { return result }
    let afterSums = logSumExp(trained, into: exponentials)
    let beforeSums = logSumExp(original, into: exponentials)
    var cross = 0.0
    for i in 0..<original.count where exponentials[i] > 0 {
        cross += Double(exponentials[i]) * (Double(before[i]) - Double(after[i]))
    }
    result.kl = max(cross / Double(beforeSums.sum) - beforeSums.value + afterSums.value, 0)
    result.isFlipped =
        kernel_argmax(before, original.count) != kernel_argmax(after, trained.count)
    result.probabilities = ids.map {
        (
            before: exp(Double(before[Int($0)]) - beforeSums.value),
            after: exp(Double(after[Int($0)]) - afterSums.value)
        )
    }
    guard !ids.isEmpty else { return result }
    let share = result.probabilities.reduce(0) { $0 + $1.before }
    guard share > 0.5 else {
        result.price = -log1p(-share)
        return result
    }
    // From what is left without them: 1 - q(N) itself would lose its digits near 0.
    for id in ids { before[Int(id)] = -.infinity }
    result.price = beforeSums.value - logSumExp(original, into: exponentials).value
    return result
}
