import CUnsay
import Support

/// Finds T5's weights in a graph by its structure alone: operations, data flow, shapes.
///
/// Every norm reads the residual stream. The products already summed into it are the last
/// projections of the sublayers before; their number is the norm's place in its stack, and
/// the table at the stream's root tells the stacks apart. From each such projection the
/// walk back meets either an attention (query, key, value, bias table) or a feed-forward.
struct GraphReader {
    typealias Source = Graph.Source

    let graph: Graph
    private(set) var findings = Findings()
    private var norms: [Int: Stream] = [:]
    private var stacks: [Source: [Sublayer]] = [:]
    private var placed = Set<Int>()

    /// The residual stream that a norm reads.
    private struct Stream {
        let projections: Set<Int>
        let root: Source?
    }

    enum Kind { case selfAttention, crossAttention, feedForward }

    /// One sublayer: its norm, its projections, its place in the stack.
    struct Sublayer {
        var kind: Kind
        var norm: Int
        var position: Int
        var weights: [(name: String, constant: Constant)]
        var table: Int?
        var heads: Int?
        var activation: String?
    }

    init(_ graph: Graph) { self.graph = graph }

    /// Reads the whole graph; nothing if it multiplies by no constant matrix.
    static func read(_ graph: Graph) throws -> Findings {
        graph.classify()
        guard graph.anchors.values.contains(where: { $0.product != nil }) else { return Findings() }
        var reader = GraphReader(graph)
        try reader.findStreams()
        try reader.findSublayers()
        try reader.nameStacks()
        return reader.findings
    }

    private func product(_ source: Source) -> (node: Int, product: WeightProduct)? {
        guard case .anchor(let node) = source, let product = graph.anchors[node]?.product else {
            return nil
        }
        return (node, product)
    }

    private func normNode(_ source: Source) -> Int? {
        guard case .anchor(let node) = source, graph.anchors[node]?.norm != nil else { return nil }
        return node
    }

    private func tableNode(_ source: Source) -> Int? {
        guard case .anchor(let node) = source, graph.anchors[node]?.table != nil else { return nil }
        return node
    }

    // MARK: Streams

    private mutating func findStreams() throws {
        for (node, anchor) in graph.anchors {
            guard let norm = anchor.norm else { continue }
            let sources = try graph.trace(norm.inputs).sources
            let projections = Set(sources.compactMap { product($0)?.node })
            let root =
                sources.first { tableNode($0) != nil }
                ?? sources.first { if case .input = $0 { true } else { false } }
            guard root != nil || !projections.isEmpty else { continue }
            norms[node] = Stream(projections: projections, root: root)
        }
    }

    // MARK: Sublayers

    private mutating func findSublayers() throws {
        let last = norms.values.reduce(into: Set<Int>()) { $0.formUnion($1.projections) }
        placed = last
        for node in last.sorted() {
            guard let output = graph.anchors[node]?.product else { continue }
            let (sources, passed) = try graph.trace([output.input])
            let attention = sources.compactMap { source -> AttentionProduct? in
                guard case .anchor(let node) = source else { return nil }
                return graph.anchors[node]?.attention
            }.first
            let products = sources.compactMap { product($0) }
            var sublayer: Sublayer?
            if let attention {
                sublayer = try self.attention(attention)
                sublayer?.weights.append(("o", output.weight))
            } else if !products.isEmpty {
                sublayer = try feedForward(products, passed)
                sublayer?.weights.append(("wo", output.weight))
            }
            guard var sublayer, let stream = norms[sublayer.norm], let root = stream.root else {
                continue
            }
            sublayer.position = stream.projections.count
            stacks[root, default: []].append(sublayer)
        }
    }

