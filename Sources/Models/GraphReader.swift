import CUnsay
import Support

/// Recognises T5 in a graph, by what it computes: the graph is traced, and every output must
/// be the formula of T5 and of nothing else. Names play no part, but for the parts of a cache
/// that leave one file and enter another.
struct GraphReader {
    let trace: Trace
    let probe: GraphProbe
    let graph: Graph
    private(set) var findings = Findings()
    private var stacks = StackReader.Memory()

    /// Reads every graph of a model; nothing where no stack of T5 is.
    ///
    /// - Parameter graphs: of one model, as `Graph.all` gives them.
    static func read(_ graphs: [Graph], _ sizes: GraphProbe.Sizes) throws -> Findings {
        var branches = Set<Int>()
        for graph in graphs {
            for node in graph.nodes where node.opType == "If" { branches.formUnion(node.graphs) }
        }
        var findings = Findings()
        for (index, graph) in graphs.enumerated() where !branches.contains(index) {
            for probe in GraphProbe.all(of: graph, sizes, tables: graph.tableWidths) {
                var reader = GraphReader(graph, graphs, probe)
                try reader.read()
                try findings.merge(reader.findings)
            }
        }
        return findings
    }

    private init(_ graph: Graph, _ graphs: [Graph], _ probe: GraphProbe) {
        self.graph = graph
        self.probe = probe
        trace = Trace(graphs, of: graph)
    }

    private mutating func read() throws {
        // What calls other graphs, as BeamSearch does, is no stack; nor is what embeds nothing.
        let callsOthers = graph.nodes.contains { !$0.graphs.isEmpty && $0.opType != "If" }
        guard !callsOthers, !graph.tableWidths.isEmpty else { return }
        try probe.feed(trace)
        try trace.run(graph)
        let outputs = graph.outputList.map { ($0, trace.value($0, in: graph)) }
        var open: [(Int32, TracedValue)] = []
        var isRead = false
        for (value, known) in outputs {
            if try isWholeStack(known) { isRead = true } else { open.append((value, known)) }
        }
        // Parts of a cache are known once the stacks are, and not before.
        for (value, known) in open {
            if try isKnown(known, as: graph.model.valueName(value)) { isRead = true; continue }
            // What else a graph computes is of no concern if its name claims nothing.
            let name = graph.model.valueName(value)
            guard !isRead || Self.claims.contains(where: name.contains) else { continue }
            throw refusal(of: known, "output \"\(name)\"")
        }
        for (term, role) in stacks.caches {
            guard case .input(let value) = trace.terms[term].kind else { continue }
            try note(role, as: graph.model.valueName(value))
        }
        try nameStacks()
    }

    private static let claims = ["logits", "hidden_state", "present", "past"]

    // MARK: Outputs

    /// True for logits, and for the states behind a stack's final norm.
    private mutating func isWholeStack(_ known: TracedValue) throws -> Bool {
        guard case .view(let view) = known, view.function == nil, view.layout.isWhole,
            view.shape.count <= 3
        else { return false }
        var reader = StackReader(trace, probe, graph.path, stacks)
        switch trace.terms[view.term].kind {
        case .norm:
            try reader.readStack(endingIn: view)
            stacks = reader.memory
            return true
        case .product(let data, let product):
            guard case .norm = trace.terms[data.term].kind, data.layout.isWhole,
                let scale = data.function == nil ? 1 : data.function?.factor
            else { return false }
            var states = data
            states.function = nil
            let stack = try reader.readStack(endingIn: states)
            guard stack.isDecoder else { return false }
            stacks = reader.memory
            findings.add("lm_head", product.weight, in: graph.path)
            findings.facts.headScale = .init(value: Float(scale), graph: graph.path)
            findings.facts.hasHead = true
            return true
        default: return false
        }
    }

    /// True for a part of a cache, a stack's inner states, or numbers.
    private mutating func isKnown(_ known: TracedValue, as name: String) throws -> Bool {
        guard case .view(let view) = known else {
            if case .unknown = known { return false }
            return true
        }
        guard view.function == nil else { return false }
        if let role = stacks.caches[view.term] {
            guard stacks.isCache(view, in: trace) else { return false }
            try note(role, as: name)
            return true
        }
        if stacks.states.contains(view.term) { return view.layout.isWhole }
        return try isCrossCache(view, as: name)
    }

