import CUnsay
import Models
import Support
import T5
import Tensors

/// Runs a pair with the output given, and hands out its logits in blocks of positions.
private func forEachLogits(
    _ model: Model, _ snapshot: WeightsSnapshot, _ inputs: [[Int32]], _ outputs: [[Int32]],
    _ body: (Range<Int>, Rows, Ragged) throws -> Void
) throws {
    try model.configuration.requireHead()
    guard let decoder = snapshot.network.decoder else {
        throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
    }
    let pass = Pass(snapshot.configuration, arena: Arena(), workers: model.workers)
    let sources = Ragged(lengths: inputs.map(\.count))
    let targets = Ragged(lengths: outputs.map(\.count))
    let embedding = snapshot.network.embedding
    let encoded = try encode(inputs.flatMap { $0 }, sources, snapshot.network, pass)
    let start = snapshot.configuration.decoderStartTokenID
    let decoded = try runStack(
        outputs.flatMap { [start] + $0.dropLast() }, targets, decoder, embedding: embedding,
        encoder: encoded, pass)
    try forEachLogits(decoded.states, snapshot.network.head, pass) { range, logits in
        try body(range, logits, targets)
    }
}

/// How likely the model finds each output as the answer to its input.
///
/// - Parameters:
///   - inputs: ids of each, not empty.
///   - outputs: ids of each, not empty, end included where it is meant.
/// - Returns: hypotheses without text, finish `.given`.
package func score(
    _ model: Model, _ inputs: [[Int32]], _ outputs: [[Int32]]
) throws -> [Hypothesis] {
    let snapshot = model.snapshot
    var hypotheses = outputs.map { Hypothesis(ids: $0, finish: .given) }
    var first = 0
    while first < inputs.count {
        // As many pairs as fit the budget, but at least one.
        var end = first
        var tokens = 0
        repeat {
            tokens += inputs[end].count + outputs[end].count
            end += 1
        } while end < inputs.count && tokens + inputs[end].count + outputs[end].count <= scoreTokens
        let pairs = first..<end
        try forEachLogits(model, snapshot, Array(inputs[pairs]), Array(outputs[pairs])) {
            range, logits, targets in
            for (row, position) in range.enumerated() {
                let pair = targets.sequence(of: position)
                let id = outputs[first + pair][position - targets.offsets[pair]]
                let values = logits[row]
                hypotheses[first + pair].logProbabilities.append(
                    values[Int(id)] - logSumExp(values))
            }
        }
        first = end
    }
    for index in hypotheses.indices {
        hypotheses[index].score = hypotheses[index].logProbabilities.reduce(0, +)
    }
    return hypotheses
}

private let scoreTokens = 4096

/// The logits of the next token at every position of `output`.
///
/// - Parameter values: overwritten, [output.count, vocab_size].
package func logits(
    _ model: Model, _ input: [Int32], _ output: [Int32], into values: UnsafeMutablePointer<Float>
) throws {
    let all = Rows(base: values, count: output.count, width: model.configuration.vocabSize)
    try forEachLogits(model, model.snapshot, [input], [output]) { range, logits, _ in
        all.rows(range).copy(from: logits)
    }
}

/// The encoder's output, after its final norm.
///
/// - Parameter values: overwritten, [input.count, d_model].
package func encoderStates(
    _ model: Model, _ input: [Int32], into values: UnsafeMutablePointer<Float>
) throws {
    let snapshot = model.snapshot
    let pass = Pass(snapshot.configuration, arena: Arena(), workers: model.workers)
    let encoded = try runStack(
        input, Ragged(lengths: [input.count]), snapshot.network.encoder,
        embedding: snapshot.network.embedding, encoder: nil, pass)
    Rows(base: values, count: input.count, width: model.configuration.dModel)
        .copy(from: encoded.states)
}

/// The mean of the encoder's output over the ids of each input.
///
/// - Parameters:
///   - inputs: ids of each, not empty.
///   - normalize: whether to divide each mean by its L2 norm.
///   - values: overwritten, [inputs.count, d_model].
package func embed(
    _ model: Model, _ inputs: [[Int32]], normalize: Bool,
    into values: UnsafeMutablePointer<Float>
) throws {
    let snapshot = model.snapshot
    let width = model.configuration.dModel
    for group in groups(of: inputs, rowsPerInput: 1, tokens: scoreTokens) {
        let ragged = Ragged(lengths: inputs[group].map(\.count))
        let pass = Pass(snapshot.configuration, arena: Arena(), workers: model.workers)
        let encoded = try encode(inputs[group].flatMap { $0 }, ragged, snapshot.network, pass)
        for (slot, input) in group.enumerated() {
            let out = values + input * width
            out.update(repeating: 0, count: width)
            let rows = ragged.range(slot)
            for row in rows {
                for (index, value) in encoded.states[row].enumerated() { out[index] += value }
            }
            var factor = 1 / Float(rows.count)
            if normalize {
                var squares = 0.0
                for index in 0..<width { squares += Double(out[index]) * Double(out[index]) }
                factor = squares > 0 ? Float(1 / squares.squareRoot()) : 0
            }
            for index in 0..<width { out[index] *= factor }
        }
    }
}
