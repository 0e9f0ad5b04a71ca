import COnnx
import CUnsay
import Support
import T5
import Tensors

/// What changes in one model file beyond bytes in their place: tensors that take the place of
/// quantised, packed or shared ones, and the operations that read them.
final class ModelRewriter {
    enum Input: Hashable {
        case value(Int32)
        /// An initializer added by this rewriter.
        case new(String)
    }

    struct Edit {
        /// nil: the operation stays, with its attributes.
        var opType: String?
        var inputs: [Input]
    }

    struct NewTensor {
        let name: String
        let dims: [Int]
        let dataType: Int32
        let payload: Payload

        enum Payload {
            case bytes([UInt8])
            case external(location: String, offset: Int, byteCount: Int)
        }
    }

    let model: OnnxModel
    let graphs: [Graph]
    private(set) var edits: [Int: Edit] = [:]
    private(set) var tensors: [NewTensor] = []
    /// Initializers to leave out by name, whether or not they are used: their successors bear
    /// the same name.
    private(set) var succeeded: Set<String> = []
    private var names: [String: String] = [:]
    private let places: [Int: (graph: Int, node: Int)]

    /// - Parameter model: kept for as long as the rewriter lives.
    init(_ model: OnnxModel) {
        self.model = model
        graphs = Graph.all(of: model)
        var places: [Int: (graph: Int, node: Int)] = [:]
        for (graph, nodes) in graphs.map(\.nodes).enumerated() {
            for (node, each) in nodes.enumerated() where each.position >= 0 {
                places[each.position] = (graph, node)
            }
        }
        self.places = places
    }

    var isEmpty: Bool { edits.isEmpty && tensors.isEmpty }

    /// Of the new tensors inside the file.
    var newByteCount: Int {
        tensors.reduce(0) { sum, tensor in
            if case .bytes(let bytes) = tensor.payload { sum + bytes.count } else { sum }
        }
    }

    /// A file of external data for new tensors, named as Optimum does.
    var externalName: String {
        var name = model.name + "_data"
        while model.externalFiles[Path(name)] != nil { name += "_new" }
        return name
    }

    // MARK: Replacing

    /// Gives a parameter a tensor of its own at one of its places.
    ///
    /// - Parameter store: keeps the new tensor's bytes, inside the file or beside it; called
    ///   once for all places that want the same layout and type.
    func replace(
        _ constant: Constant, of parameter: Parameter, with values: FloatBuffer,
        store: ([UInt8]) throws -> NewTensor.Payload
    ) throws {
        guard onnx_float_size(constant.valueType) > 0,
            let consumer = constant.consumer ?? Self.holder(constant)
        else { throw refusal(constant, parameter) }
        let isTurned = consumer.isTransposed && parameter.shape.count == 2
        let dims = isTurned ? [parameter.columns, parameter.rows] : parameter.shape
        let key =
            [parameter.name, dims.map(String.init).joined(separator: "x")]
            .joined(separator: ".") + ".\(constant.valueType)"
        let isInitializer = consumer.position < 0
        let name = isInitializer ? constant.tensor.name : names[key] ?? model.unusedName(like: key)
        if isInitializer {
            guard succeeded.insert(name).inserted else { return }
        } else {
            guard try edit(consumer, constant, reading: name) else {
                throw refusal(constant, parameter)
            }
            guard names.updateValue(name, forKey: key) == nil else { return }
        }
        let bytes = try Self.bytes(values, parameter, isTurned: isTurned, constant)
        tensors.append(
            NewTensor(
                name: name, dims: isInitializer ? constant.tensor.dims : dims,
                dataType: constant.valueType, payload: try store(bytes)))
    }

    /// Adds an initializer of a parameter's name, in the type of another parameter's.
    ///
    /// - Parameter store: as in `replace`.
    func add(
        _ parameter: Parameter, like constant: Constant, _ values: FloatBuffer,
        store: ([UInt8]) throws -> NewTensor.Payload
    ) throws {
        guard onnx_float_size(constant.valueType) > 0 else { throw refusal(constant, parameter) }
        let bytes = try Self.bytes(values, parameter, isTurned: false, constant)
        tensors.append(
            NewTensor(
                name: parameter.name, dims: parameter.shape, dataType: constant.valueType,
                payload: try store(bytes)))
    }

    /// In a container nothing reads a tensor: its initializer itself is written again.
    private static func holder(_ constant: Constant) -> Constant.Consumer? {
        let isWhole =
            constant.view == StridedView(constant.tensor.dims) && constant.quantization == nil
        let graphs = Graph.all(of: constant.model)
        guard isWhole, graphs.allSatisfy({ $0.isContainer && $0.nodes.isEmpty }) else { return nil }
        return .init(position: -1, input: 0, isTransposed: false)
    }

