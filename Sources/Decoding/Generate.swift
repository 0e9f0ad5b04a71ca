import CUnsay
import Models
import Support
import T5
import Tensors

/// What became of a call to `generate`.
package struct Generation: Sendable {
    /// One for each input, in order.
    package let hypotheses: [Hypothesis]
    /// Whether a callback stopped it: then outputs are as far as they came.
    package let wasStopped: Bool
}

/// Writes the most likely next token again and again, for each input, until the end.
///
/// Inputs run in groups of at most `groupRows`, so that memory does not grow with their
/// number; an output depends on nothing but its own input, bit for bit.
///
/// - Parameter inputs: ids of each, not empty, each below vocab_size.
package func generate(
    _ model: Model, _ inputs: [[Int32]], _ options: GenerateOptions
) throws -> Generation {
    let snapshot = model.snapshot
    guard let decoder = snapshot.network.decoder else {
        throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
    }
    var hypotheses = [Hypothesis](repeating: Hypothesis(), count: inputs.count)
    var wasStopped = false
    for group in groups(of: inputs) where !wasStopped {
        let search = try GreedySearch(
            model, snapshot, decoder, inputs: inputs, group: group, options: options)
        wasStopped = try !search.run()
        for (slot, input) in group.enumerated() { hypotheses[input] = search.hypotheses[slot] }
    }
    for index in hypotheses.indices {
        hypotheses[index].text = try model.decode(hypotheses[index].ids)
        hypotheses[index].score = hypotheses[index].logProbabilities.reduce(0, +)
    }
    return Generation(hypotheses: hypotheses, wasStopped: wasStopped)
}

/// Inputs that run together: as many as a block of the head holds, and at most
/// `groupTokens` ids unless one input alone has more.
private func groups(of inputs: [[Int32]]) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var first = 0
    var tokens = 0
    for (index, input) in inputs.enumerated() {
        let isFull = index - first == headBlockRows || tokens + input.count > groupTokens
        if index > first, isFull {
            groups.append(first..<index)
            first = index
            tokens = 0
        }
        tokens += input.count
    }
    if first < inputs.count { groups.append(first..<inputs.count) }
    return groups
}

private let groupTokens = 16384

/// Greedy search over one group of inputs.
private final class GreedySearch {
    private let model: Model
    private let snapshot: WeightsSnapshot
    private let group: Range<Int>
    private let options: GenerateOptions
    private let cache: DecoderCache
    private let arena = Arena()
    private var streams: [TextStream]
    private(set) var hypotheses: [Hypothesis]

    init(
        _ model: Model, _ snapshot: WeightsSnapshot, _ decoder: StackWeights, inputs: [[Int32]],
        group: Range<Int>, options: GenerateOptions
    ) throws {
        self.model = model
        self.snapshot = snapshot
        self.group = group
        self.options = options
        let sources = Ragged(lengths: group.map { inputs[$0].count })
        let pass = Pass(snapshot.configuration, arena: arena, workers: model.workers)
        let encoded = try runStack(
            group.flatMap { inputs[$0] }, sources, snapshot.network.encoder,
            embedding: snapshot.network.embedding, encoder: nil, keepsTape: false, pass)
        cache = try DecoderCache(
            snapshot, decoder, encoder: EncoderOutput(states: encoded.states, sources: sources),
            longest: options.maxNewTokens, workers: model.workers)
        hypotheses = [Hypothesis](repeating: Hypothesis(), count: group.count)
        streams = group.map { _ in TextStream() }
    }

    /// - Returns: false if a callback stopped it.
    func run() throws -> Bool {
        let configuration = snapshot.configuration
        var active = Array(0..<group.count)
        var next = [Int32](repeating: configuration.decoderStartTokenID, count: group.count)
        for step in 0..<options.maxNewTokens where !active.isEmpty {
            var goesOn = true
            try cache.step(active.map { next[$0] }, slots: active) { states in
                arena.reset()
                let pass = Pass(configuration, arena: arena, workers: model.workers)
                try forEachLogits(states, snapshot.network.head, pass) { _, logits in
                    goesOn = try choose(step, active, logits, &next)
                }
            }
            guard goesOn else {
                for slot in active { hypotheses[slot].finish = .stopped }
                return false
            }
            active.removeAll { hypotheses[$0].finish == .end }
        }
        return true
    }

    /// Appends the most likely token to every active output.
    private func choose(
        _ step: Int, _ active: [Int], _ logits: Rows, _ next: inout [Int32]
    ) throws -> Bool {
        if let onLogits = options.onLogits {
            let view = LogitsStep(
                logits: logits.base, vocabSize: logits.width,
                inputs: active.map { group.lowerBound + $0 },
                prefixes: active.map { hypotheses[$0].ids })
            guard onLogits(view) else { return false }
        }
        let end = snapshot.configuration.eosTokenID
        let forced = step < options.prefix.count ? options.prefix[step] : nil
        var choices = [(id: Int32, logProbability: Float)](repeating: (0, 0), count: active.count)
        choices.withUnsafeMutableBufferPointer { choices in
            nonisolated(unsafe) let choices = choices
            model.workers.forEach(active.count) { row in
                let values = logits[row]
                if step + 1 < options.minNewTokens, forced == nil {
                    values[Int(end)] = -.infinity
                }
                let id = forced.map(Int.init) ?? largestIndex(values)
                choices[row] = (Int32(id), values[id] - logSumExp(values))
            }
        }
        for (row, slot) in active.enumerated() {
            let (id, logProbability) = choices[row]
            next[slot] = id
            hypotheses[slot].ids.append(id)
            hypotheses[slot].logProbabilities.append(logProbability)
            if id == end { hypotheses[slot].finish = .end }
            guard let onToken = options.onToken else { continue }
            let text = try streams[slot].extend(
                hypotheses[slot].ids, isLast: id == end || step + 1 == options.maxNewTokens,
                decode: model.decode)
            let token = TokenStep(
                input: group.lowerBound + slot, id: id, logProbability: logProbability, text: text)
            guard onToken(token) else { return false }
        }
        return true
    }
}
