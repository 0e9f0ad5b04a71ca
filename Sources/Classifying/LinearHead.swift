import Glibc
import Tensors

/// A linear classifier of an encoder's states.
package struct LinearHead: Sendable, Equatable {
    /// Of the states that it was trained on, [d_model].
    package let mean: [Float]
    /// [d_model].
    package let weights: [Float]
    package let bias: Float

    package init(mean: [Float], weights: [Float], bias: Float) {
        assert(mean.count == weights.count, "\(mean.count) means, \(weights.count) weights")
        self.mean = mean
        self.weights = weights
        self.bias = bias
    }

    /// p = 1 / (1 + exp(-(bias + Σ weights[i] (state[i] - mean[i])))).
    package func probability(_ state: UnsafeMutableBufferPointer<Float>) -> Float {
        var score = Double(bias)
        for (index, value) in state.enumerated() {
            score += Double(weights[index]) * (Double(value) - Double(mean[index]))
        }
        return Float(logistic(score))
    }
}

/// 1 / (1 + exp(-score)), for scores beyond 30 that of 30.
func logistic(_ score: Double) -> Double { 1 / (1 + exp(-min(max(score, -30), 30))) }
