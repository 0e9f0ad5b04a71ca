import Glibc
import Support
import Tensors

/// Logistic regression by Adam: one row of features for each token, one bit to learn.
///
/// Features are standardised first. Marked tokens weigh as much together as all others. Sums
/// are in double and in one order, so that the result has the same bits on any threads.
struct HeadTrainer {
    /// Standardised, [tokens, width].
    private let x: Rows
    /// What the rows lie in.
    private let memory: FloatBuffer
    private let isMarked: [Bool]
    private let mean: [Double]
    private let scale: [Double]
    /// Of a marked token, and of any other.
    private let markedWeight: Double, otherWeight: Double
    private let decay: Double
    /// [width + 1], of the standardised features; the bias is last.
    private(set) var weights: [Double]

    /// - Parameters:
    ///   - memory: [tokens, width], replaced by what they are standardised.
    ///   - isMarked: of each token; some are and some are not.
    init(standardising memory: FloatBuffer, isMarked: [Bool], decay: Double) {
        let states = Rows(
            base: memory.base, count: isMarked.count, width: memory.count / isMarked.count)
        var mean = [Double](repeating: 0, count: states.width)
        var scale = mean
        for row in 0..<states.count { addScaled(1, states[row], to: &mean) }
        for index in mean.indices { mean[index] /= Double(states.count) }
        for row in 0..<states.count {
            for (index, value) in states[row].enumerated() {
                let difference = Double(value) - mean[index]
                scale[index] += difference * difference
            }
        }
        for index in scale.indices {
            // 1e-6: a feature that never changes divides by nothing else.
            scale[index] = (scale[index] / Double(states.count)).squareRoot() + 1e-6
        }
        for row in 0..<states.count {
            let values = states[row]
            for index in values.indices {
                values[index] = Float((Double(values[index]) - mean[index]) / scale[index])
            }
        }
        let share = Double(isMarked.count(where: { $0 })) / Double(isMarked.count)
        (markedWeight, otherWeight) = (0.5 / share, 0.5 / (1 - share))
        (x, self.memory, self.isMarked, self.decay) = (states, memory, isMarked, decay)
        (self.mean, self.scale) = (mean, scale)
        weights = [Double](repeating: 0, count: states.width + 1)
    }

    /// Trains in place; see `ClassifierOptions`.
    ///
    /// - Parameter afterPass: called after each pass; what it throws ends the training.
    mutating func run(_ options: ClassifierOptions, afterPass: () throws -> Void) rethrows {
        var random = SplitMix64(state: options.seed)
        var order = Array(0..<x.count)
        var adam = Adam(count: weights.count, rate: Double(options.learningRate))
        var gradient = [Double](repeating: 0, count: weights.count)
        for _ in 0..<options.passes {
            random.shuffle(&order)
            var first = 0
            while first < order.count {
                let batch = order[first..<min(first + options.batchSize, order.count)]
                lossGradient(batch, weights, into: &gradient)
                adam.step(&weights, gradient)
                first = batch.endIndex
            }
            try afterPass()
        }
    }

    /// The gradient of the mean loss of some tokens plus decay / 2 |weights|², the bias excepted.
    ///
    /// - Parameter gradient: overwritten, [width + 1].
    func lossGradient(
        _ tokens: ArraySlice<Int>, _ weights: [Double], into gradient: inout [Double]
    ) {
        for index in gradient.indices { gradient[index] = decay * weights[index] }
        gradient[x.width] = 0
        for token in tokens {
            let p = logistic(score(token, weights))
            let error = isMarked[token] ? (p - 1) * markedWeight : p * otherWeight
            addScaled(error / Double(tokens.count), x[token], to: &gradient)
            gradient[x.width] += error / Double(tokens.count)
        }
    }

    /// The mean cross entropy of all tokens, in nats, marked and others weighing alike.
    func loss(_ weights: [Double]) -> Double {
        var sum = 0.0
        for token in 0..<x.count {
            let score = score(token, weights)
            // log(1 + exp(z)) of what is wrong, without overflow.
            let wrong = isMarked[token] ? -score : score
            let loss = max(wrong, 0) + log1p(exp(-abs(wrong)))
            sum += loss * (isMarked[token] ? markedWeight : otherWeight)
        }
        return sum / Double(x.count)
    }

    /// The head as it is now, of features that are not standardised.
    var head: LinearHead {
        LinearHead(
            mean: mean.map { Float($0) },
            weights: scale.indices.map { Float(weights[$0] / scale[$0]) },
            bias: Float(weights[x.width]))
    }

    private func score(_ token: Int, _ weights: [Double]) -> Double {
        weights.withUnsafeBufferPointer { dot(x[token], $0) } + weights[x.width]
    }
}

/// Adam (Kingma and Ba, 2015) with its published constants.
private struct Adam {
    let rate: Double
    private var first: [Double], second: [Double]
    private var steps = 0.0

    init(count: Int, rate: Double) {
        self.rate = rate
        first = [Double](repeating: 0, count: count)
        second = first
    }

    mutating func step(_ weights: inout [Double], _ gradient: [Double]) {
        steps += 1
        let firstFactor = 1 - pow(0.9, steps), secondFactor = 1 - pow(0.999, steps)
        for index in weights.indices {
            let slope = gradient[index]
            first[index] = 0.9 * first[index] + 0.1 * slope
            second[index] = 0.999 * second[index] + 0.001 * slope * slope
            weights[index] -=
                rate * (first[index] / firstFactor)
                / ((second[index] / secondFactor).squareRoot() + 1e-8)
        }
    }
}

/// Σ x[i] w[i], as eight sums side by side, which the processor adds at once.
private func dot(
    _ x: UnsafeMutableBufferPointer<Float>, _ w: UnsafeBufferPointer<Double>
) -> Double {
    var sums = SIMD8<Double>.zero
    var index = 0
    while index + 8 <= x.count {
        for lane in 0..<8 { sums[lane] += Double(x[index + lane]) * w[index + lane] }
        index += 8
    }
    var rest = 0.0
    while index < x.count {
        rest += Double(x[index]) * w[index]
        index += 1
    }
    return sums.sum() + rest
}

/// sums[i] += factor x[i].
private func addScaled(
    _ factor: Double, _ x: UnsafeMutableBufferPointer<Float>, to sums: inout [Double]
) {
    sums.withUnsafeMutableBufferPointer { sums in
        for index in x.indices { sums[index] += factor * Double(x[index]) }
    }
}

extension SplitMix64 {
    /// Fisher and Yates' shuffle, from the end; each place is the high half of a 128-bit product.
    mutating func shuffle(_ order: inout [Int]) {
        for last in stride(from: order.count - 1, to: 0, by: -1) {
            let place = next().multipliedFullWidth(by: UInt64(last + 1)).high
            order.swapAt(last, Int(place))
        }
    }
}
