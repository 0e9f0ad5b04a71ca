import CUnsay
import Support

/// Reads one attention sublayer: unscaled scores of queries and keys, the bias of relative
/// positions, a mask, a softmax, values.
struct AttentionReader {
    var sublayers: SublayerReader
    let stream: View
    /// Sequences, and positions in each, of the stream.
    let batch: Int
    let queries: Int

    init(_ sublayers: SublayerReader, stream: View, shape: [Int]) {
        self.sublayers = sublayers
        self.stream = stream
        batch = shape.first ?? 1
        queries = shape.count > 1 ? shape[1] : 1
    }

    private var trace: Trace { sublayers.trace }
    private var stack: StackReader { sublayers.stack }

    /// [batch, length, heads * width] seen as [batch, heads, length, width].
    static func headsLayout(batch: Int, length: Int, heads: Int, width: Int) -> Layout {
        let whole = Layout([batch, length, heads, width])
        return whole.transposed([0, 2, 1, 3]) ?? whole
    }

    /// Where keys or values come from.
    private enum Source {
        case own(View, Constant)
        /// A cache with the new positions appended.
        case extended(Int32, joined: Int, View, Constant)
        case cached(Int32)
    }

    // MARK: The products

    mutating func read(
        _ context: View, _ weights: View, _ values: View
    ) throws -> StackReader.Sublayer {
        try stack.requirePlain(weights, "attention probabilities")
        guard case .softmax(let scores) = trace.terms[weights.term].kind else {
            throw stack.refusal(
                of: weights, "attention probabilities", expected: "a softmax of scores")
        }
        sublayers.stack.memory.states.insert(weights.term)
        let product = try scoreProduct(in: scores)
        guard case .matrixProduct(let query, let key) = trace.terms[product].kind,
            query.function == nil, key.function == nil, values.function == nil,
            context.function == nil, query.shape.count >= 2, key.shape.count >= 2
        else {
            let bad = [context, values].first { $0.function != nil }
            throw stack.refusal(
                of: bad ?? scores, "attention", expected: "unscaled products of projections",
                found: "scaled ones")
        }
        guard let (input, queryProduct) = stack.product(query) else {
            throw stack.refusal(of: query, "queries", expected: "a projection")
        }
        let width = query.shape[query.shape.count - 1]
        let inner = queryProduct.weight.shape[0]
        let keys = key.shape[key.shape.count - 1]
        guard width > 0, inner % width == 0 else {
            throw stack.refusal(of: query, "queries", expected: "heads of one width")
        }
        let heads = inner / width
        try take(heads: heads, width: width, of: query)
        let own = Self.headsLayout(batch: batch, length: queries, heads: heads, width: width)
        guard query.layout.showsSame(as: own), query.shape[query.shape.count - 2] == queries else {
            throw stack.refusal(of: query, "queries", expected: "a projection cut into heads")
        }
        let merged = Layout([batch, heads, queries, width]).transposed([0, 2, 1, 3])
        guard merged?.showsSame(as: context.layout) == true,
            context.shape.last == inner
        else {
            throw stack.refusal(
                of: context, "an attention's output", expected: "its heads side by side")
        }
        let norm = try sublayers.norm(input, of: stream)
        let shape = (heads: heads, keys: keys, width: width)
        let keySource = try source(of: turned(key), shape, "keys")
        let valueSource = try source(of: values, shape, "values")
        return try finish(
            norm, queryProduct.weight, keySource, valueSource, scores, product, shape)
    }

    /// Keys as the values lie: [batch, heads, length, width].
    private func turned(_ key: View) -> View {
        var key = key
        let rank = key.shape.count
        if let layout = key.layout.transposed(Array(0..<rank - 2) + [rank - 1, rank - 2]) {
            key.layout = layout
        }
        return key
    }

    private mutating func take(heads: Int, width: Int, of query: View) throws {
        guard sublayers.heads ?? heads == heads, sublayers.headWidth ?? width == width else {
            throw stack.refusal(
                of: query, "queries", expected: "\(sublayers.heads ?? 0) heads as elsewhere",
                found: "\(heads)")
        }
        sublayers.heads = heads
        sublayers.headWidth = width
    }

    /// The term of the product of queries and keys, among what a softmax reads.
    private func scoreProduct(in scores: View) throws -> Int {
        var queue = [scores]
        while let view = queue.popLast() {
            switch trace.terms[view.term].kind {
            case .matrixProduct: return view.term
            case .sum(let x, let y): queue += [x, y]
            case .shifted(let x, _): queue.append(x)
            default: continue
            }
            if queue.count > 64 { break }
        }
        throw stack.refusal(of: scores, "attention scores", expected: "queries times keys")
    }

