import CUnsay
import Support
import Synchronization
import Tensors

/// All weights of a model, packed for products and never changed again.
///
/// A model points at one of these; readers take it once and keep it, so a patch that
/// replaces the model's snapshot disturbs no call in progress.
package final class WeightsSnapshot: Sendable {
    package let configuration: T5Configuration
    package let layout: ParameterLayout
    package let network: Network
    /// The SHA-256 of the weights, once somebody has asked for it.
    package let fingerprint = Mutex<[UInt8]?>(nil)
    /// Where each parameter lies, in the order of `layout`.
    private let places: [Place]

    private enum Place: Sendable {
        case outputs(PackedMatrix, Range<Int>)
        case table(FloatBuffer)
    }

    /// Reads every weight once.
    ///
    /// - Parameter read: writes parameter `index` of the layout, row-major float32.
    /// - Throws: what `read` throws, or `UNSAY_E_MEMORY`.
    package init(
        _ layout: ParameterLayout, _ configuration: T5Configuration, workers: Workers,
        read: (_ index: Int, _ into: UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws {
        let largest = layout.parameters.map(\.count).max() ?? 0
        let scratch = try FloatBuffer(count: largest)
        var places = [Place?](repeating: nil, count: layout.parameters.count)

        func index(_ name: String) throws -> Int {
            guard let index = layout.index(of: name) else {
                throw Failure(UNSAY_E_INTERNAL, "no parameter is called \(name)")
            }
            return index
        }
        func projection(_ names: [String]) throws -> Projection {
            let indices = try names.map(index)
            let parameters = indices.map { layout.parameters[$0] }
            let matrix = try PackedMatrix(
                outputs: parameters.reduce(0) { $0 + $1.rows }, inputs: parameters[0].columns)
            var first = 0
            for (index, parameter) in zip(indices, parameters) {
                let values = UnsafeMutableBufferPointer(start: scratch.base, count: parameter.count)
                try read(index, values)
                let outputs = first..<first + parameter.rows
                matrix.pack(
                    scratch.base, outputs: outputs, outputStride: parameter.columns,
                    workers: workers)
                places[index] = .outputs(matrix, outputs)
                first = outputs.upperBound
            }
            return Projection(matrix)
        }
        func table(_ name: String) throws -> Rows {
            let index = try index(name)
            let parameter = layout.parameters[index]
            let buffer = try FloatBuffer(count: parameter.count)
            try read(index, UnsafeMutableBufferPointer(start: buffer.base, count: parameter.count))
            places[index] = .table(buffer)
            return Rows(base: buffer.base, count: parameter.rows, width: parameter.columns)
        }

        self.configuration = configuration
        self.layout = layout
        network = try Network(configuration, projection: projection, table: table)
        self.places = try places.enumerated().map {
            guard let place = $0.element else {
                let name = layout.parameters[$0.offset].name
                throw Failure(UNSAY_E_INTERNAL, "the network does not use \(name)")
            }
            return place
        }
    }

    /// Writes parameter `index`, row-major: bit for bit what it was made from.
    package func read(_ index: Int, into values: UnsafeMutableBufferPointer<Float>) {
        guard let base = values.baseAddress else { return }
        switch places[index] {
        case .outputs(let matrix, let outputs):
            matrix.unpack(outputs: outputs, into: base, stride: matrix.inputs)
        case .table(let buffer):
            base.update(from: buffer.base, count: buffer.count)
        }
    }
}
