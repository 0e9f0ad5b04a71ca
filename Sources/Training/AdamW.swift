import CKernels
import CUnsay
import Support
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// AdamW with decoupled decay (Loshchilov and Hutter, 2019), the constants of PyTorch.
package final class AdamW {
    private let first: FloatBuffer
    private let second: FloatBuffer
    /// Steps taken.
    private var steps = 0

    /// Beta 0.9 and 0.999, epsilon 1e-8: PyTorch's defaults.
    private static let beta1: Float = 0.9
    private static let beta2: Float = 0.999
    private static let epsilon: Float = 1e-8

    /// - Parameter count: of the weights in the flat array.
    package init(count: Int) throws {
        first = try FloatBuffer(count: count, zeroed: true)
        second = try FloatBuffer(count: count, zeroed: true)
    }

    /// Forgets every step.
    package func reset() {
        first.base.update(repeating: 0, count: first.count)
        second.base.update(repeating: 0, count: second.count)
        steps = 0
    }

    /// - Parameters:
    ///   - scale: multiplies the gradients first (clipping).
    ///   - decay: pulls towards `reference`, or to 0 if nil.
    package func update(
        _ weights: FloatBuffer, gradients: FloatBuffer, scale: Float, rate: Float, decay: Float,
        reference: FloatBuffer?, workers: Workers
    ) {
        steps += 1
        var settings = kernel_adamw_settings()
        settings.rate = rate
        settings.beta1 = Self.beta1
        settings.beta2 = Self.beta2
        settings.epsilon = Self.epsilon
        settings.correction1 = Float(1 - pow(Double(Self.beta1), Double(steps)))
        settings.correction2 = Float(1 - pow(Double(Self.beta2), Double(steps)))
        settings.decay = decay
        settings.scale = scale
        let chunk = flatChunk
        workers.forEach((weights.count + chunk - 1) / chunk) { index in
            var settings = settings
            let start = index * chunk
            kernel_adamw(
                &settings, gradients.base + start, reference.map { UnsafePointer($0.base + start) },
                min(chunk, weights.count - start), weights.base + start, first.base + start,
                second.base + start)
        }
    }
}

/// Floats of a flat array that one thread handles at a time: fixed, so that sums over chunks
/// do not depend on the number of threads.
private let flatChunk = 1 << 15

/// The L2 norm of a flat array, summed in double, in chunk order.
package func norm(_ values: FloatBuffer, workers: Workers) -> Double {
    let chunks = (values.count + flatChunk - 1) / flatChunk
    let sums = UnsafeMutableBufferPointer<Double>.allocate(capacity: max(chunks, 1))
    defer { sums.deallocate() }
    nonisolated(unsafe) let shared = sums
    workers.forEach(chunks) { index in
        let start = index * flatChunk
        shared[index] = kernel_square_sum(
            values.base + start, min(flatChunk, values.count - start))
    }
    return sums[..<chunks].reduce(0, +).squareRoot()
}

/// The learning rate of step 1, 2, ...: rises over `warmupSteps`, then stays, or falls
/// linearly to 0 over `decaySteps` if that is not 0.
package func learningRate(step: Int, peak: Float, warmupSteps: Int, decaySteps: Int) -> Float {
    if step <= warmupSteps { return peak * Float(step) / Float(warmupSteps) }
    guard decaySteps > 0 else { return peak }
    return peak * max(0, 1 - Float(step - warmupSteps) / Float(decaySteps))
}
