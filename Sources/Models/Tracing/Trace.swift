import COnnx
import CUnsay
import Support

/// One run of a graph on small arrays: numbers are computed, and whatever depends on weights
/// stays a formula. So shapes, positions and masks need no reading, however an exporter
/// spells them: what they come to is compared with what it should be.
///
/// Nothing recurses but graphs within graphs, and time is bounded by `effort`.
final class Trace {
    let model: OnnxModel
    let graphs: [Graph]
    private(set) var terms: [Term] = []
    /// The terms of floating inputs.
    private(set) var inputTerms: [Int32: Int] = [:]
    /// The rows of floats made of rows of integers, by the term of these.
    var dequantizedRows: [Int: Int] = [:]
    private var values: [TracedValue?]
    /// Elements that may still be computed: a bound on what a hostile file costs.
    private var effort = 60_000_000
    /// The node at work.
    private(set) var maker: Term.Maker

    private static let deepestGraph = 16

    init(_ graphs: [Graph], of graph: Graph) {
        model = graph.model
        self.graphs = graphs
        values = Array(repeating: nil, count: graph.model.valueCount)
        maker = Term.Maker(graph: graph, node: -1)
    }

    // MARK: Values

    func set(_ value: Int32, to known: TracedValue) {
        if values.indices.contains(Int(value)) { values[Int(value)] = known }
    }

    /// What is known of a value where the node at work reads it.
    func value(_ value: Int32) -> TracedValue {
        guard value >= 0, values.indices.contains(Int(value)) else { return .absent }
        if let known = values[Int(value)] { return known }
        if let constant = maker.graph.constant(value) {
            let known = TracedValue.constant(constant)
            values[Int(value)] = known
            return known
        }
        return .unknown(unknown("reads a value that nothing makes"))
    }

    /// What is known of a value once its graph was run.
    func value(_ value: Int32, in graph: Graph) -> TracedValue {
        maker = Term.Maker(graph: graph, node: -1)
        return self.value(value)
    }

    func input(_ index: Int) -> TracedValue { value(maker.graph.nodes[maker.node].input(index)) }

    var node: OnnxNode { maker.graph.nodes[maker.node] }

    func unknown(_ reason: String) -> Unknown { Unknown(maker: maker, reason: reason) }

    /// The numbers of an input; nil if it is left out.
    ///
    /// - Throws: `Unknown` if it depends on weights.
    func optionalNumbers(_ index: Int) throws -> Numbers? {
        switch input(index) {
        case .absent: return nil
        case .numbers(let numbers): return numbers
        case .constant(let constant):
            guard let numbers = constant.asNumbers else {
                throw unknown("computes with the tensor \"\(constant.tensor.name)\"")
            }
            return numbers
        case .unknown(let unknown): throw unknown
        case .view: throw unknown("computes with data where numbers are expected")
        }
    }

    func numbers(_ index: Int) throws -> Numbers {
        guard let numbers = try optionalNumbers(index) else {
            throw unknown("input \(index) is left out")
        }
        return numbers
    }

    func view(_ index: Int) throws -> View {
        switch input(index) {
        case .view(let view): return view
        case .unknown(let unknown): throw unknown
        default: throw unknown("input \(index) does not depend on the model's input")
        }
    }

    /// The stored tensor of an input; nil for anything else.
    func constant(_ index: Int) -> Constant? {
        if case .constant(let constant) = input(index) { return constant }
        return nil
    }

    func isAbsent(_ index: Int) -> Bool {
        if case .absent = input(index) { return true }
        return false
    }

    /// A new term, whole.
    func make(_ kind: Term.Kind, _ shape: [Int]) throws -> View {
        guard Numbers.count(shape, most: Numbers.mostUnstored) != nil, !shape.contains(0) else {
            throw unknown("makes an array of shape \(shape)")
        }
        if case .input(let value) = kind { inputTerms[value] = terms.count }
        terms.append(Term(kind: kind, shape: shape, maker: maker))
        return View(term: terms.count - 1, layout: Layout(shape), maker: maker)
    }

    func spend(_ elements: Int) throws {
        effort -= elements
        guard effort > 0 else {
            throw Failure(
                UNSAY_E_UNSUPPORTED, "\(model.name): the graph is too large to be a T5 export")
        }
    }

    // MARK: Running

    /// Runs every node of a graph, each behind those that it reads.
    func run(_ graph: Graph, depth: Int = 0) throws {
        // Another branch may have had a tensor of the same name.
        for value in graph.initializerValues { values[Int(value)] = nil }
        for index in graph.sortedNodes {
            maker = Term.Maker(graph: graph, node: index)
            try spend(16)
            do {
                try step(depth)
            } catch let unknown as Unknown {
                for output in graph.nodes[index].outputs where output >= 0 {
                    set(output, to: .unknown(unknown))
                }
            }
        }
    }

