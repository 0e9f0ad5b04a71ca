import COnnx
import CUnsay
import Support

/// Large matrices that files hold transposed: a few rows of theirs lie all over the file.
extension Constant {
    /// Bytes of a tensor that may be in memory at once, beside the weights themselves.
    private static let mostMapped = 16 << 20
    private static let page = 4096

    /// True if a block of rows, read through the map, could bring the whole of a large tensor
    /// into memory: systems map up to 2 MB around each byte that is read.
    var isScattered: Bool {
        guard quantization == nil, tensor.storage != nil, tensor.bytes.count > Self.mostMapped,
            let matrix = matrix(), matrix.row_stride == 1
        else { return false }
        let size = onnx_float_size(tensor.dataType)
        return size > 0 && Int(matrix.column_stride) > Self.page / size && isWithinTensor
    }

    /// Rows that are worth a read: of a scattered matrix a kilobyte of each column, and up to
    /// a page where buffers of that size are small beside the tensor.
    var leastRows: Int { isScattered ? min(max(tensor.bytes.count >> 17, 256), 1024) : 1 }

    /// Reads some rows of a scattered matrix, each column's share of them by one call.
    ///
    /// - Parameters:
    ///   - view: the rows wanted, within the tensor.
    ///   - out: overwritten, [rows, columns], float32.
    func readScattered(_ view: onnx_view, into out: UnsafeMutablePointer<Float>) throws {
        guard let storage = tensor.storage, let base = storage.bytes.baseAddress,
            let start = tensor.bytes.baseAddress
        else { throw Failure(UNSAY_E_INTERNAL, "\(name) lies in no file") }
        let size = onnx_float_size(tensor.dataType)
        let rows = Int(view.rows), columns = Int(view.columns)
        let first = start - base + Int(view.first) * size
        let stride = Int(view.column_stride) * size
        // [columns, rows], as stored.
        let part = UnsafeMutableRawPointer.allocate(byteCount: rows * columns * size, alignment: 64)
        defer { part.deallocate() }
        for column in 0..<columns {
            let begin = first + column * stride
            try storage.read(
                begin..<begin + rows * size, into: part + column * rows * size, name)
        }
        var packed = onnx_view(
            first: 0, rows: view.rows, columns: view.columns, row_stride: 1,
            column_stride: view.rows)
        var message = onnx_message()
        let status = onnx_read_floats(
            part, UInt64(rows * columns), tensor.dataType, &packed, scale, out, &message)
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
    }
}
