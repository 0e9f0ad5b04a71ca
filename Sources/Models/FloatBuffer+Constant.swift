import Tensors

extension FloatBuffer {
    /// The constant's values in float32.
    convenience init(_ constant: Constant) throws {
        try self.init(count: constant.view.count)
        try constant.read(into: values)
    }

    var values: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: base, count: count)
    }
}

extension Constant {
    /// True if both are one tensor, seen alike and read by one consumer.
    func isSameUse(as other: Constant) -> Bool {
        model === other.model && tensorIndex == other.tensorIndex && view == other.view
            && scale == other.scale && consumer == other.consumer
    }

    /// True if both read the same bytes in the same way.
    func isSamePlace(as other: Constant) -> Bool {
        tensor.bytes.baseAddress == other.tensor.bytes.baseAddress && view == other.view
            && scale == other.scale && quantization == nil && other.quantization == nil
    }
}
