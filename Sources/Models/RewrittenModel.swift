import COnnx
import CUnsay
import Glibc
import Support

/// The bytes of a model file written again with a rewriter's edits.
final class RewrittenModel {
    /// Valid for as long as this object lives.
    let bytes: UnsafeRawBufferPointer
    private let start: UnsafeMutablePointer<UInt8>?

    /// - Parameter file: the model's, with the changes in place already made.
    init(_ file: OnnxFile, _ rewriter: ModelRewriter) throws {
        let arguments = Arguments()
        let model = rewriter.model
        let (removals, unused) = rewriter.leftovers()
        var edits = rewriter.edits.filter { !removals.contains($0.key) }.map { position, edit in
            onnx_node_edit(
                position: Int64(position), op_type: edit.opType.map(arguments.string),
                inputs: arguments.strings(
                    edit.inputs.map {
                        switch $0 {
                        case .value(let value): model.valueName(value)
                        case .new(let name): name
                        }
                    }), input_count: edit.inputs.count, is_removal: 0)
        }
        edits += removals.map {
            onnx_node_edit(
                position: Int64($0), op_type: nil, inputs: nil, input_count: 0, is_removal: 1)
        }
        let tensors = rewriter.tensors.map(arguments.tensor)
        let dropped = unused + rewriter.succeeded.sorted()
        var out: UnsafeMutablePointer<UInt8>?
        var count = 0
        var message = onnx_message()
        let status = withExtendedLifetime((file, arguments)) {
            onnx_model_rewrite(
                file.bytes.baseAddress, file.bytes.count, edits, edits.count, tensors,
                tensors.count, arguments.strings(dropped), dropped.count, &out, &count, &message)
        }
        guard status == ONNX_OK else { throw Failure(status, message, about: model.name) }
        start = out
        bytes = UnsafeRawBufferPointer(start: out, count: count)
    }

    deinit { onnx_bytes_free(start) }
}

/// Owns what the C structs of one call borrow.
private final class Arguments {
    private var allocations: [UnsafeMutableRawPointer] = []

    func string(_ text: String) -> UnsafePointer<CChar> {
        copy(Array(text.utf8CString))
    }

    func strings(_ texts: [String]) -> UnsafePointer<UnsafePointer<CChar>?>? {
        texts.isEmpty ? nil : copy(texts.map { Optional(string($0)) })
    }

    func tensor(_ tensor: ModelRewriter.NewTensor) -> onnx_new_tensor {
        var result = onnx_new_tensor(
            name: string(tensor.name), dims: copy(tensor.dims.map(Int64.init)),
            rank: tensor.dims.count, data_type: tensor.dataType, reserved: 0, data: nil,
            byte_count: 0, location: nil, offset: 0)
        switch tensor.payload {
        case .bytes(let bytes):
            result.data = UnsafeRawPointer(copy(bytes))
            result.byte_count = bytes.count
        case .external(let location, let offset, let byteCount):
            result.location = string(location)
            result.offset = UInt64(offset)
            result.byte_count = byteCount
        }
        return result
    }

    private func copy<Element>(_ elements: [Element]) -> UnsafePointer<Element> {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        memory.initialize(from: elements, count: elements.count)
        allocations.append(UnsafeMutableRawPointer(memory))
        return UnsafePointer(memory)
    }

    deinit { allocations.forEach { $0.deallocate() } }
}
