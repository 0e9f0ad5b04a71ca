import COnnx
import CUnsay
import Support

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
    private func matrix() -> onnx_view? {
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

    /// Overwrites `values`, row-major in the view's shape, with float32.
    func read(into values: UnsafeMutableBufferPointer<Float>) throws {
        guard values.count == view.count, var matrix = matrix() else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name) has shape \(shape), \(values.count) elements wanted")
        }
        guard values.count > 0 else { return }
        var message = onnx_message()
        let status: onnx_status
        if let quantization {
            let floats = try quantization.decode(tensor, name: name)
            status = onnx_read_floats(
                floats, UInt64(floats.count), Int32(ONNX_FLOAT), &matrix, scale,
                values.baseAddress, &message)
        } else {
            guard tensor.bytes.count > 0 else {
                throw Failure(UNSAY_E_FORMAT, "\(name) has no data")
            }
            status = onnx_read_floats(
                tensor.bytes.baseAddress, UInt64(tensor.elementCount), tensor.dataType, &matrix,
                scale, values.baseAddress, &message)
        }
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
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
