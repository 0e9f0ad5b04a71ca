import COnnx
import CUnsay
import Support

/// A graph as its readers see it: who makes a value, who uses it, and which values are
/// constants. Names play no part.
final class Graph {
    let model: OnnxModel
    let path: String
    let outer: Graph?
    /// The graphs that its nodes hold, at any depth. They keep this one; whoever reads them keeps
    /// them, as `all` gives them.
    private var inner: [Inner] = []
    let nodes: [OnnxNode]
    let inputs: Set<Int32>
    let outputs: Set<Int32>
    /// As the file lists them.
    let inputList: [(value: Int32, type: InputType)]
    let outputList: [Int32]

    private(set) var producers: [Int32: Producer] = [:]
    private(set) var consumers: [Int32: [Use]] = [:]
    private let initializers: [Int32: Int]
    private var constants: [Int32: Constant?] = [:]

    private struct Inner { weak var graph: Graph? }
    struct Producer { let node: Int, output: Int }
    struct Use { let node: Int, input: Int }

    /// Constants that follow from constants do so in a few steps.
    private static let deepestConstant = 64

    init(_ model: OnnxModel, _ arrays: GraphArrays, outer: Graph?) {
        self.model = model
        self.outer = outer
        path = model.name + (arrays.path.isEmpty ? "" : ":\(arrays.path)")
        nodes = arrays.nodes
        initializers = arrays.initializers
        inputs = Set(arrays.inputs.filter { arrays.initializers[$0] == nil })
        outputs = Set(arrays.outputs)
        outputList = arrays.outputs
        let given = Array(zip(arrays.inputs, arrays.inputTypes)).filter {
            arrays.initializers[$0.0] == nil
        }
        inputList = given.map { (value: $0.0, type: $0.1) }
        for (index, node) in nodes.enumerated() {
            for (output, value) in node.outputs.enumerated() where value >= 0 {
                producers[value] = Producer(node: index, output: output)
            }
            for (input, value) in node.inputs.enumerated() where value >= 0 {
                consumers[value, default: []].append(Use(node: index, input: input))
            }
        }
    }

    var withInner: [Graph] { [self] + inner.compactMap(\.graph) }

    /// Every graph of a model, outer ones first.
    static func all(of model: OnnxModel) -> [Graph] {
        var graphs: [Graph] = []
        for index in 0..<model.graphCount {
            let arrays = model.graph(index)
            let outer = graphs.indices.contains(arrays.parent) ? graphs[arrays.parent] : nil
            let graph = Graph(model, arrays, outer: outer)
            graphs.append(graph)
            var around = outer
            while let holder = around {
                holder.inner.append(Inner(graph: graph))
                around = holder.outer
            }
        }
        return graphs
    }

    /// The initializers by name, for files that hold nothing else.
    var namedTensors: [(name: String, constant: Constant)] {
        let stored = initializers.map { (model.valueName($0.key), $0.value) }
        let made = nodes.compactMap { node in
            node.tensor("value").flatMap { tensor in
                node.outputs.first.map { (model.valueName($0), tensor) }
            }
        }
        return (stored + made).sorted { $0.0 < $1.0 }.map {
            ($0.0, Constant(model: model, tensorIndex: $0.1))
        }
    }

    /// The values of this graph that are initializers.
    var initializerValues: [Int32] { Array(initializers.keys) }

    /// True if nothing is computed: a container of weights.
    var isContainer: Bool { nodes.allSatisfy { $0.opType == "Constant" } }

    // MARK: Constants

    /// The constant behind a value, through whatever only rearranges it; nil if it depends
    /// on the model's input.
    func constant(_ value: Int32, depth: Int = 0) -> Constant? {
        guard value >= 0, depth < Self.deepestConstant else { return nil }
        if let known = constants[value] { return known }
        constants[value] = .some(nil)
        let constant = resolve(value, depth + 1)
        constants[value] = .some(constant)
        return constant
    }

