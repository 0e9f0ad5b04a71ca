import CUnsay
import Support
import Tensors

/// All weights of a model, packed for products and never changed again: in float32, or rounded
/// for faster products; norms and biases are float32 in any case.
///
/// A model points at one of these; readers take it once and keep it, so a patch that
/// replaces the model's snapshot disturbs no call in progress.
package final class WeightsSnapshot: Sendable {
    package let configuration: T5Configuration
    package let layout: ParameterLayout
    package let network: Network
    package let precision: Precision
    /// The SHA-256 of the weights, once somebody has asked for it.
    package let fingerprint = Locked<[UInt8]?>(nil)
    private let screened = Locked<ScreenedHead?>(nil)
    /// Where each parameter lies, in the order of `layout`.
    private let places: [Place]

    private enum Place: Sendable {
        case outputs(PackedMatrix, Range<Int>)
        case table(FloatBuffer)
    }

    /// Reads every weight once, a parameter at a time.
    ///
    /// - Parameters:
    ///   - base: in float32; its memory serves for what `isKept`. nil: everything is read.
    ///   - isKept: whether parameter `index` of the layout is that of `base`, which has the same
    ///     index and shape there.
    ///   - read: writes parameter `index` of the layout, row-major float32.
    /// - Throws: what `read` throws, or `UNSAY_E_MEMORY`.
    package convenience init(
        _ layout: ParameterLayout, _ configuration: T5Configuration, workers: Workers,
        keeping base: WeightsSnapshot? = nil, isKept: (_ index: Int) -> Bool = { _ in false },
        read: (_ index: Int, _ into: UnsafeMutableBufferPointer<Float>) throws -> Void
    ) throws {
        let scratch = try FloatBuffer(count: layout.parameters.map(\.count).max() ?? 0)
        try self.init(
            layout, configuration, kept: { isKept($0) ? base?.places[$0] : nil }
        ) { index, destination in
            let parameter = layout.parameters[index]
            let base = destination.plain ?? scratch.base
            try read(index, UnsafeMutableBufferPointer(start: base, count: parameter.count))
            destination.take(0..<parameter.rows, from: base, workers: workers)
        }
    }

    /// Reads every weight once, blocks of rows on several threads: never more than a few
    /// blocks are in memory twice.
    ///
    /// - Throws: what `source` throws, or `UNSAY_E_MEMORY`.
    package convenience init(
        _ layout: ParameterLayout, _ configuration: T5Configuration,
        precision: Precision = .float32, workers: Workers, source: some StoredWeights
    ) throws {
        let alone = Workers(threads: 1)
        try self.init(layout, configuration, precision) { index, destination in
            let parameter = layout.parameters[index]
            let height = Destination.blockHeight(
                of: parameter, least: source.leastRows(index))
            let scratch = ScratchPool(count: height * parameter.columns)
            // Blocks end where panels do.
            let start = destination.first % height
            try workers.forEachThrowing((start + parameter.rows + height - 1) / height) { chunk in
                let begin = max(chunk * height - start, 0)
                let rows = begin..<min((chunk + 1) * height - start, parameter.rows)
                if let plain = destination.plain {
                    try source.read(index, rows: rows, into: plain + begin * parameter.columns)
                } else if let matrix = destination.matrix, let floats = source.floats(index) {
                    matrix.pack(
                        floats.row(begin), outputs: destination.outputs(rows),
                        outputStride: floats.rowStride, inputStride: floats.columnStride,
                        workers: alone)
                } else {
                    try scratch.with { buffer in
                        try source.read(index, rows: rows, into: buffer.base)
                        destination.take(rows, from: buffer.base, workers: alone)
                    }
                }
                source.release(index, rows: rows)
            }
            source.release(index, rows: nil)
        }
    }

    /// Where a parameter's values go: into a packed matrix, or as they are.
    private struct Destination {
        let matrix: PackedMatrix?
        /// The parameter's first output in the matrix.
        let first: Int
        let plain: UnsafeMutablePointer<Float>?

        /// Whole panels of about half a megabyte.
        static func blockHeight(of parameter: Parameter, least: Int) -> Int {
            let rows = max((1 << 17) / max(parameter.columns, 1), least)
            let width = PackedMatrix.panelWidth
            return (rows + width - 1) / width * width
        }

        func outputs(_ rows: Range<Int>) -> Range<Int> {
            first + rows.lowerBound..<first + rows.upperBound
        }

        func take(_ rows: Range<Int>, from values: UnsafeMutablePointer<Float>, workers: Workers) {
            guard let matrix else { return }
            matrix.pack(
                values, outputs: outputs(rows),
                outputStride: matrix.inputs, workers: workers)
        }
    }

    /// - Parameters:
    ///   - kept: where parameter `index` lies already; nil if it has to be filled in.
    ///   - fill: writes parameter `index` to its destination.
    private init(
        _ layout: ParameterLayout, _ configuration: T5Configuration,
        _ precision: Precision = .float32, kept: (_ index: Int) -> Place? = { _ in nil },
        fill: (_ index: Int, Destination) throws -> Void
    ) throws {
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
            let known = indices.compactMap(kept)
            if known.count == indices.count, case .outputs(let matrix, _) = known[0] {
                for (index, place) in zip(indices, known) { places[index] = place }
                return Projection(matrix)
            }
            let matrix = try PackedMatrix(
                outputs: parameters.reduce(0) { $0 + $1.rows }, inputs: parameters[0].columns,
                precision: precision, inputBits: Self.inputBits(parameters[0].name))
            var first = 0
            for (index, parameter) in zip(indices, parameters) {
                try fill(index, Destination(matrix: matrix, first: first, plain: nil))
                let outputs = first..<first + parameter.rows
                places[index] = .outputs(matrix, outputs)
                first = outputs.upperBound
            }
            return Projection(matrix)
        }
        func table(_ name: String) throws -> Rows {
            let index = try index(name)
            let parameter = layout.parameters[index]
            if let known = kept(index), case .table(let buffer) = known {
                places[index] = known
                return Rows(base: buffer.base, count: parameter.rows, width: parameter.columns)
            }
            let buffer = try FloatBuffer(count: parameter.count)
            try fill(index, Destination(matrix: nil, first: 0, plain: buffer.base))
            places[index] = .table(buffer)
            return Rows(base: buffer.base, count: parameter.rows, width: parameter.columns)
        }

        self.configuration = configuration
        self.layout = layout
        self.precision = precision
        network = try Network(configuration, projection: projection, table: table)
        self.places = try places.enumerated().map {
            guard let place = $0.element else {
                let name = layout.parameters[$0.offset].name
                throw Failure(UNSAY_E_INTERNAL, "the network does not use \(name)")
            }
            return place
        }
    }

    /// Gives a tied head a place of its own among the parameters: see `withOwnHead`.
    private init(untying tied: WeightsSnapshot, table: Int) {
        configuration = tied.configuration.withOwnHead
        layout = tied.layout.withOwnHead
        network = tied.network
        precision = tied.precision
        places = tied.places + [tied.places[table]]
    }

    /// The same weights with a head of its own, which holds what the embedding table holds and
    /// lies where that lies: nothing is copied. Itself if the head is not the table.
    package var withOwnHead: WeightsSnapshot {
        guard configuration.tiesHead, configuration.numDecoderLayers > 0,
            let table = layout.table
        else { return self }
        return WeightsSnapshot(untying: self, table: table)
    }

    /// What the inputs of int8 weights are rounded to. The inner states of the feed-forward
    /// layers have outliers that 8 bits would drown the others in (Dettmers and others, 2022:
    /// LLM.int8()), and the head decides between near equals.
    private static func inputBits(_ name: String) -> Int {
        name.hasSuffix(".wo.weight") || !name.contains(".block.") ? 16 : 8
    }

    /// For the likeliest tokens of so many rows; made when first asked for, nil where the whole
    /// head is as fast.
    package func screenedHead(rows: Int, workers: Workers) throws -> ScreenedHead? {
        guard case .packed(let matrix) = network.head.storage, network.head.adapters.isEmpty,
            ScreenedHead.isFaster(matrix.precision, rows: rows)
        else { return nil }
        return try screened.withLock { known in
            if let known { return known }
            let made = try ScreenedHead(matrix, workers: workers)
            known = made
            return made
        }
    }

    /// Another network of the same shape, made from this one's weights.
    ///
    /// - Parameters:
    ///   - projection: the indices of weights that stand side by side, and where they lie.
    ///   - table: the index of a weight, and where it lies.
    func network(
        projection: (_ indices: [Int], PackedMatrix) throws -> Projection,
        table: (_ index: Int, Rows) throws -> Rows
    ) throws -> Network {
        func place(_ name: String) throws -> (index: Int, place: Place) {
            guard let index = layout.index(of: name) else {
                throw Failure(UNSAY_E_INTERNAL, "no parameter is called \(name)")
            }
            return (index, places[index])
        }
        return try Network(
            configuration,
            projection: { names in
                let found = try names.map(place)
                guard case .outputs(let matrix, _) = found[0].place else {
                    throw Failure(UNSAY_E_INTERNAL, "\(names[0]) is no projection")
                }
                return try projection(found.map(\.index), matrix)
            },
            table: { name in
                let (index, place) = try place(name)
                guard case .table(let buffer) = place else {
                    throw Failure(UNSAY_E_INTERNAL, "\(name) is no table")
                }
                let parameter = layout.parameters[index]
                return try table(
                    index,
                    Rows(base: buffer.base, count: parameter.rows, width: parameter.columns))
            })
    }

    /// Writes parameter `index`, row-major: bit for bit what it was made from, if that is
    /// float32.
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

/// What a snapshot of another precision is made from.
extension WeightsSnapshot: StoredWeights {
    package func read(
        _ index: Int, rows: Range<Int>, into out: UnsafeMutablePointer<Float>
    ) {
        switch places[index] {
        case .outputs(let matrix, let outputs):
            let first = outputs.lowerBound
            matrix.unpack(
                outputs: first + rows.lowerBound..<first + rows.upperBound, into: out,
                stride: matrix.inputs)
        case .table(let buffer):
            let columns = layout.parameters[index].columns
            out.update(from: buffer.base + rows.lowerBound * columns, count: rows.count * columns)
        }
    }

    package func leastRows(_: Int) -> Int { 1 }

    package func floats(_: Int) -> PlainFloats? { nil }

    package func release(_: Int, rows _: Range<Int>?) {}
}
