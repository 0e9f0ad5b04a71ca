import CKernels
import CUnsay
import Support
import T5
import Tensors

/// What one update is to do, besides following the gradients.
package struct UpdateSettings {
    /// Multiplies the gradients first (clipping).
    package let scale: Float
    package let rate: Float
    /// Times the rate, how far a weight moves towards `reference` by itself.
    package let decay: Float
    /// Shaped as the weights; nil: decay towards 0.
    package let reference: FloatBuffer?

    package init(scale: Float, rate: Float, decay: Float, reference: FloatBuffer?) {
        self.scale = scale
        self.rate = rate
        self.decay = decay
        self.reference = reference
    }
}

/// Moves trained weights along their gradients: a step begins, then moves every part once, in
/// any order.
package protocol Optimizer: AnyObject {
    /// Steps taken: set it only to what belongs to `state`.
    var steps: Int { get set }
    /// All that it remembers, in a fixed order; to be saved and restored as a whole.
    var state: [FloatBuffer] { get }

    /// - Parameters:
    ///   - weights: all that are trained.
    ///   - part: which of them to move, and their gradients.
    func update(
        _ weights: FloatBuffer, _ part: Gradients.Part, _ settings: UpdateSettings,
        workers: Workers)
}

extension Optimizer {
    package func beginStep() { steps += 1 }

    /// Forgets every step.
    package func reset() {
        for buffer in state { buffer.base.update(repeating: 0, count: buffer.count) }
        steps = 0
    }
}

/// The optimizer of a kind, for weights of one layout.
///
/// - Parameter momentum: of SGD.
package func makeOptimizer(
    _ kind: unsay_optimizer, _ layout: TrainedLayout, momentum: Float
) throws -> any Optimizer {
    switch kind {
    case UNSAY_OPTIMIZER_ADAMW: return try AdamW(count: layout.flatCount)
    case UNSAY_OPTIMIZER_ADAFACTOR: return try Adafactor(layout)
    case UNSAY_OPTIMIZER_SGD: return try SGD(count: layout.flatCount, momentum: momentum)
    default:
        throw Failure(
            UNSAY_E_ARGUMENT, "optimizer is \(kind.rawValue), not one of unsay_optimizer")
    }
}

/// The learning rate of step 1, 2, ...
package struct Schedule: Sendable {
    package let peak: Float
    package let warmupSteps: Int
    package let kind: Kind

    package enum Kind: Sendable {
        case constant
        /// Falls in a straight line to 0 over so many steps after warm-up.
        case linear(decaySteps: Int)
        /// peak * sqrt(warmupSteps / step) after warm-up, or, without warm-up, as if it had
        /// been 10,000 steps: transformers' `get_inverse_sqrt_schedule`.
        case inverseSquareRoot
    }

    package init(peak: Float, warmupSteps: Int, kind: Kind) {
        self.peak = peak
        self.warmupSteps = warmupSteps
        self.kind = kind
    }

    /// Rises in a straight line over the steps of warm-up, then does as `kind` says.
    package func rate(step: Int) -> Float {
        if step <= warmupSteps { return peak * Float(step) / Float(warmupSteps) }
        switch kind {
        case .constant: return peak
        case .linear(let decaySteps):
            return peak * max(0, 1 - Float(step - warmupSteps) / Float(decaySteps))
        case .inverseSquareRoot:
            let scale = warmupSteps > 0 ? warmupSteps : 10_000
            let shifted = step + scale - warmupSteps
            return peak / (Float(shifted) / Float(scale)).squareRoot()
        }
    }
}

/// Floats of a flat array that one thread handles at a time: fixed, so that sums over chunks
/// do not depend on the number of threads.
let flatChunk = 1 << 15

/// Runs `body` over the chunks of a part of the flat array, on several threads: the gradients of
/// each, and which weights they are of.
func forEachChunk(
    _ part: Gradients.Part, _ workers: Workers,
    _ body: (_ gradients: UnsafePointer<Float>, _ range: Range<Int>) -> Void
) {
    workers.forEach((part.range.count + flatChunk - 1) / flatChunk) { index in
        let start = index * flatChunk
        let first = part.range.lowerBound + start
        body(part.base + start, first..<min(first + flatChunk, part.range.upperBound))
    }
}

/// The sum of the squares of gradients, in double, in chunk order.
package func squareSum(_ part: Gradients.Part, workers: Workers) -> Double {
    sum((part.range.count + flatChunk - 1) / flatChunk, workers) { index in
        let start = index * flatChunk
        return kernel_square_sum(part.base + start, min(flatChunk, part.range.count - start))
    }
}

/// body(0) + body(1) + ..., run on several threads, added in order.
func sum(_ chunks: Int, _ workers: Workers, _ body: (Int) -> Double) -> Double {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: max(chunks, 1)) { sums in
        nonisolated(unsafe) let shared = sums
        workers.forEach(chunks) { shared[$0] = body($0) }
        return sums[..<chunks].reduce(0, +)
    }
}
