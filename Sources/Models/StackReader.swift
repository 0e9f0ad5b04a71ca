import CUnsay
import Support

/// Reads a stack of T5 backwards from its final norm: the residual stream is a sum of
/// sublayers' outputs onto rows of the embedding table, and every sublayer reads the norm of
/// the stream so far. Anything else on the way is refused by the name of its node.
struct StackReader {
    let trace: Trace
    let probe: GraphProbe
    let path: String
    var memory: Memory
    /// Stacks whose states this one reads, and those that these read.
    var depth = 0

    enum Kind: String {
        case selfAttention = "SelfAttention"
        case crossAttention = "EncDecAttention"
        case feedForward = "DenseReluDense"
    }

    /// One sublayer: its weights, and what else it shows.
    struct Sublayer {
        let kind: Kind
        var norm: Constant
        var weights: [(name: String, constant: Constant)]
        var table: Constant?
    }

    struct Stack {
        let isDecoder: Bool
        let table: Constant
        let finalNorm: Constant
        let sublayers: [Sublayer]
        let epsilon: Double
        var heads: Int?
        var headWidth: Int?
        var activation: String?
        /// As RelativePositionBias states it.
        var maxDistance: Int?
        /// By relative position (key minus query).
        var buckets: [Int: Int] = [:]
    }

    /// What was read of one trace so far, by terms.
    struct Memory {
        /// By the term of their final norm.
        var stacks: [Int: Stack] = [:]
        /// Keys and values by the parameter that makes them.
        var caches: [Int: String] = [:]
        /// Streams, norms and attention probabilities, which graphs may show.
        var states = Set<Int>()
        /// What masks and biases were found to be, by the term that adds them up.
        var additions: [AdditionReader.Key: AdditionReader.Addition] = [:]
        /// The layout of a key or value as a cache holds it: [batch, heads, length, width].
        var cacheLayouts: [Int: Layout] = [:]

        func isCache(_ view: View, in trace: Trace) -> Bool {
            cacheLayouts[view.term]?.showsSame(as: view.layout) ?? false
        }
    }

    init(_ trace: Trace, _ probe: GraphProbe, _ path: String, _ memory: Memory) {
        self.trace = trace
        self.probe = probe
        self.path = path
        self.memory = memory
    }

    // MARK: The stream

    /// - Throws: `UNSAY_E_UNSUPPORTED` naming the first node that T5 does not have.
    @discardableResult
    mutating func readStack(endingIn final: View) throws -> Stack {
        if let known = memory.stacks[final.term] { return known }
        guard case .norm(let stream, let weight, let epsilon) = trace.terms[final.term].kind else {
            throw refusal(of: final, "the end of a stack", expected: "a norm")
        }
        // From the last sublayer to the first: what it adds, and the stream before it.
        var added: [(output: View, before: View)] = []
        var hidden = stream
        var root: Term.Table?
        while root == nil {
            memory.states.insert(hidden.term)
            try requirePlain(hidden, "the residual stream")
            switch trace.terms[hidden.term].kind {
            case .sum(let x, let y):
                let outputs = [x, y].filter { product($0) != nil }
                guard outputs.count == 1, let output = outputs.first else {
                    throw refusal(of: hidden, "the residual stream", expected: Self.stream)
                }
                try requirePlain(output, "a sublayer's output")
                let before = product(x) != nil ? y : x
                added.append((output, before))
                hidden = before
            case .rows(let table): root = table
            default: throw refusal(of: hidden, "the residual stream", expected: Self.stream)
            }
        }
        guard let root else { throw refusal(of: hidden, "the residual stream") }
        let isDecoderInput = try fedInput(root, hidden)
        var reader = SublayerReader(self, epsilon: epsilon)
        for (output, before) in added.reversed() {
            reader.sublayers.append(try reader.read(output, after: before, shape: hidden.shape))
        }
        memory = reader.stack.memory
        let stack = try reader.finish(weight, root.weight, isDecoderInput, at: final)
        memory.states.insert(final.term)
        memory.stacks[final.term] = stack
        return stack
    }

    private static let stream = "the sum of a sublayer's output and the stream before it"

    /// Whether the ids that a stack embeds are those of a decoder; nil if names do not tell.
    private func fedInput(_ table: Term.Table, _ view: View) throws -> Bool? {
        guard
            let input = probe.ids.first(where: {
                $0.numbers.shape == table.indices.shape
                    && $0.numbers.values == table.indices.values
            })
        else {
            throw refusal(of: view, "the embedding", expected: "a row for each input id")
        }
        return probe.ids.count > 1 ? input.isDecoder : nil
    }

    func product(_ view: View) -> (data: View, product: Term.WeightProduct)? {
        guard case .product(let data, let product) = trace.terms[view.term].kind else {
            return nil
        }
        return (data, product)
    }

    // MARK: Refusals

    /// - Throws: if the view is a function of its term, or shows it in another order.
    func requirePlain(_ view: View, _ what: String) throws {
        if view.function != nil {
            let factor = view.function?.factor
            throw refusal(
                of: view, what, expected: "the values as they are",
                found: factor.map { "values times \(Float($0))" } ?? "a function of them")
        }
        guard view.layout.isWhole else {
            throw refusal(of: view, what, expected: "the elements in their order")
        }
    }

    func refusal(
        of view: View, _ what: String, expected: String = "what T5 computes there",
        found: String? = nil
    ) -> Failure {
        let maker = view.function == nil ? trace.terms[view.term].maker : view.maker
        let found = found.map { ", found \($0)" } ?? ""
        return Failure(
            UNSAY_E_UNSUPPORTED,
            "\(path) is not a graph of T5: \(maker.name) makes \(what); expected \(expected)"
                + found)
    }

    func refusal(of known: TracedValue, _ what: String) -> Failure {
        switch known {
        case .view(let view): return refusal(of: view, what)
        case .unknown(let unknown):
            return Failure(
                UNSAY_E_UNSUPPORTED,
                "\(path) is not a graph of T5: \(unknown.maker.name) \(unknown.reason)")
        default:
            return Failure(
                UNSAY_E_UNSUPPORTED, "\(path) is not a graph of T5: \(what) is a constant")
        }
    }
}
