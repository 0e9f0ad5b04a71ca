import COnnx
import CUnsay
import Support
import T5

/// How a tensor's elements are addressed: element `[i, j, ...]` lies at
/// `first + i * strides[0] + j * strides[1] + ...`, in elements.
struct StridedView: Equatable {
    var shape: [Int]
    var strides: [Int]
    var first = 0

    /// The row-major view of a whole tensor. Its element count was checked before.
    init(_ shape: [Int]) {
        self.shape = shape
        strides = Self.rowMajor(shape)
    }

    private static func rowMajor(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in shape.indices.reversed().dropFirst() {
            strides[axis] = strides[axis + 1] &* shape[axis + 1]
        }
        return strides
    }

    var count: Int { shape.reduce(1, &*) }
    var isRowMajor: Bool { strides == Self.rowMajor(shape) }

    func transposed(_ order: [Int]) -> StridedView? {
        guard order.sorted() == Array(shape.indices) else { return nil }
        var view = self
        view.shape = order.map { shape[$0] }
        view.strides = order.map { strides[$0] }
        return view
    }

    /// nil where the elements would have to move.
    func reshaped(_ newShape: [Int]) -> StridedView? {
        guard newShape.allSatisfy({ $0 >= 0 }), newShape.count <= 8 else { return nil }
        var product = 1
        for dim in newShape {
            let (next, overflow) = product.multipliedReportingOverflow(by: dim)
            guard !overflow else { return nil }
            product = next
        }
        guard product == count else { return nil }
        if isRowMajor {
            var view = StridedView(newShape)
            view.first = first
            return view
        }
        // Dims of 1 come and go without moving anything.
        let kept = shape.indices.filter { shape[$0] != 1 }
        guard newShape.filter({ $0 != 1 }) == kept.map({ shape[$0] }) else { return nil }
        var view = self
        view.shape = newShape
        var next = kept.makeIterator()
        view.strides = newShape.map { $0 == 1 ? 1 : next.next().map { strides[$0] } ?? 1 }
        return view
    }

    /// Columns `begin..<begin + width` of a matrix.
    func columns(_ begin: Int, _ width: Int) -> StridedView? {
        guard shape.count == 2, begin >= 0, width >= 0, width <= shape[1],
            begin <= shape[1] - width
        else { return nil }
        var view = self
        view.first = view.first &+ begin &* strides[1]
        view.shape[1] = width
        return view
    }

    /// The first rows of a matrix.
    func rows(_ count: Int) -> StridedView {
        var view = self
        view.shape[0] = min(count, shape[0])
        return view
    }
}

/// A constant of a graph: stored numbers, and what the graph does to them before use.
struct Constant {
    let model: OnnxModel
    let tensorIndex: Int
    /// Turns stored integers into numbers; nil for plain storage.
    var quantization: Quantization?
    var view: StridedView
    /// Multiplies every element.
    var scale: Float = 1
    /// The type that the consumer sees.
    var valueType: Int32
    /// Who reads it, so that it may be given an initializer of its own.
    var consumer: Consumer?

    struct Consumer: Hashable {
        let position: Int
        let input: Int
        /// True if the matrix is used transposed: the consumer sees [in, out].
        let isTransposed: Bool
    }

    init(model: OnnxModel, tensorIndex: Int) {
        self.model = model
        self.tensorIndex = tensorIndex
        view = StridedView(model.tensors[tensorIndex].dims)
        valueType = model.tensors[tensorIndex].dataType
    }

    var tensor: StoredTensor { model.tensors[tensorIndex] }
    var shape: [Int] { view.shape }
    var isScalar: Bool { view.count == 1 }
    var isFloating: Bool { quantization != nil || tensor.isFloating }
    var precision: Int { quantization == nil ? tensor.precision : 1 }

    /// For messages.
    var name: String { "\(model.name): tensor \"\(tensor.name)\"" }

    /// The same constant seen differently; nil if the view is.
    func with(_ view: StridedView?) -> Constant? {
        guard let view else { return nil }
        var constant = self
        constant.view = view
        return constant
    }

    var transposed: Constant? { with(view.transposed([1, 0])) }

    /// A few numbers, e.g. a shape or a factor; nil if there are many or they are not numbers.
    var numbers: [Double]? {
        guard view.count <= 1 << 26, view.isRowMajor, view.first == 0, quantization == nil else {
            return nil
        }
        return Quantization.numbers(of: tensor)?.map { $0 * Double(scale) }
    }

    var integers: [Int]? { numbers?.compactMap { Int(exactly: $0) } }
    var number: Double? { isScalar ? numbers?.first : nil }

    /// The view as a matrix of `rows` rows; vectors are one row.
    func matrix() -> onnx_view? {
        let kept = view.shape.indices.filter { view.shape[$0] != 1 || view.shape.count <= 2 }
        var shape = kept.map { view.shape[$0] }
        var strides = kept.map { view.strides[$0] }
        while shape.count < 2 {
            shape.insert(1, at: 0)
            strides.insert(0, at: 0)
        }
        guard shape.count == 2, let first = UInt64(exactly: view.first),
            let rows = UInt64(exactly: shape[0]), let columns = UInt64(exactly: shape[1]),
            let rowStride = UInt64(exactly: strides[0]),
            let columnStride = UInt64(exactly: strides[1])
        else { return nil }
        return onnx_view(
            first: first, rows: rows, columns: columns, row_stride: rowStride,
            column_stride: columnStride)
    }