    private func resolve(_ value: Int32, _ depth: Int) -> Constant? {
        if let tensor = initializers[value] { return Constant(model: model, tensorIndex: tensor) }
        if inputs.contains(value) { return nil }
        guard let producer = producers[value] else { return outer?.constant(value, depth: depth) }
        let node = nodes[producer.node]
        if node.opType == "Constant" {
            return node.tensor("value").map { Constant(model: model, tensorIndex: $0) }
        }
        switch node.opType {
        case "Identity", "Dropout", "CastLike", "Cast", "Transpose", "Reshape", "Unsqueeze",
            "Squeeze", "Flatten":
            return constant(node.input(0), depth: depth).flatMap {
                rearranged($0, by: node, depth)
            }
        case "DequantizeLinear":
            return dequantized(node, depth)
        case "Mul":
            guard let left = constant(node.input(0), depth: depth),
                let right = constant(node.input(1), depth: depth)
            else { return nil }
            return scaled(left, by: right) ?? scaled(right, by: left)
        default:
            return nil
        }
    }

    private func scaled(_ constant: Constant, by factor: Constant) -> Constant? {
        guard let number = factor.number else { return nil }
        var constant = constant
        constant.scale *= Float(number)
        return constant
    }

    private func rearranged(_ constant: Constant, by node: OnnxNode, _ depth: Int) -> Constant? {
        let shape = constant.shape
        // Axes are an attribute in old operator sets, an input in new ones.
        let second = self.constant(node.input(1), depth: depth)?.integers
        let axes = (second ?? node.ints("axes"))?.map { $0 < 0 ? $0 + shape.count : $0 }
        switch node.opType {
        case "Cast":
            var constant = constant
            constant.valueType = Int32(
                truncatingIfNeeded: node.int("to") ?? Int(constant.valueType))
            return constant
        case "Transpose":
            return constant.with(
                constant.view.transposed(node.ints("perm") ?? Array(shape.indices.reversed())))
        case "Reshape":
            guard var target = second else { return nil }
            let keepsZero = node.int("allowzero") == 1
            for i in target.indices where target[i] == 0 && !keepsZero && i < shape.count {
                target[i] = shape[i]
            }
            if let free = target.firstIndex(of: -1) {
                target[free] = 1
                let others = StridedView(target).count
                guard others > 0, target.allSatisfy({ $0 > 0 }) else { return nil }
                target[free] = constant.view.count / others
            }
            return constant.with(constant.view.reshaped(target))
        case "Unsqueeze":
            guard let second = second ?? node.ints("axes") else { return nil }
            let rank = shape.count + second.count
            let places = Set(second.map { $0 < 0 ? $0 + rank : $0 })
            guard rank <= 8, places.count == second.count else { return nil }
            var rest = shape.makeIterator()
            return constant.with(
                constant.view.reshaped(
                    (0..<rank).map { places.contains($0) ? 1 : rest.next() ?? 1 }))
        case "Squeeze":
            let kept = shape.indices.filter { axes?.contains($0) == false || shape[$0] != 1 }
            return constant.with(constant.view.reshaped(kept.map { shape[$0] }))
        case "Flatten":
            let axis = node.int("axis") ?? 1
            guard axis >= 0, axis <= shape.count else { return nil }
            return constant.with(
                constant.view.reshaped([
                    shape[..<axis].reduce(1, &*), shape[axis...].reduce(1, &*),
                ]))
        default:
            return constant
        }
    }

    private func dequantized(_ node: OnnxNode, _ depth: Int) -> Constant? {
        // A quantised float constant still has its float original.
        if let producer = producers[node.input(0)], nodes[producer.node].opType == "QuantizeLinear"
        {
            return constant(nodes[producer.node].input(0), depth: depth)
        }
        guard let stored = constant(node.input(0), depth: depth) else { return nil }
        return stored.dequantized(
            scale: constant(node.input(1), depth: depth),
            zero: constant(node.input(2), depth: depth),
            axis: node.int("axis") ?? 1, block: node.int("block_size") ?? 0)
    }
}
