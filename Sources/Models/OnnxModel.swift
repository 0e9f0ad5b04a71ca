import COnnx
import CUnsay
import Glibc
import Support

/// The bytes of one file: mapped, or a copy in memory.
final class OnnxFile: Sendable {
    private let handle: SharedPointer
    var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: onnx_file_bytes(handle.value), count: onnx_file_size(handle.value))
    }

    /// - Throws: `UNSAY_E_IO` if somebody made the file shorter since it was opened.
    func requireWhole(_ name: Path) throws {
        guard onnx_file_is_whole(handle.value) != 0 else {
            throw Failure(
                UNSAY_E_IO, "\(name) is shorter than when it was opened: its weights are lost")
        }
    }

    /// Copies bytes to `out`; of a mapped file, without taking its pages into memory.
    func read(_ part: Range<Int>, into out: UnsafeMutableRawPointer, _ name: String) throws {
        var message = onnx_message()
        let status = onnx_file_read(
            handle.value, part.lowerBound, part.count, out, &message)
        guard status == ONNX_OK else { throw Failure(status, message, about: name) }
    }

    /// Takes part of a mapped file out of this process's memory until it is read again.
    func release(_ part: UnsafeRawBufferPointer) {
        guard let start = part.baseAddress, let base = bytes.baseAddress else { return }
        onnx_file_release(handle.value, start - base, part.count)
    }

    /// Maps `name`, beneath the folder of that descriptor.
    init(folder: Int32, name: Path, links: onnx_links) throws {
        handle = SharedPointer(
            value: try shim("\(name)") { onnx_file_map(folder, name.cString, links, &$0, &$1) })
    }

    /// Copies the bytes.
    init(copying bytes: UnsafeRawBufferPointer, name: String) throws {
        handle = SharedPointer(
            value: try shim(name) { onnx_file_copy(bytes.baseAddress, bytes.count, &$0, &$1) })
    }

    deinit { onnx_file_free(handle.value) }
}

/// An owned handle of the shim. What it points to never changes once it is made.
struct SharedPointer: @unchecked Sendable {
    let value: OpaquePointer
}

/// Calls a function of the shim that makes something; its refusal becomes a Failure.
func shim(
    _ name: String, _ body: (inout OpaquePointer?, inout onnx_message) -> onnx_status
) throws -> OpaquePointer {
    var out: OpaquePointer?
    var message = onnx_message()
    let status = body(&out, &message)
    guard status == ONNX_OK, let out else { throw Failure(status, message, about: name) }
    return out
}

extension Failure {
    init(_ status: onnx_status, _ message: onnx_message, about name: String) {
        let code =
            switch status {
            case ONNX_E_NOT_FOUND: UNSAY_E_NOT_FOUND
            case ONNX_E_IO: UNSAY_E_IO
            case ONNX_E_UNSUPPORTED: UNSAY_E_UNSUPPORTED
            case ONNX_E_MEMORY: UNSAY_E_MEMORY
            default: UNSAY_E_FORMAT
            }
        let text = withUnsafeBytes(of: message.text) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        self.init(code, "\(name): \(text)")
    }
}

/// One tensor of a file: its type, its dims and where its bytes lie.
struct StoredTensor {
    let name: String
    let dims: [Int]
    let dataType: Int32
    let elementCount: Int
    let bytes: UnsafeRawBufferPointer
    /// Whose bytes these are; nil where they had to be unpacked.
    let storage: OnnxFile?
    /// The file that holds the bytes, and where; nil where they had to be unpacked.
    let place: Place?

    struct Place: Hashable {
        let file: Path
        let offset: Int
    }

    /// Lossless storage of float32 ranks above 16-bit types, and those above integers.
    var precision: Int {
        switch dataType {
        case Int32(ONNX_FLOAT), Int32(ONNX_DOUBLE): 3
        case Int32(ONNX_FLOAT16), Int32(ONNX_BFLOAT16): 2
        default: 1
        }
    }

    var isFloating: Bool { onnx_float_size(dataType) > 0 }
}

/// One operation of a graph. Values are numbers; -1 stands for an input left out.
struct OnnxNode {
    let opType: String
    let domain: String
    /// As the exporter called it; often empty.
    let name: String
    let inputs: [Int32]
    let outputs: [Int32]
    /// Among the file's nodes, for rewiring; -1 for what came out of a function.
    let position: Int
    fileprivate let attributes: UnsafeBufferPointer<onnx_attribute>