    private mutating func attention(_ attention: AttentionProduct) throws -> Sublayer? {
        var biasSources: [Int32] = [attention.bias]
        let query: Int32, key: Int32, value: Int32
        switch attention.form {
        case .packed(let input, let weights):
            guard let norm = try graph.sources(of: input).compactMap({ normNode($0) }).first else {
                return nil
            }
            return Sublayer(
                kind: .selfAttention, norm: norm, position: 0,
                weights: Array(zip(["q", "k", "v"], weights)).map { ($0, $1) },
                table: try table(biasSources), heads: attention.heads)
        case .separate(let q, let k, let v):
            (query, key, value) = (q, k, v)
        case .plain(let left, let right):
            let softmax = try graph.sources(of: left).compactMap { source -> Int? in
                guard case .anchor(let node) = source, graph.anchors[node]?.isSoftmax == true
                else { return nil }
                return node
            }.first
            guard let softmax else { return nil }
            biasSources = graph.dataInputs(graph.nodes[softmax], output: 0)
            let scores = try graph.trace(biasSources).sources.compactMap { source in
                if case .anchor(let node) = source,
                    case .plain(let left, let right) = graph.anchors[node]?.attention?.form
                {
                    (left, right)
                } else {
                    (Int32, Int32)?.none
                }
            }.first
            guard let scores else { return nil }
            (query, key, value) = (scores.0, scores.1, right)
        }
        func weight(_ value: Int32) throws -> (node: Int, product: WeightProduct)? {
            try graph.sources(of: value).compactMap { product($0) }.first
        }
        guard let q = try weight(query) else { return nil }
        let k = try weight(key)
        let v = try weight(value)
        guard let norm = try graph.sources(of: q.product.input).compactMap({ normNode($0) }).first
        else { return nil }
        // Keys made of anything but the query's norm, or taken from a cache: the encoder's.
        let readsOwn = try k.map { Set(try graph.sources(of: $0.product.input)) == [.anchor(norm)] }
        var sublayer = Sublayer(
            kind: readsOwn == true ? .selfAttention : .crossAttention, norm: norm, position: 0,
            weights: [], heads: attention.heads)
        for (name, found) in [("q", q), ("k", k), ("v", v)] {
            guard let found else { continue }
            placed.insert(found.node)
            sublayer.weights.append((name, found.product.weight))
        }
        sublayer.table = try table(biasSources)
        return sublayer
    }

    private func table(_ values: [Int32]) throws -> Int? {
        try graph.trace(values).sources.compactMap { tableNode($0) }.first
    }

    private mutating func feedForward(
        _ products: [(node: Int, product: WeightProduct)], _ passed: [Int]
    ) throws -> Sublayer? {
        var activation: String?
        var gate = Set<Int>()
        for index in passed {
            let node = graph.nodes[index]
            guard let name = node.activation else { continue }
            activation = name
            gate.formUnion(try graph.trace(node.inputs).sources.compactMap { product($0)?.node })
        }
        let norm = try graph.sources(of: products[0].product.input).compactMap { normNode($0) }
            .first
        guard let norm else { return nil }
        var sublayer = Sublayer(
            kind: .feedForward, norm: norm, position: 0, weights: [], activation: activation)
        if products.count == 1 {
            sublayer.weights = [("wi", products[0].product.weight)]
        } else {
            let gated = products.filter { gate.contains($0.node) }
            let linear = products.filter { !gate.contains($0.node) }
            guard products.count == 2, gated.count == 1 else {
                throw refusal("a feed-forward block has \(products.count) projections")
            }
            sublayer.weights = [
                ("wi_0", gated[0].product.weight), ("wi_1", linear[0].product.weight),
            ]
        }
        placed.formUnion(products.map(\.node))
        return sublayer
    }

    // MARK: Names

