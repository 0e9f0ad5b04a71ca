import CKernels
import CUnsay
import Support
import T5
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// Adafactor (Shazeer and Stern, 2018) as T5X trains T5 with it: no momentum, a step size
/// times the root mean square of the weight itself, the update's own RMS at most 1.
///
/// A matrix whose two sides are at least 128 long keeps one number a row and one a column;
/// everything else keeps one a value.
package final class Adafactor: Optimizer {
    package var steps = 0
    private let layout: TrainedLayout
    /// Of each slot: the means of squares of rows, then of columns; or of every value.
    private let moments: [FloatBuffer]

    // T5X's defaults.
    private static let decayRate = 0.8
    private static let epsilon1: Float = 1e-30
    private static let epsilon2 = 1e-3
    private static let clippingThreshold = 1.0
    private static let smallestFactored = 128
    /// Rows that one thread handles at a time: part of the result.
    private static let rowChunk = 256

    package init(_ layout: TrainedLayout) throws {
        self.layout = layout
        moments = try layout.slots.map {
            try FloatBuffer(
                count: Self.isFactored($0) ? $0.rows + $0.columns : $0.count, zeroed: true)
        }
    }

    package var state: [FloatBuffer] { moments }

    private static func isFactored(_ slot: Parameter) -> Bool {
        min(slot.rows, slot.columns) >= smallestFactored
    }

    package func update(
        _ weights: FloatBuffer, _ part: Gradients.Part, _ settings: UpdateSettings,
        workers: Workers
    ) {
        let beta2 = 1 - pow(Double(steps), -Self.decayRate)
        for (slot, moment) in zip(layout.slots[part.slots], moments[part.slots]) {
            let matrix = Matrix(
                slot: slot, gradient: part.base + (slot.offset - part.range.lowerBound),
                weight: weights.base + slot.offset,
                reference: settings.reference.map { UnsafePointer($0.base + slot.offset) })
            var kernel = kernel_adafactor_settings()
            kernel.scale = settings.scale
            kernel.epsilon = Self.epsilon1
            kernel.beta2 = Float(beta2)
            kernel.decay = settings.rate * settings.decay
            let factors =
                Self.isFactored(slot)
                ? factor(matrix, moment, beta2: beta2, kernel, workers) : nil
            let v = factors == nil ? moment.base : nil
            let squares = run(matrix, kernel, factors, v, measuresOnly: true, workers)
            let size = Double(slot.count)
            let clip = max(1, (squares / size).squareRoot() / Self.clippingThreshold)
            let weightRMS = (rootSum(matrix, workers) / size).squareRoot()
            kernel.rate = Float(
                Double(settings.rate) * max(Self.epsilon2, weightRMS) / clip)
            _ = run(matrix, kernel, factors, v, measuresOnly: false, workers)
        }
    }

    private struct Matrix: @unchecked Sendable {
        let slot: Parameter
        let gradient: UnsafePointer<Float>
        let weight: UnsafeMutablePointer<Float>
        let reference: UnsafePointer<Float>?

        var chunks: Int { (slot.rows + rowChunk - 1) / rowChunk }

        func rows(_ chunk: Int) -> Range<Int> {
            chunk * rowChunk..<min((chunk + 1) * rowChunk, slot.rows)
        }
    }

    /// Brings the moments of rows and columns up to date; their factors of the update.
    private func factor(
        _ matrix: Matrix, _ moment: FloatBuffer, beta2: Double,
        _ kernel: kernel_adafactor_settings, _ workers: Workers
    ) -> (rows: [Float], columns: [Float]) {
        let (rows, columns) = (matrix.slot.rows, matrix.slot.columns)
        var rowSums = [Double](repeating: 0, count: rows)
        var columnSums = [Double](repeating: 0, count: matrix.chunks * columns)
        rowSums.withUnsafeMutableBufferPointer { rowSums in
            columnSums.withUnsafeMutableBufferPointer { columnSums in
                nonisolated(unsafe) let rowBase = rowSums.baseAddress
                nonisolated(unsafe) let columnBase = columnSums.baseAddress
                workers.forEach(matrix.chunks) { chunk in
                    guard let rowBase, let columnBase else { return }
                    var kernel = kernel
                    let range = matrix.rows(chunk)
                    kernel_adafactor_moments(
                        &kernel, matrix.gradient + range.lowerBound * columns, range.count,
                        columns, rowBase + range.lowerBound, columnBase + chunk * columns)
                }
            }
        }
        let v = UnsafeMutableBufferPointer(start: moment.base, count: moment.count)
        for row in 0..<rows {
            v[row] = Float(beta2 * Double(v[row]) + (1 - beta2) * rowSums[row] / Double(columns))
        }
        for column in 0..<columns {
            var sum = 0.0
            for chunk in 0..<matrix.chunks { sum += columnSums[chunk * columns + column] }
            v[rows + column] = Float(
                beta2 * Double(v[rows + column]) + (1 - beta2) * sum / Double(rows))
        }
        let mean = v[..<rows].reduce(0.0) { $0 + Double($1) } / Double(rows)
        return (
            v[..<rows].map { Float(1 / (Double($0) / mean).squareRoot()) },
            v[rows...].map { Float(1 / Double($0).squareRoot()) }
        )
    }

    /// The sum of the squares of the update; makes it, unless it only measures.
    private func run(
        _ matrix: Matrix, _ kernel: kernel_adafactor_settings,
        _ factors: (rows: [Float], columns: [Float])?, _ v: UnsafeMutablePointer<Float>?,
        measuresOnly: Bool, _ workers: Workers
    ) -> Double {
        let columns = matrix.slot.columns
        let rowFactors = factors?.rows ?? [], columnFactors = factors?.columns ?? []
        nonisolated(unsafe) let v = v
        return rowFactors.withUnsafeBufferPointer { rowFactors in
            columnFactors.withUnsafeBufferPointer { columnFactors in
                nonisolated(unsafe) let rowBase = rowFactors.baseAddress
                nonisolated(unsafe) let columnBase = columnFactors.baseAddress
                return sum(matrix.chunks, workers) { chunk in
                    var kernel = kernel
                    let range = matrix.rows(chunk)
                    let first = range.lowerBound * columns
                    return kernel_adafactor_update(
                        &kernel, matrix.gradient + first, rowBase.map { $0 + range.lowerBound },
                        columnBase, matrix.reference.map { $0 + first }, range.count, columns,
                        v.map { $0 + first }, measuresOnly ? nil : matrix.weight + first)
                }
            }
        }
    }

    private func rootSum(_ matrix: Matrix, _ workers: Workers) -> Double {
        let columns = matrix.slot.columns
        return sum(matrix.chunks, workers) { chunk in
            let range = matrix.rows(chunk)
            return kernel_square_sum(
                matrix.weight + range.lowerBound * columns, range.count * columns)
        }
    }
}
