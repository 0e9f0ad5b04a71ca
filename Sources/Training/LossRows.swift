import Tensors

/// Room for the losses of logits that belong to somebody else: they are not changed.
package final class LossRows {
    private var z: [Float]
    private var q: [Float]
    private var scratch: [Float]

    /// - Parameter width: the size of the vocabulary.
    package init(width: Int) {
        z = [Float](repeating: 0, count: width)
        q = z
        scratch = z
    }

    /// The loss of one position; its gradient is kept until the next.
    ///
    /// - Parameters:
    ///   - logits: z, [width].
    ///   - reference: z°, [width]; nil for a loss without reference.
    package func loss(
        _ target: TokenTarget, _ settings: LossSettings, logits: UnsafeBufferPointer<Float>,
        reference: UnsafeBufferPointer<Float>?
    ) -> TokenLoss {
        z.withUnsafeMutableBufferPointer { z in
            q.withUnsafeMutableBufferPointer { q in
                scratch.withUnsafeMutableBufferPointer { scratch in
                    guard let room = scratch.baseAddress else { return TokenLoss() }
                    _ = z.update(from: logits)
                    if let reference { _ = q.update(from: reference) }
                    return tokenLoss(
                        target, settings, logits: z, reference: reference == nil ? nil : q,
                        scratch: room, factor: 1)
                }
            }
        }
    }

    /// Overwrites `target`, [width].
    package func copyGradient(to target: UnsafeMutablePointer<Float>) {
        target.update(from: z, count: z.count)
    }
}
