import COnnx
import CUnsay
import Support

/// What the types that weights are stored in hold of float32 numbers.
extension Checkpoint {
    /// Whether the best copy of a weight has 16 bits: saving rounds it there where it changed.
    package var roundsChanges: Bool {
        sites.contains { copies in
            guard let constant = copies.first?.constant else { return false }
            let type = constant.quantization == nil ? constant.tensor.dataType : constant.valueType
            return onnx_float_size(type) == 2
        }
    }
}

/// Whether storing values, divided by `scale`, as `dataType` and reading them again gives the same
/// bits.
///
/// - Parameter name: of the tensor, for messages.
/// - Throws: `UNSAY_E_FORMAT` for a type that is no floating one or cannot hold a value at all.
func holdsExactly(
    _ values: UnsafeBufferPointer<Float>, _ dataType: Int32, _ scale: Float, _ name: String
) throws -> Bool {
    let size = onnx_float_size(dataType)
    if size >= MemoryLayout<Float>.size, scale == 1 { return true }
    let most = 4096
    var stored = [UInt8](repeating: 0, count: most * max(size, 1))
    var restored = [Float](repeating: 0, count: most)
    for first in stride(from: 0, to: values.count, by: most) {
        let part = UnsafeBufferPointer(rebasing: values[first..<min(first + most, values.count)])
        let count = UInt64(part.count)
        var view = onnx_view(
            first: 0, rows: 1, columns: count, row_stride: count, column_stride: 1)
        var message = onnx_message()
        var status = onnx_write_floats(
            &stored, count, dataType, &view, scale, nil, part.baseAddress, &message)
        if status == ONNX_OK {
            status = onnx_read_floats(
                stored, count, dataType, &view, scale, &restored, &message)
        }
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
        guard zip(part, restored).allSatisfy({ $0.bitPattern == $1.bitPattern }) else {
            return false
        }
    }
    return true
}