    private func step(_ depth: Int) throws {
        let node = node
        if node.opType == "If" { return try choose(node, depth) }
        guard node.graphs.isEmpty else { throw unknown("is no operation of T5") }
        if let first = node.outputs.first, node.outputs.count == 1,
            let constant = maker.graph.constant(first), constant.isWeight
        {
            return set(first, to: .constant(constant))
        }
        let made = try outputs(of: node)
        for (index, output) in node.outputs.enumerated() where output >= 0 {
            if case .numbers(let numbers)? = made.indices.contains(index) ? made[index] : nil {
                try spend(numbers.values.count)
            }
            set(
                output,
                to: made.indices.contains(index)
                    ? made[index] : .unknown(unknown("gives more than is understood")))
        }
    }

    /// The numbers that a Constant states otherwise than as a tensor.
    private func statedNumbers(_ node: OnnxNode) throws -> Numbers {
        let made: Numbers? =
            if let value = node.float("value_float") {
                Numbers(.float, scalar: Double(value))
            } else if let value = node.int("value_int") {
                Numbers(.integer, scalar: Double(value))
            } else if let values = node.floats("value_floats") {
                Numbers(.float, [values.count], values.map(Double.init))
            } else if let values = node.ints("value_ints") {
                Numbers(.integer, [values.count], values.map(Double.init))
            } else {
                nil
            }
        guard let made else { throw unknown("states no numbers") }
        return made
    }

    /// Runs the branch of an If that its condition chooses, and takes over its outputs.
    private func choose(_ node: OnnxNode, _ depth: Int) throws {
        guard depth < Self.deepestGraph, let condition = try numbers(0).integer,
            let branch = node.graph(condition != 0 ? "then_branch" : "else_branch"),
            graphs.indices.contains(branch), dependsOnInput(node.input(0))
        else { throw unknown("branches on what is not an input") }
        let outer = maker
        try run(graphs[branch], depth: depth + 1)
        maker = outer
        for (output, inner) in zip(node.outputs, graphs[branch].outputList) {
            let known = value(inner, in: graphs[branch])
            maker = outer
            set(output, to: known)
        }
    }

    /// True if a condition is an input of the graph, whatever its shape: both of its values
    /// are tried. Another condition could hold for these arrays and not for others.
    private func dependsOnInput(_ value: Int32) -> Bool {
        var value = value
        for _ in 0..<8 {
            guard let producer = maker.graph.producers[value] else {
                return maker.graph.inputs.contains(value)
            }
            value = maker.graph.nodes[producer.node].input(0)
        }
        return false
    }

    private func outputs(of node: OnnxNode) throws -> [TracedValue] {
        if node.opType == "Constant" {
            guard let output = node.outputs.first, let constant = maker.graph.constant(output)
            else { return [.numbers(try statedNumbers(node))] }
            return [.constant(constant)]
        }
        if let made = try rearranged(node) { return made }
        if let made = try arithmetic(node) { return made }
        if let made = try multiplied(node) { return made }
        if let made = try quantizedOperation(node) { return made }
        if let made = try normalizedOperation(node) { return made }
        if let made = try attended(node) { return made }
        if let made = try numbersOnly(node) { return made }
        for index in node.inputs.indices {
            if case .unknown(let unknown) = input(index) { throw unknown }
        }
        throw unknown("is no operation of T5")
    }
}

extension Constant {
    /// True for what is kept unread: floating arrays, and integers that stand for such.
    var isWeight: Bool { (isFloating && !isScalar) || (isSmallInteger && shape.count > 1) }

    private var isSmallInteger: Bool {
        [ONNX_UINT8, ONNX_INT8, ONNX_UINT4, ONNX_INT4].map { Int32($0) }.contains(tensor.dataType)
    }

    /// The elements as numbers of the type that the consumer sees; nil for large arrays.
    var asNumbers: Numbers? {
        guard view.count <= Numbers.mostElements, quantization == nil, isWithinTensor,
            let stored = Quantization.numbers(of: tensor)
        else { return nil }
        var values: [Double] = []
        if view.isRowMajor && view.first == 0 && stored.count == view.count {
            values = stored
        } else {
            values.reserveCapacity(view.count)
            forEachPlace(view.shape, view.strides, view.first) { values.append(stored[$0]) }
        }
        if scale != 1 { values = values.map { $0 * Double(scale) } }
        let kind: Numbers.Kind =
            onnx_float_size(tensor.dataType) > 0
            ? .float : tensor.dataType == Int32(ONNX_BOOL) ? .bool : .integer
        let numbers = Numbers(kind, view.shape, values)
        return valueType == tensor.dataType
            ? numbers : numbers?.cast(to: Numbers.Kind(dataType: valueType))
    }
}

extension Numbers.Kind {
    init(dataType: Int32) {
        self =
            onnx_float_size(dataType) > 0
            ? .float : dataType == Int32(ONNX_BOOL) ? .bool : .integer
    }
}
