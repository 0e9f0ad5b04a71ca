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
}

/// - Parameters:
///   - original, trained: logits, [vocab_size].
///   - scratch: [vocab_size].
package func compare(
    original: UnsafeMutableBufferPointer<Float>, trained: UnsafeMutableBufferPointer<Float>,
    scratch: UnsafeMutableBufferPointer<Float>, ids: [Int32]
) -> Comparison {
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
    return result
}