    func input(_ index: Int) -> Int32 { index < inputs.count ? inputs[index] : -1 }

    private func attribute(_ name: String) -> onnx_attribute? {
        attributes.first { String(cString: $0.name) == name }
    }
    func int(_ name: String) -> Int? { attribute(name).flatMap { $0.has_i != 0 ? Int($0.i) : nil } }
    func float(_ name: String) -> Float? { attribute(name).flatMap { $0.has_f != 0 ? $0.f : nil } }
    func string(_ name: String) -> String? { attribute(name).map { String(cString: $0.s) } }
    func tensor(_ name: String) -> Int? {
        attribute(name).flatMap { $0.tensor >= 0 ? Int($0.tensor) : nil }
    }
    func ints(_ name: String) -> [Int]? {
        attribute(name).map {
            UnsafeBufferPointer(start: $0.ints, count: $0.int_count).map(Int.init)
        }
    }
    /// The index of the graph that an attribute holds, among the model's.
    func graph(_ name: String) -> Int? {
        attribute(name).flatMap { $0.graph >= 0 ? Int($0.graph) : nil }
    }
    /// The indices of all graphs that the node's attributes hold.
    var graphs: [Int] { attributes.compactMap { $0.graph >= 0 ? Int($0.graph) : nil } }
    func floats(_ name: String) -> [Float]? {
        attribute(name).map { Array(UnsafeBufferPointer(start: $0.floats, count: $0.float_count)) }
    }
}

/// A parsed .onnx file with its external data: kept open as long as its weights are used.
final class OnnxModel {
    /// As the folder has it.
    let path: Path
    /// The path as text, which stands in every message.
    let name: String
    let file: OnnxFile
    let tensors: [StoredTensor]
    /// Files of external data, by the name that the model gives them.
    let externalFiles: [Path: OnnxFile]
    private let handle: SharedPointer

    /// - Parameter external: opens a file of external data by its location.
    init(path: Path, file: OnnxFile, external: (Path) throws -> OnnxFile) throws {
        let name = "\(path)"
        let bytes = file.bytes
        try MistakenFile.refuse(bytes, named: name, expecting: .model)
        let parsed = SharedPointer(
            value: try shim(name) { onnx_model_parse(bytes.baseAddress, bytes.count, &$0, &$1) })
        var files: [Path: OnnxFile] = [:]
        var tensors: [StoredTensor] = []
        do {
            for index in 0..<onnx_model_tensor_count(parsed.value) {
                guard let raw = onnx_model_tensor(parsed.value, index)?.pointee else { continue }
                tensors.append(
                    try Self.resolve(raw, in: path, file) { location in
                        if let known = files[location] { return known }
                        let opened = try external(location)
                        files[location] = opened
                        return opened
                    })
            }
        } catch {
            onnx_model_free(parsed.value)
            throw error
        }
        self.path = path
        self.name = name
        self.file = file
        self.tensors = tensors
        externalFiles = files
        handle = parsed
    }

    deinit { onnx_model_free(handle.value) }

    private static func resolve(
        _ raw: onnx_tensor, in model: Path, _ file: OnnxFile,
        external: (Path) throws -> OnnxFile
    ) throws -> StoredTensor {
        let name = String(cString: raw.name)
        let dims = UnsafeBufferPointer(start: raw.dims, count: raw.rank).map { Int($0) }
        guard let count = Int(exactly: raw.element_count),
            let byteCount = Int(exactly: raw.byte_count)
        else { throw Failure(UNSAY_E_FORMAT, "\(model): tensor \"\(name)\" is too large") }
        var bytes = UnsafeRawBufferPointer(start: raw.data, count: raw.data == nil ? 0 : byteCount)
        var place: StoredTensor.Place?
        var storage: OnnxFile?
        if raw.file_offset >= 0 {
            storage = file
            place = .init(file: model, offset: Int(raw.file_offset))
        }
        if raw.is_external != 0 {
            let location = Path(
                UnsafeRawBufferPointer(start: raw.location, count: strlen(raw.location)))
            let opened: OnnxFile
            do {
                opened = try external(location)
            } catch let failure as Failure {
                throw Failure(failure.status, "\(model): its external data \(failure.sentence)")
            }
            storage = opened
            bytes = try part(
                raw, byteCount, of: opened.bytes, "\(model): tensor \"\(name)\"", location)
            place = .init(file: location, offset: Int(raw.external_offset))
        }
        return StoredTensor(
            name: name, dims: dims, dataType: raw.data_type, elementCount: count, bytes: bytes,
            storage: storage, place: place)
    }

