import COnnx
import CUnsay
import Glibc
import Support

/// A model file written again, with initializers of their own for some inputs of nodes.
final class RewiredModel {
    struct Input {
        let consumer: Constant.Consumer
        /// Of the new initializer; inputs that name the same one share it.
        let name: String
        let dims: [Int]
        let dataType: Int32
        let bytes: [UInt8]
    }

    let bytes: UnsafeRawBufferPointer
    private let start: UnsafeMutablePointer<UInt8>?

    init(_ file: OnnxFile, name: String, _ inputs: [Input]) throws {
        // The strings and arrays that the C structs borrow, for the time of the call.
        let names = inputs.map { strdup($0.name) }
        defer { names.forEach { free($0) } }
        var dims: [Int64] = []
        var payload: [UInt8] = []
        for input in inputs {
            dims += input.dims.map(Int64.init)
            payload += input.bytes
        }
        var out: UnsafeMutablePointer<UInt8>?
        var count = 0
        var message = onnx_message()
        let source = file.bytes
        let status = dims.withUnsafeBufferPointer { dims in
            payload.withUnsafeBytes { payload in
                var dim = 0
                var byte = 0
                let rewirings = zip(inputs, names).map { input, name in
                    defer {
                        dim += input.dims.count
                        byte += input.bytes.count
                    }
                    return onnx_rewiring(
                        position: Int64(input.consumer.position), input: input.consumer.input,
                        name: UnsafePointer(name), dims: dims.baseAddress?.advanced(by: dim),
                        rank: input.dims.count, data_type: input.dataType, reserved: 0,
                        data: payload.baseAddress?.advanced(by: byte),
                        byte_count: input.bytes.count)
                }
                return onnx_model_rewire(
                    source.baseAddress, source.count, rewirings, rewirings.count, &out, &count,
                    &message)
            }
        }
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
        start = out
        bytes = UnsafeRawBufferPointer(start: out, count: count)
    }

    deinit { onnx_bytes_free(start) }
}
