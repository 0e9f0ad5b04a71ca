import CKernels
import T5
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// AdamW with decoupled decay (Loshchilov and Hutter, 2019), the constants of PyTorch.
package final class AdamW: Optimizer {
    package var steps = 0
    private let first: FloatBuffer
    private let second: FloatBuffer

    private static let beta1: Float = 0.9
    private static let beta2: Float = 0.999
    private static let epsilon: Float = 1e-8

    /// - Parameter count: of the weights in the flat array.
    package init(count: Int) throws {
        first = try FloatBuffer(count: count, zeroed: true)
        second = try FloatBuffer(count: count, zeroed: true)
    }

    package var state: [FloatBuffer] { [first, second] }

    package func update(
        _ weights: FloatBuffer, _ part: Gradients.Part, _ settings: UpdateSettings,
        workers: Workers
    ) {
        var kernel = kernel_adamw_settings()
        kernel.rate = settings.rate
        kernel.beta1 = Self.beta1
        kernel.beta2 = Self.beta2
        kernel.epsilon = Self.epsilon
        kernel.correction1 = Float(1 - pow(Double(Self.beta1), Double(steps)))
        kernel.correction2 = Float(1 - pow(Double(Self.beta2), Double(steps)))
        kernel.decay = settings.decay
        kernel.scale = settings.scale
        forEachChunk(part, workers) { gradients, range in
            var kernel = kernel
            let start = range.lowerBound
            kernel_adamw(
                &kernel, gradients, settings.reference.map { UnsafePointer($0.base + start) },
                range.count, weights.base + start, first.base + start, second.base + start)
        }
    }
}

/// Gradient descent with momentum as PyTorch's SGD has it, decay decoupled.
package final class SGD: Optimizer {
    package var steps = 0
    private let velocity: FloatBuffer
    private let momentum: Float

    package init(count: Int, momentum: Float) throws {
        velocity = try FloatBuffer(count: count, zeroed: true)
        self.momentum = momentum
    }

    package var state: [FloatBuffer] { [velocity] }

    package func update(
        _ weights: FloatBuffer, _ part: Gradients.Part, _ settings: UpdateSettings,
        workers: Workers
    ) {
        let kernel = kernel_sgd_settings(
            rate: settings.rate, momentum: momentum, decay: settings.decay, scale: settings.scale)
        forEachChunk(part, workers) { gradients, range in
            var kernel = kernel
            let start = range.lowerBound
            kernel_sgd(
                &kernel, gradients, settings.reference.map { UnsafePointer($0.base + start) },
                range.count, weights.base + start, velocity.base + start)
        }
    }
}
