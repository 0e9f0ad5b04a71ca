import CKernels

/// A weight matrix `[outputs, inputs]` packed for products: see `KERNEL_PANEL` in kernels.h.
package final class PackedMatrix: @unchecked Sendable {
    package let outputs: Int
    package let inputs: Int
    let panels: FloatBuffer

    /// Values to come: every output is packed before the first product.
    ///
    /// - Throws: `UNSAY_E_MEMORY` if the memory cannot be had.
    package init(outputs: Int, inputs: Int) throws {
        self.outputs = outputs
        self.inputs = inputs
        panels = try FloatBuffer(count: Panels.size(outputs, inputs))
        // Of a last panel that is not full, what lies beyond the outputs.
        guard outputs % Panels.width > 0 else { return }
        let size = Panels.width * inputs
        (panels.base + (panelCount - 1) * size).update(repeating: 0, count: size)
    }

    /// The outputs that lie together.
    package static var panelWidth: Int { Panels.width }

    var panelCount: Int { Panels.count(outputs) }

    /// Overwrites the outputs in `range`.
    ///
    /// Element (output n, input k) is `source[(n - range.lowerBound) * outputStride + k *
    /// inputStride]`.
    package func pack(
        _ source: UnsafePointer<Float>, outputs range: Range<Int>, outputStride: Int,
        inputStride: Int = 1, workers: Workers
    ) {
        assert(range.lowerBound >= 0 && range.upperBound <= outputs, "\(range) of \(outputs)")
        Panels.pack(
            source, outputs: range, outputStride: outputStride, inputStride: inputStride,
            inputs: inputs, into: panels.base, workers: workers)
    }

    /// Writes the outputs in `range` to `out`, `[range.count, inputs]`, `stride` floats apart.
    package func unpack(
        outputs range: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        assert(range.lowerBound >= 0 && range.upperBound <= outputs, "\(range) of \(outputs)")
        kernel_unpack(panels.base, range.lowerBound, range.upperBound, inputs, out, stride)
    }
}

/// The memory of packed matrices.
enum Panels {
    static let width = Int(KERNEL_PANEL)

    static func count(_ outputs: Int) -> Int { outputs / width + (outputs % width > 0 ? 1 : 0) }

    /// The floats of a packed matrix; a size that no memory has if it cannot be counted.
    static func size(_ outputs: Int, _ inputs: Int) -> Int {
        let (columns, tooWide) = count(outputs).multipliedReportingOverflow(by: width)
        let (floats, tooLarge) = columns.multipliedReportingOverflow(by: inputs)
        return tooWide || tooLarge ? Int.max : floats
    }

    /// `kernel_pack`, a few panels a chunk.
    static func pack(
        _ source: UnsafePointer<Float>, outputs range: Range<Int>, outputStride: Int,
        inputStride: Int, inputs: Int, into panels: UnsafeMutablePointer<Float>, workers: Workers
    ) {
        guard !range.isEmpty else { return }
        let firstPanel = range.lowerBound / width
        let source = Shared(source), panels = Shared(panels)
        // 16,384 floats take about 10 microseconds.
        let smallest = max(1, 16_384 / max(inputs * width, 1))
        workers.split(count(range.upperBound) - firstPanel, smallest: smallest) { chunk in
            let first = max((firstPanel + chunk.lowerBound) * width, range.lowerBound)
            let end = min((firstPanel + chunk.upperBound) * width, range.upperBound)
            kernel_pack(
                source.pointer + (first - range.lowerBound) * outputStride, outputStride,
                inputStride, first, end, inputs, panels.pointer)
        }
    }
}
