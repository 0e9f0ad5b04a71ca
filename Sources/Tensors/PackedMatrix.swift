import CKernels

/// A weight matrix `[outputs, inputs]` packed for products: see `KERNEL_PANEL` in kernels.h.
package final class PackedMatrix: @unchecked Sendable {
    package let outputs: Int
    package let inputs: Int
    package let precision: Precision
    /// Of int8: the bits that inputs are rounded to, 8 or 16.
    let inputBits: Int
    let panels: Panels
    private let memory: FloatBuffer

    /// Values to come: every output is packed before the first product.
    ///
    /// - Parameter inputBits: of int8, what inputs are rounded to: 8 bits, or 16, which are
    ///   twice as much work where there is more than one row.
    /// - Throws: `UNSAY_E_MEMORY` if the memory cannot be had.
    package init(
        outputs: Int, inputs: Int, precision: Precision = .float32, inputBits: Int = 16
    ) throws {
        self.outputs = outputs
        self.inputs = inputs
        self.precision = precision
        self.inputBits = inputBits
        memory = try FloatBuffer(count: Panels.floats(outputs, inputs, precision))
        panels = Panels(memory.base, outputs: outputs, inputs: inputs, precision)
        panels.clearPadding()
    }

    /// A copy of another matrix in another precision.
    ///
    /// - Throws: `UNSAY_E_MEMORY`.
    package convenience init(
        _ other: PackedMatrix, precision: Precision, workers: Workers
    ) throws {
        try self.init(outputs: other.outputs, inputs: other.inputs, precision: precision)
        let width = Panels.width
        let scratch = ScratchPool(count: width * inputs)
        try workers.forEachThrowing(Panels.count(outputs)) { panel in
            let range = panel * width..<min((panel + 1) * width, outputs)
            try scratch.with { buffer in
                other.unpack(outputs: range, into: buffer.base, stride: inputs)
                pack(
                    buffer.base, outputs: range, outputStride: inputs,
                    workers: Workers(threads: 1))
            }
        }
    }

    /// The same weights, in the same memory, whose inputs are rounded to another number of bits.
    package init(_ other: PackedMatrix, inputBits: Int) {
        (outputs, inputs, precision) = (other.outputs, other.inputs, other.precision)
        self.inputBits = inputBits
        (memory, panels) = (other.memory, other.panels)
    }

    /// The outputs that lie together.
    package static var panelWidth: Int { Panels.width }

    /// Overwrites the outputs in `range`.
    ///
    /// Element (output n, input k) is `source[(n - range.lowerBound) * outputStride + k *
    /// inputStride]`.
    package func pack(
        _ source: UnsafePointer<Float>, outputs range: Range<Int>, outputStride: Int,
        inputStride: Int = 1, workers: Workers
    ) {
        assert(range.lowerBound >= 0 && range.upperBound <= outputs, "\(range) of \(outputs)")
        panels.pack(
            source, outputs: range, outputStride: outputStride, inputStride: inputStride,
            workers: workers)
    }

    /// Writes the outputs in `range` to `out`, `[range.count, inputs]`, `stride` floats apart.
    package func unpack(
        outputs range: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        assert(range.lowerBound >= 0 && range.upperBound <= outputs, "\(range) of \(outputs)")
        kernel_unpack(
            precision.kernel, panels.base, panels.units, range.lowerBound, range.upperBound, inputs,
            out, stride)
    }
}

/// A packed matrix in memory that somebody else owns.
struct Panels: @unchecked Sendable {
    let outputs: Int
    let inputs: Int
    let precision: Precision
    let base: UnsafeMutableRawPointer
    /// Of int8, one for each output, in front of the panels.
    let units: UnsafeMutablePointer<Float>?

    static let width = Int(KERNEL_PANEL)

    static func count(_ outputs: Int) -> Int { outputs / width + (outputs % width > 0 ? 1 : 0) }

    /// The memory of a packed matrix; a size that no memory has if it cannot be counted.
    static func floats(_ outputs: Int, _ inputs: Int, _ precision: Precision) -> Int {
        let (columns, tooWide) = count(outputs).multipliedReportingOverflow(by: width)
        let (floats, tooLarge) = columns.multipliedReportingOverflow(by: max(inputs, 1))
        guard !tooWide, !tooLarge, floats < Int.max / 8 else { return Int.max }
        let bytes = kernel_panels_bytes(precision.kernel, outputs, inputs)
        return bytes / 4 + (precision == .int8 ? columns : 0)
    }

    /// - Parameter memory: `floats(outputs, inputs, precision)`.
    init(
        _ memory: UnsafeMutablePointer<Float>, outputs: Int, inputs: Int, _ precision: Precision
    ) {
        self.outputs = outputs
        self.inputs = inputs
        self.precision = precision
        let isInt8 = precision == .int8
        units = isInt8 ? memory : nil
        base = UnsafeMutableRawPointer(
            memory + (isInt8 ? Self.count(outputs) * Self.width : 0))
    }

    /// Of a last panel that is not full, zeroes what lies beyond the outputs.
    func clearPadding() {
        let rest = outputs % Self.width
        guard rest > 0 else { return }
        let bytes = kernel_panels_bytes(precision.kernel, Self.width, inputs)
        let last = base + (Self.count(outputs) - 1) * bytes
        last.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        (units.map { $0 + outputs })?.update(repeating: 0, count: Self.width - rest)
    }

    /// `kernel_pack`, a few panels a chunk.
    func pack(
        _ source: UnsafePointer<Float>, outputs range: Range<Int>, outputStride: Int,
        inputStride: Int, workers: Workers
    ) {
        guard !range.isEmpty else { return }
        let firstPanel = range.lowerBound / Self.width
        let source = Shared(source)
        // 16,384 floats take about 10 microseconds.
        let smallest = max(1, 16_384 / max(inputs * Self.width, 1))
        workers.split(Self.count(range.upperBound) - firstPanel, smallest: smallest) { chunk in
            let first = max((firstPanel + chunk.lowerBound) * Self.width, range.lowerBound)
            let end = min((firstPanel + chunk.upperBound) * Self.width, range.upperBound)
            kernel_pack(
                precision.kernel, source.pointer + (first - range.lowerBound) * outputStride,
                outputStride, inputStride, first, end, inputs, base, units)
        }
    }
}