    /// The bytes of a tensor in a file of external data.
    private static func part(
        _ raw: onnx_tensor, _ byteCount: Int, of file: UnsafeRawBufferPointer,
        _ tensor: String, _ location: Path
    ) throws -> UnsafeRawBufferPointer {
        guard raw.external_length < 0 || raw.external_length == byteCount else {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(tensor) has \(byteCount) bytes by its shape, but \(raw.external_length) as "
                    + "external data in \"\(location)\"")
        }
        if let offset = Int(exactly: raw.external_offset), offset <= file.count,
            byteCount <= file.count - offset
        {
            return UnsafeRawBufferPointer(rebasing: file[offset..<offset + byteCount])
        }
        if let phrase = MistakenFile.phrase(for: file, expecting: .otherBinary) {
            throw Failure(UNSAY_E_FORMAT, "\(tensor) is missing: \(location) \(phrase)")
        }
        throw Failure(
            UNSAY_E_FORMAT,
            "\(tensor) needs \(byteCount) bytes at offset \(raw.external_offset) of "
                + "\"\(location)\", which has \(file.count): it is cut off, or belongs to another "
                + "model; download it again")
    }

    var valueCount: Int { onnx_model_value_count(handle.value) }
    var graphCount: Int { onnx_model_graph_count(handle.value) }

    func valueName(_ value: Int32) -> String {
        value < 0 ? "" : String(cString: onnx_model_value_name(handle.value, Int(value)))
    }

    /// That name, or one made of it that no value of the model bears.
    func unusedName(like name: String) -> String {
        let taken = Set((0..<onnx_model_value_count(handle.value)).map { valueName(Int32($0)) })
        var candidate = name
        var number = 1
        while taken.contains(candidate) {
            candidate = "\(name).\(number)"
            number += 1
        }
        return candidate
    }

    /// The arrays of one graph, copied for Swift.
    func graph(_ index: Int) -> GraphArrays {
        guard let raw = onnx_model_graph(handle.value, index)?.pointee else { return GraphArrays() }
        func array(_ start: UnsafePointer<Int32>?, _ count: Int) -> [Int32] {
            Array(UnsafeBufferPointer(start: start, count: count))
        }
        var arrays = GraphArrays()
        arrays.path = String(cString: raw.path)
        arrays.parent = Int(raw.parent)
        arrays.inputs = array(raw.inputs, raw.input_count)
        arrays.inputTypes = UnsafeBufferPointer(start: raw.input_types, count: raw.input_count).map
        {
            InputType(
                dataType: $0.data_type,
                dims: $0.rank < 0
                    ? nil
                    : UnsafeBufferPointer(start: $0.dims, count: Int($0.rank)).map(Int.init))
        }
        arrays.outputs = array(raw.outputs, raw.output_count)
        for entry in UnsafeBufferPointer(start: raw.initializers, count: raw.initializer_count) {
            arrays.initializers[entry.value] = Int(entry.tensor)
        }
        arrays.nodes = UnsafeBufferPointer(start: raw.nodes, count: raw.node_count).map {
            OnnxNode(
                opType: String(cString: $0.op_type), domain: String(cString: $0.domain),
                name: String(cString: $0.name),
                inputs: array($0.inputs, $0.input_count),
                outputs: array($0.outputs, $0.output_count),
                position: Int($0.position),
                attributes: UnsafeBufferPointer(
                    start: $0.attributes, count: $0.attribute_count))
        }
        return arrays
    }
}

/// What a file states of a graph's input.
struct InputType {
    /// 0 if it is not stated.
    let dataType: Int32
    /// nil if they are not stated; -1 for one that differs from call to call.
    let dims: [Int]?
}

/// What a graph consists of. The nodes' attributes are borrowed from the model.
struct GraphArrays {
    var path = ""
    var parent = -1
    var nodes: [OnnxNode] = []
    var inputs: [Int32] = []
    var inputTypes: [InputType] = []
    var outputs: [Int32] = []
    var initializers: [Int32: Int] = [:]
}

/// Which ONNX and protobuf versions the library was built with.
package func onnxBuildInfo() -> String { String(cString: onnx_build_info()) }
