import CKernels
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// What is wanted at one position of an output.
package struct TokenTarget: Sendable {
    /// The written token.
    package let id: Int32
    /// -1 avoid, 0 ignore, 1 keep.
    package let mark: Int8
    /// More ids to avoid here, each of them once.
    package let alsoAvoid: [Int32]
    /// Every id to avoid here, each of them once: the written one, if its mark says so, first.
    package let avoided: [Int32]
    /// Of the example; 1 unless the caller said otherwise.
    package let weight: Float

    /// - Parameter alsoAvoid: may repeat ids and name the written one: each id counts once.
    package init(id: Int32, mark: Int8, alsoAvoid: [Int32] = [], weight: Float = 1) {
        self.id = id
        self.mark = mark
        var known: Set<Int32> = mark < 0 ? [id] : []
        self.alsoAvoid = alsoAvoid.filter { known.insert($0).inserted }
        avoided = mark < 0 ? [id] + self.alsoAvoid : self.alsoAvoid
        self.weight = weight
    }
}

package struct LossSettings: Sendable {
    package let columns: LossColumns
    /// Multiplies the term of avoided positions.
    package let alpha: Float
    /// The share of q that an avoided token keeps.
    package let retain: Float
    /// Multiplies the square of the log-normaliser of z, at every marked position.
    package let zLoss: Float

    package init(columns: LossColumns, alpha: Float, retain: Float, zLoss: Float) {
        self.columns = columns
        self.alpha = alpha
        self.retain = retain
        self.zLoss = zLoss
    }
}

/// The loss of one position, before its weight.
package struct TokenLoss: Sendable {
    /// Alpha and z-loss included.
    package var loss = 0.0
    /// The term alone, before alpha.
    package var term = 0.0
    /// p of the written token.
    package var probability = 0.0
}

/// log sum_i exp(row[i]), and, in `exponentials`, exp(row[i] - maximum) with their sum.
///
/// Takes the largest value out first and adds its share in double, so that differences of
/// two such logarithms keep seven digits.
func logSumExp(
    _ row: UnsafeMutableBufferPointer<Float>, into exponentials: UnsafeMutablePointer<Float>
) -> (value: Double, sum: Float) {
    guard let base = row.baseAddress, row.count > 0 else { return (-.infinity, 0) }
    let largest = row[Int(kernel_argmax(base, row.count))]
    guard largest > -.infinity else { return (-.infinity, 0) }
    let sum = kernel_exp(base, largest, row.count, exponentials)
    return (Double(largest) + log(Double(sum)), sum)
}

/// The loss of one position and its gradient. Both are NaN where a logit is NaN or infinity;
/// -infinity stands for a probability of 0.
///
/// - Parameters:
///   - logits: z, [vocab_size]; overwritten by `factor` times the gradient of the loss.
///   - reference: z°, [vocab_size]; changed. Not read by terms that need no reference.
///   - scratch: [vocab_size].
package func tokenLoss(
    _ target: TokenTarget, _ settings: LossSettings,
    logits: UnsafeMutableBufferPointer<Float>, reference: UnsafeMutableBufferPointer<Float>?,
    scratch: UnsafeMutablePointer<Float>, factor: Float
) -> TokenLoss {
    let term = settings.columns[target.mark]
    guard term.kind != .none, logits.count > 0 else {
        logits.update(repeating: 0)
        return TokenLoss()
    }
    // Exponentials and maxima of the kernels may pass over a NaN: no loss may.
    guard isBelowInfinity(logits), !term.needsReference || reference.map(isBelowInfinity) != false
    else {
        logits.update(repeating: .nan)
        return TokenLoss(loss: .nan, term: .nan, probability: .nan)
    }
    var position = PositionLoss(
        target: target, term: term, settings: settings, logits: logits, scratch: scratch,
        factor: factor)
    let isDone =
        switch term.kind {
        case .none: false
        case .forwardKL, .crossEntropy, .reverseKL: position.moveTowards(reference)
        case .unlikelihood: position.unlikelihood()
        case .negativeLikelihood: position.negativeLikelihood()
        }
    guard isDone else {
        // No distribution is left to move towards.
        logits.update(repeating: 0)
        return TokenLoss()
    }
    return position.result
}