    private mutating func nameStacks() throws {
        var finals: [String: Int] = [:]
        let sublayerNorms = Set(stacks.values.joined().map(\.norm))
        for (root, unsorted) in stacks {
            let stack = unsorted.sorted { $0.position < $1.position }
            let isDecoder = stack.contains { $0.kind == .crossAttention }
            let name = isDecoder ? "decoder" : "encoder"
            let unit: [Kind] =
                isDecoder
                ? [.selfAttention, .crossAttention, .feedForward] : [.selfAttention, .feedForward]
            guard stack.count % unit.count == 0,
                stack.indices.allSatisfy({
                    stack[$0].position == $0 && stack[$0].kind == unit[$0 % unit.count]
                })
            else {
                throw refusal("the \(name)'s \(stack.count) sublayers do not follow T5's order")
            }
            if isDecoder {
                findings.facts.numDecoderLayers = stack.count / unit.count
            } else {
                findings.facts.numLayers = stack.count / unit.count
            }
            findings.facts.hasGraph = true
            if let table = tableNode(root), let weight = graph.anchors[table]?.table?.weight {
                findings.add("shared", weight, in: graph.path)
            }
            let final = norms.first {
                $0.value.root == root && $0.value.projections.count == stack.count
                    && !sublayerNorms.contains($0.key)
            }?.key
            if let final, let norm = graph.anchors[final]?.norm {
                finals[name] = final
                findings.add("\(name).final_layer_norm", norm.weight, in: graph.path)
            }
            try nameSublayers(stack, of: name, unit: unit)
        }
        try placeTheRest(finals)
    }

    private mutating func nameSublayers(_ stack: [Sublayer], of name: String, unit: [Kind]) throws {
        let tables = Set(stack.filter { $0.kind == .selfAttention }.compactMap(\.table))
        for (index, sublayer) in stack.enumerated() {
            let block = index / unit.count
            let prefix = "\(name).block.\(block).layer.\(index % unit.count)"
            if let norm = graph.anchors[sublayer.norm]?.norm {
                findings.add("\(prefix).layer_norm", norm.weight, in: graph.path)
                findings.facts.epsilon =
                    try findings.facts.epsilon ?? norm.epsilon ?? graph.epsilon(of: norm)
            }
            let part =
                switch sublayer.kind {
                case .selfAttention: "SelfAttention"
                case .crossAttention: "EncDecAttention"
                case .feedForward: "DenseReluDense"
                }
            for (weight, constant) in sublayer.weights {
                findings.add("\(prefix).\(part).\(weight)", constant, in: graph.path)
            }
            findings.facts.activation = findings.facts.activation ?? sublayer.activation
            findings.facts.numHeads = findings.facts.numHeads ?? sublayer.heads
            guard sublayer.kind == .selfAttention, let node = sublayer.table,
                let table = graph.anchors[node]?.table, block == 0 || tables.count > 1
            else { continue }
            findings.add("\(prefix).\(part).relative_attention_bias", table.weight, in: graph.path)
            findings.facts.numHeads = findings.facts.numHeads ?? table.weight.shape.last
            findings.facts.maxDistance =
                try findings.facts.maxDistance ?? table.maxDistance
                ?? graph.maxDistance(of: table, isBidirectional: name == "encoder")
        }
    }

    /// The head, and the cross-attention keys and values in an encoder file of ONNX Runtime.
    private mutating func placeTheRest(_ finals: [String: Int]) throws {
        for (node, anchor) in graph.anchors.sorted(by: { $0.key < $1.key }) {
            guard let product = anchor.product, !placed.contains(node) else { continue }
            let sources = try graph.sources(of: product.input)
            let above = Set(sources.compactMap { normNode($0) })
            if let final = finals["decoder"], above.contains(final) {
                findings.add("lm_head", product.weight, in: graph.path)
                findings.facts.headScale =
                    try findings.facts.headScale ?? graph.headScale(of: product)
            } else if let final = finals["encoder"], above.contains(final),
                let name = try graph.cacheOutput(of: product)
            {
                findings.add(name, product.weight, in: graph.path)
            } else {
                throw refusal(
                    "the matrix \"\(product.weight.tensor.name)\" \(product.weight.shape) has no place in T5"
                )
            }
        }
    }

    private func refusal(_ reason: String) -> Failure {
        Failure(UNSAY_E_UNSUPPORTED, "\(graph.path) is not a graph of T5: \(reason)")
    }
}