    /// Keys and values of the cross-attention in an encoder's file, as onnxruntime's converter
    /// writes them: the one place where a name decides, e.g. `present_key_cross_0`.
    private mutating func isCrossCache(_ view: View, as name: String) throws -> Bool {
        guard case .product(let data, let product) = trace.terms[view.term].kind,
            case .norm = trace.terms[data.term].kind, data.layout.isWhole, data.function == nil
        else { return false }
        var reader = StackReader(trace, probe, graph.path, stacks)
        let stack = try reader.readStack(endingIn: data)
        stacks = reader.memory
        let isKey = name.contains("key")
        let digits = name.drop { !$0.isNumber }.prefix { $0.isNumber }
        guard isKey != name.contains("value"), let block = Int(digits), view.shape.count == 4,
            !stack.isDecoder, let heads = stack.heads, view.shape[1] == heads,
            view.layout.showsSame(
                as: AttentionReader.headsLayout(
                    batch: view.shape[0], length: view.shape[2], heads: heads,
                    width: view.shape[3]))
        else { return false }
        let role = "decoder.block.\(block).layer.1.EncDecAttention.\(isKey ? "k" : "v")"
        findings.add(role, product.weight, in: graph.path)
        try note(role, as: name)
        return true
    }

    /// Parts of a cache have one name as input and output, but for `past` and `present`.
    private mutating func note(_ role: String, as name: String) throws {
        var key = Substring(name)
        for prefix in ["past_key_values", "present_key_values", "past", "present"]
        where key.hasPrefix(prefix) {
            key = key.dropFirst(prefix.count)
            break
        }
        var other = Findings()
        other.facts.caches[String(key)] = .init(value: role, graph: graph.path)
        try findings.merge(other)
    }

    // MARK: Names

    private mutating func nameStacks() throws {
        for stack in stacks.stacks.values {
            let name = stack.isDecoder ? "decoder" : "encoder"
            let unit = stack.isDecoder ? 3 : 2
            let layers = Findings.Fact(value: stack.sublayers.count / unit, graph: graph.path)
            var facts = Findings()
            if stack.isDecoder {
                facts.facts.numDecoderLayers = layers
                facts.facts.hasDecoder = true
            } else {
                facts.facts.numLayers = layers
            }
            if let heads = stack.heads {
                facts.facts.numHeads = .init(value: heads, graph: graph.path)
            }
            if let width = stack.headWidth {
                facts.facts.headWidth = .init(value: width, graph: graph.path)
            }
            if let activation = stack.activation {
                facts.facts.activation = .init(value: activation, graph: graph.path)
            }
            if let distance = stack.maxDistance {
                facts.facts.maxDistance = .init(value: distance, graph: graph.path)
            }
            if !stack.buckets.isEmpty {
                facts.facts.buckets[!stack.isDecoder] = .init(
                    value: stack.buckets, graph: graph.path)
            }
            facts.facts.epsilon = .init(value: Float(stack.epsilon), graph: graph.path)
            findings.add("shared", stack.table, in: graph.path)
            findings.add("\(name).final_layer_norm", stack.finalNorm, in: graph.path)
            nameSublayers(stack, of: name, unit)
            try findings.merge(facts)
        }
    }

    private mutating func nameSublayers(
        _ stack: StackReader.Stack, of name: String, _ unit: Int
    ) {
        let tables = stack.sublayers.compactMap(\.table)
        let isShared = tables.dropFirst().allSatisfy { $0.isSameTable(as: tables[0]) }
        for (index, sublayer) in stack.sublayers.enumerated() {
            let block = index / unit
            let prefix = "\(name).block.\(block).layer.\(index % unit)"
            findings.add("\(prefix).layer_norm", sublayer.norm, in: graph.path)
            for (weight, constant) in sublayer.weights {
                findings.add(
                    "\(prefix).\(sublayer.kind.rawValue).\(weight)", constant, in: graph.path)
            }
            if let table = sublayer.table, block == 0 || !isShared {
                findings.add(
                    "\(prefix).\(sublayer.kind.rawValue).relative_attention_bias", table,
                    in: graph.path)
            }
        }
    }

    private func refusal(of known: TracedValue, _ what: String) -> Failure {
        StackReader(trace, probe, graph.path, stacks).refusal(of: known, what)
    }
}

extension Constant {
    /// True if both are one stored table, whoever reads it.
    func isSameTable(as other: Constant) -> Bool {
        model === other.model && tensorIndex == other.tensorIndex && view == other.view
    }
}
