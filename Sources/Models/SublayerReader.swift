import CUnsay
import Support

/// Reads the sublayers of one stack, in order.
struct SublayerReader {
    var stack: StackReader
    let epsilon: Double
    var sublayers: [StackReader.Sublayer] = []
    var heads: Int?
    var headWidth: Int?
    var maxDistance: Int?
    var buckets: [Int: Int] = [:]
    /// Whether no query sees later keys; nil where there is one query.
    var isCausal: Bool?
    private var activation: String?

    init(_ stack: StackReader, epsilon: Double) {
        self.stack = stack
        self.epsilon = epsilon
    }

    var trace: Trace { stack.trace }

    /// The sublayer that made `output` of the stream before it.
    ///
    /// - Parameter shape: of the stream, [batch, length, d_model].
    mutating func read(
        _ output: View, after stream: View, shape: [Int]
    ) throws -> StackReader.Sublayer {
        guard let (data, product) = stack.product(output) else {
            throw stack.refusal(of: output, "a sublayer's output")
        }
        if case .matrixProduct(let weights, let values) = trace.terms[data.term].kind {
            var reader = AttentionReader(self, stream: stream, shape: shape)
            var sublayer = try reader.read(data, weights, values)
            self = reader.sublayers
            sublayer.weights.append(("o", product.weight))
            return sublayer
        }
        return try feedForward(data, product, after: stream)
    }

    /// The weight of the norm that a projection reads, which must be that of the stream.
    mutating func norm(_ view: View, of stream: View) throws -> Constant {
        guard case .norm(let data, let weight, let epsilon) = trace.terms[view.term].kind else {
            throw stack.refusal(of: view, "a projection's input", expected: "the stream's norm")
        }
        try stack.requirePlain(view, "a projection's input")
        guard data.term == stream.term, data.layout.isWhole, data.function == nil else {
            throw stack.refusal(
                of: view, "a projection's input",
                expected: "the norm of the sum of all sublayers before")
        }
        guard abs(epsilon - self.epsilon) <= 0.02 * max(self.epsilon, 1e-7) else {
            throw stack.refusal(
                of: view, "a norm", expected: "the epsilon of the other norms, \(self.epsilon)",
                found: "\(epsilon)")
        }
        stack.memory.states.insert(view.term)
        return weight
    }

    // MARK: Feed-forward

    private mutating func feedForward(
        _ data: View, _ product: Term.WeightProduct, after stream: View
    ) throws -> StackReader.Sublayer {
        guard data.layout.isWhole else {
            throw stack.refusal(of: data, "a projection's input", expected: "the rows in order")
        }
        let what = "the hidden values of a feed-forward block"
        if let (input, inner) = stack.product(data) {
            let norm = try norm(input, of: stream)
            try take(data)
            return .init(
                kind: .feedForward, norm: norm,
                weights: [("wi", inner.weight), ("wo", product.weight)])
        }
        guard case .elementProduct(let x, let y) = trace.terms[data.term].kind else {
            if case .sum(let x, let y) = trace.terms[data.term].kind,
                stack.product(x) != nil, stack.product(y) != nil
            {
                throw stack.refusal(
                    of: data, what, expected: "one projection, or two multiplied",
                    found: "a sum of two projections, as adapters make that were not merged")
            }
            throw stack.refusal(of: data, what, expected: "a projection, and its activation")
        }
        try stack.requirePlain(data, what)
        let gates = [x, y].filter { $0.function != nil }
        let gate = gates.first ?? x
        let linear = x.function != nil ? y : x
        guard gates.count == 1, gate.layout.isWhole, linear.layout.isWhole,
            let (input, inner) = stack.product(gate), let (other, outer) = stack.product(linear)
        else {
            throw stack.refusal(
                of: data, what, expected: "an activated projection times another one")
        }
        let norm = try norm(input, of: stream)
        guard other.term == input.term else {
            throw stack.refusal(of: other, "a projection's input", expected: "the stream's norm")
        }
        try stack.requirePlain(other, "a projection's input")
        try take(gate)
        return .init(
            kind: .feedForward, norm: norm,
            weights: [("wi_0", inner.weight), ("wi_1", outer.weight), ("wo", product.weight)])
    }

    private mutating func take(_ view: View) throws {
        guard let function = view.function,
            let name = Self.activations.first(where: { function.isClose(to: $0.function) })?.name
        else {
            throw stack.refusal(
                of: view, "an activation",
                expected: "one of \(Self.activations.map(\.name).joined(separator: ", "))")
        }
        guard activation ?? name == name else {
            throw stack.refusal(
                of: view, "an activation", expected: "that of other layers, \(activation ?? "")",
                found: name)
        }
        activation = name
    }

    /// As `dense_act_fn` names them.
    private static let activations: [(name: String, function: PointFunction)] = [
        ("relu", PointFunction { max($0, 0) }),
        ("gelu_new", PointFunction(geluTanh)), ("gelu", PointFunction(gelu)),
        ("silu", PointFunction { $0 * sigmoid($0) }),
    ]

    // MARK: The whole

    func finish(
        _ finalNorm: Constant, _ table: Constant, _ isDecoderInput: Bool?, at final: View
    ) throws -> StackReader.Stack {
        let isDecoder = sublayers.contains { $0.kind == .crossAttention }
        let unit: [StackReader.Kind] =
            isDecoder
            ? [.selfAttention, .crossAttention, .feedForward] : [.selfAttention, .feedForward]
        guard sublayers.count % unit.count == 0, !sublayers.isEmpty,
            sublayers.indices.allSatisfy({ sublayers[$0].kind == unit[$0 % unit.count] })
        else {
            throw stack.refusal(
                of: final, "the end of \(sublayers.count) sublayers",
                expected: "T5's order of \(unit.map(\.rawValue).joined(separator: ", "))",
                found: sublayers.map(\.kind.rawValue).joined(separator: ", "))
        }
        guard isDecoderInput ?? isDecoder == isDecoder else {
            throw stack.refusal(
                of: final, "the end of \(isDecoder ? "a decoder" : "an encoder")",
                expected: "its own ids as its input")
        }
        guard isCausal ?? isDecoder == isDecoder else {
            throw stack.refusal(
                of: final, "the end of \(isDecoder ? "a decoder" : "an encoder")",
                expected: isDecoder ? "queries that see no later keys" : "queries that see all keys"
            )
        }
        var made = StackReader.Stack(
            isDecoder: isDecoder, table: table, finalNorm: finalNorm, sublayers: sublayers,
            epsilon: epsilon)
        made.heads = heads
        made.headWidth = headWidth
        made.activation = activation
        made.maxDistance = maxDistance
        made.buckets = buckets
        return made
    }
}