    /// Rows of the view as a matrix: vectors are one row.
    var rowCount: Int { matrix().flatMap { Int(exactly: $0.rows) } ?? 0 }

    /// Overwrites `values`, row-major in the view's shape, with float32.
    func read(into values: UnsafeMutableBufferPointer<Float>) throws {
        guard values.count == view.count else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name) has shape \(shape), \(values.count) elements wanted")
        }
        guard let base = values.baseAddress, !values.isEmpty else { return }
        try read(rows: 0..<rowCount, into: base)
    }

    /// Overwrites `out`, [rows.count, columns], with some rows; from several threads at once.
    func read(rows: Range<Int>, into out: UnsafeMutablePointer<Float>) throws {
        guard var matrix = matrix(), rows.lowerBound >= 0, rows.upperBound <= Int(matrix.rows)
        else {
            throw Failure(UNSAY_E_FORMAT, "\(name) has shape \(shape), rows \(rows) wanted")
        }
        guard tensor.bytes.count > 0 else { throw Failure(UNSAY_E_FORMAT, "\(name) has no data") }
        if let quantization {
            try quantization.check(tensor, name: name)
            guard isWithinTensor else { throw Failure(UNSAY_E_FORMAT, "\(name): a view leaves it") }
            quantization.read(tensor, matrix, rows: rows, into: out)
            guard scale != 1 else { return }
            for index in 0..<rows.count * Int(matrix.columns) { out[index] *= scale }
            return
        }
        matrix.first += UInt64(rows.lowerBound) * matrix.row_stride
        matrix.rows = UInt64(rows.count)
        if isScattered { return try readScattered(matrix, into: out) }
        var message = onnx_message()
        let status = onnx_read_floats(
            tensor.bytes.baseAddress, UInt64(tensor.elementCount), tensor.dataType, &matrix, scale,
            out, &message)
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
    }

    /// Where float32 numbers lie that need no arithmetic, at any address: element (row, column)
    /// of the matrix is at `row * rowStride + column * columnStride`; nil for all others.
    var floats: PlainFloats? {
        guard quantization == nil, scale == 1, tensor.dataType == Int32(ONNX_FLOAT), !isScattered,
            let matrix = matrix(), isWithinTensor,
            tensor.bytes.count == tensor.elementCount * MemoryLayout<Float>.size,
            let base = tensor.bytes.baseAddress
        else { return nil }
        return PlainFloats(
            base: base + Int(matrix.first) * MemoryLayout<Float>.size,
            rowStride: Int(matrix.row_stride), columnStride: Int(matrix.column_stride))
    }

    /// True if every element of the view is one of the tensor's, for views of quantised ones.
    var isWithinTensor: Bool {
        let count =
            switch quantization {
            case .blocks(let rows, let columns, _, _, _, _, _): rows * columns
            case .codebook(let rows, let columns, _, _, _): rows * columns
            default: tensor.elementCount
            }
        var last = view.first
        for (length, stride) in zip(view.shape, view.strides) {
            guard length > 0 else { return true }
            let (reach, tooFar) = (length - 1).multipliedReportingOverflow(by: stride)
            let (sum, overflow) = last.addingReportingOverflow(reach)
            guard !tooFar, !overflow, stride >= 0 else { return false }
            last = sum
        }
        return last < count
    }

    /// Takes the pages of the tensor out of memory until they are read again.
    func release() { tensor.storage?.release(tensor.bytes) }

    /// Says that rows were read, blocks in about their order: every 16 MB the pages behind
    /// what was read go out of memory. Of a view whose rows lie all over its tensor, all go.
    func release(rows: Range<Int>) {
        guard let storage = tensor.storage, tensor.elementCount > 0, rowCount > 0 else { return }
        let row = max(tensor.bytes.count / rowCount, 1)
        let lump = max((16 << 20) / row, 1)
        guard rows.upperBound / lump > rows.lowerBound / lump else { return }
        let size = onnx_float_size(tensor.dataType)
        guard quantization == nil, view.isRowMajor, size > 0 else {
            return storage.release(tensor.bytes)
        }
        let begin = view.first * size + rows.lowerBound / lump * lump * row
        let end = min(view.first * size + rows.upperBound * row, tensor.bytes.count)
        guard begin >= 0, begin < end else { return }
        storage.release(UnsafeRawBufferPointer(rebasing: tensor.bytes[begin..<end]))
    }

    /// Writes what changed into a copy of the tensor's bytes.
    func write(
        _ after: UnsafeBufferPointer<Float>, changedFrom before: UnsafeBufferPointer<Float>,
        into bytes: UnsafeMutableRawPointer
    ) throws {
        guard after.count == view.count, before.count == view.count, var matrix = matrix() else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name) has shape \(shape), \(after.count) elements given")
        }
        var message = onnx_message()
        let status = onnx_write_floats(
            bytes, UInt64(tensor.elementCount), tensor.dataType, &matrix, scale,
            before.baseAddress, after.baseAddress, &message)
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
    }
}