    private static func bytes(
        _ values: FloatBuffer, _ parameter: Parameter, isTurned: Bool, _ constant: Constant
    ) throws -> [UInt8] {
        let (count, overflow) = onnx_float_size(constant.valueType)
            .multipliedReportingOverflow(by: parameter.count)
        guard !overflow else { throw Failure(UNSAY_E_MEMORY, "\(parameter.name) is too large") }
        // Written through the view [out, in] of what the consumer sees as [in, out].
        var view = onnx_view(
            first: 0, rows: UInt64(parameter.rows), columns: UInt64(parameter.columns),
            row_stride: UInt64(isTurned ? 1 : parameter.columns),
            column_stride: UInt64(isTurned ? parameter.rows : 1))
        var bytes = [UInt8](repeating: 0, count: count)
        var message = onnx_message()
        let status = onnx_write_floats(
            &bytes, UInt64(parameter.count), constant.valueType, &view, 1, nil,
            values.values.baseAddress, &message)
        guard status == ONNX_OK else { throw Failure(status, message, about: constant.name) }
        return bytes
    }

    private func refusal(_ constant: Constant, _ parameter: Parameter) -> Failure {
        Failure(
            UNSAY_E_UNSUPPORTED,
            "\(constant.name), which is \(parameter.name), is stored in a way that a changed "
                + "weight cannot be written back to: export the model again in float32")
    }

    // MARK: Edits

    func set(_ position: Int, _ opType: String?, _ inputs: [Input]) {
        edits[position] = Edit(opType: opType ?? edits[position]?.opType, inputs: inputs)
    }

    /// Lets a consumer read a new tensor; false if it cannot.
    private func edit(
        _ consumer: Constant.Consumer, _ constant: Constant, reading name: String
    ) throws -> Bool {
        guard let place = places[consumer.position] else { return false }
        let graph = graphs[place.graph]
        let node = graph.nodes[place.node]
        if constant.quantization != nil,
            let edits = graph.floatEdits(of: node, reading: .new(name))
        {
            for (position, edit) in edits { set(position, edit.opType, edit.inputs) }
            return true
        }
        var inputs = edits[node.position]?.inputs ?? node.inputs.map { .value($0) }
        guard inputs.indices.contains(consumer.input) else { return false }
        inputs[consumer.input] = .new(name)
        set(node.position, nil, inputs)
        return true
    }

    /// Takes the rounding of activations out: what is quantised and dequantised again passes
    /// as it was.
    func keepActivationsFloat() {
        for graph in graphs {
            for node in graph.nodes where node.opType == "DequantizeLinear" && node.position >= 0 {
                guard edits[node.position] == nil, let maker = graph.maker(of: node.input(0)),
                    maker.opType == "QuantizeLinear"
                else { continue }
                set(node.position, "Identity", [.value(maker.input(0))])
            }
        }
    }

    // MARK: What is left over

    /// Nodes that nothing reads any more, and initializers likewise.
    func leftovers() -> (positions: [Int], initializers: [String]) {
        var uses: [Int32: Int] = [:]
        var before = Set<Int32>()
        func reads(_ node: OnnxNode) -> [Int32] {
            guard let edit = edits[node.position], node.position >= 0 else { return node.inputs }
            return edit.inputs.compactMap { if case .value(let value) = $0 { value } else { nil } }
        }
        for graph in graphs {
            for value in graph.outputs { uses[value, default: 0] += 1 }
            for node in graph.nodes {
                for value in reads(node) { uses[value, default: 0] += 1 }
                before.formUnion(node.inputs)
            }
        }
        func isDead(_ node: OnnxNode) -> Bool {
            node.outputs.allSatisfy { (uses[$0] ?? 0) == 0 }
                && node.outputs.contains(where: before.contains)
        }
        var removed = Set<Int>()
        var queue = graphs.flatMap(\.nodes).filter { $0.position >= 0 && isDead($0) }
        let makers = Dictionary(
            graphs.flatMap { graph in
                graph.nodes.filter { $0.position >= 0 }.flatMap { node in
                    node.outputs.map { ($0, [node]) }
                }
            }, uniquingKeysWith: +)
        while let node = queue.popLast() {
            guard removed.insert(node.position).inserted else { continue }
            for value in reads(node) where value >= 0 {
                uses[value, default: 1] -= 1
                queue += (makers[value] ?? []).filter(isDead)
            }
        }
        let unused = graphs.flatMap(\.initializerValues).filter {
            (uses[$0] ?? 0) == 0 && before.contains($0)
        }
        return (removed.sorted(), Set(unused.map(model.valueName)).sorted())
    }
}