    private func source(
        of view: View, _ shape: (heads: Int, keys: Int, width: Int), _ what: String
    ) throws -> Source {
        let cut = Layout([batch, shape.heads, shape.keys, shape.width])
        switch trace.terms[view.term].kind {
        case .product(_, let product):
            let expected = Self.headsLayout(
                batch: batch, length: shape.keys, heads: shape.heads, width: shape.width)
            guard view.layout.showsSame(as: expected) else { break }
            return .own(view, product.weight)
        case .input(let value):
            guard view.layout.showsSame(as: cut), trace.terms[view.term].shape == cut.shape else {
                break
            }
            return .cached(value)
        case .joined(let parts, let axis):
            guard parts.count == 2, view.layout.showsSame(as: cut),
                trace.terms[view.term].shape == cut.shape, axis == 2,
                parts.allSatisfy({ $0.function == nil }), parts[0].layout.isWhole,
                case .input(let past) = trace.terms[parts[0].term].kind,
                case .product(_, let product) = trace.terms[parts[1].term].kind,
                parts[1].layout.showsSame(
                    as: Self.headsLayout(
                        batch: batch, length: parts[1].shape[2], heads: shape.heads,
                        width: shape.width))
            else { break }
            return .extended(past, joined: view.term, parts[1], product.weight)
        default: break
        }
        throw stack.refusal(of: view, what, expected: "a projection cut into heads, or a cache")
    }

    // MARK: Self or cross

    private mutating func finish(
        _ norm: Constant, _ query: Constant, _ key: Source, _ value: Source, _ scores: View,
        _ product: Int, _ shape: (heads: Int, keys: Int, width: Int)
    ) throws -> StackReader.Sublayer {
        let block = sublayers.sublayers.count
        let kind: StackReader.Kind
        var weights = [("q", query)]
        switch (key, value) {
        case (.own(let k, let keyWeight), .own(let v, let valueWeight)):
            guard let keyInput = stack.product(k)?.data, let valueInput = stack.product(v)?.data,
                keyInput.term == valueInput.term
            else {
                throw stack.refusal(of: v, "values", expected: "the input of the keys")
            }
            try stack.requirePlain(keyInput, "the input of keys")
            try stack.requirePlain(valueInput, "the input of values")
            kind = try kindOf(keyInput)
            weights += [("k", keyWeight), ("v", valueWeight)]
        case (
            .extended(let pastKey, _, let k, let keyWeight),
            .extended(let pastValue, _, let v, let valueWeight)
        ):
            guard pastKey != pastValue, let keyInput = stack.product(k)?.data,
                let valueInput = stack.product(v)?.data
            else { throw stack.refusal(of: v, "values", expected: "a cache of their own") }
            _ = try sublayers.norm(keyInput, of: stream)
            _ = try sublayers.norm(valueInput, of: stream)
            kind = .selfAttention
            weights += [("k", keyWeight), ("v", valueWeight)]
        case (.cached(let pastKey), .cached(let pastValue)):
            guard pastKey != pastValue else {
                throw stack.refusal(of: scores, "values", expected: "a cache of their own")
            }
            kind = .crossAttention
        default:
            throw stack.refusal(of: scores, "keys and values", expected: "one source of both")
        }
        let prefix = "decoder.block.\(block / 3).layer.\(block % 3).\(kind.rawValue)"
        remember(key, as: "\(prefix).k", shape)
        remember(value, as: "\(prefix).v", shape)
        let addition = try AdditionReader(
            stack: stack, batch: batch, heads: shape.heads, queries: queries, keys: shape.keys,
            kind: kind
        ).read(scores, product, &sublayers.stack.memory)
        guard
            kind == .crossAttention
                || (sublayers.isCausal ?? addition.isCausal)
                    == (addition.isCausal ?? sublayers.isCausal)
        else {
            throw stack.refusal(
                of: scores, "attention scores", expected: "the mask of other layers")
        }
        if kind == .selfAttention { sublayers.isCausal = sublayers.isCausal ?? addition.isCausal }
        sublayers.buckets.merge(addition.buckets) { old, _ in old }
        sublayers.maxDistance = sublayers.maxDistance ?? addition.maxDistance
        return .init(kind: kind, norm: norm, weights: weights, table: addition.table)
    }

    private mutating func kindOf(_ input: View) throws -> StackReader.Kind {
        switch trace.terms[input.term].kind {
        case .norm(let data, _, _) where data.term == stream.term:
            _ = try sublayers.norm(input, of: stream)
            return .selfAttention
        case .norm:
            var reader = stack
            reader.depth += 1
            guard reader.depth == 1, try !reader.readStack(endingIn: input).isDecoder else {
                break
            }
            sublayers.stack.memory = reader.memory
            return .crossAttention
        case .input(let value) where value == stack.probe.states: return .crossAttention
        default: break
        }
        throw stack.refusal(
            of: input, "the input of keys",
            expected: "the queries' own norm or the encoder's states"
        )
    }

    private mutating func remember(
        _ source: Source, as role: String, _ shape: (heads: Int, keys: Int, width: Int)
    ) {
        let memory: (term: Int, layout: Layout)
        switch source {
        case .own(let view, _):
            memory = (
                view.term,
                Self.headsLayout(
                    batch: batch, length: shape.keys, heads: shape.heads, width: shape.width)
            )
        case .extended(let value, let joined, _, _):
            rememberInput(value, as: role)
            memory = (joined, Layout(trace.terms[joined].shape))
        case .cached(let value): return rememberInput(value, as: role)
        }
        sublayers.stack.memory.caches[memory.term] = role
        sublayers.stack.memory.cacheLayouts[memory.term] = memory.layout
    }

    private mutating func rememberInput(_ value: Int32, as role: String) {
        guard let term = trace.inputTerms[value] else { return }
        sublayers.stack.memory.caches[term] = role
        sublayers.stack.memory.cacheLayouts[term] = Layout(trace.terms[term].shape)
    }
}
