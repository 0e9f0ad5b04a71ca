import CKernels
import T5
import Tensors

// What tells numbers that a training has lost: NaN and infinities.

/// Whether no value is NaN or infinite.
package func allFinite(_ values: UnsafeBufferPointer<Float>) -> Bool {
    // Squares of floats are finite in double, and so are sums of any number of them.
    values.baseAddress.map { kernel_square_sum($0, values.count).isFinite } ?? true
}

/// Whether no value is NaN or infinity; -infinity may be among them.
func isBelowInfinity(_ values: UnsafeMutableBufferPointer<Float>) -> Bool {
    // Without an early end, so that the loop is one of vectors.
    var found: UInt32 = 0
    for value in values { found |= value < .infinity ? 0 : 1 }
    return found == 0
}

extension TrainedWeights {
    /// The first weight that holds a number which is not finite; nil if there is none.
    package func firstNotFinite(workers: Workers) -> Parameter? {
        let count = values.count
        let squares = sum((count + flatChunk - 1) / flatChunk, workers) { chunk in
            let start = chunk * flatChunk
            return kernel_square_sum(values.base + start, min(flatChunk, count - start))
        }
        guard !squares.isFinite else { return nil }
        return layout.slots.first {
            !allFinite(UnsafeBufferPointer(start: values.base + $0.offset, count: $0.count))
        }
    }
}

extension Gradients.Part {
    /// The first weight of the part whose gradient is not finite; nil if there is none.
    package func firstNotFinite(_ layout: TrainedLayout) -> Parameter? {
        layout.slots[slots].first {
            !allFinite(
                UnsafeBufferPointer(start: base + ($0.offset - range.lowerBound), count: $0.count))
        }
    }
}
