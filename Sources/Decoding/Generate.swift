import CUnsay
import Models
import Support
import T5
import Tensors

/// What became of a call to `generate`.
package struct Generation: Sendable {
    /// For each input, in order, its hypotheses, best first.
    package let hypotheses: [[Hypothesis]]
    /// Whether a callback stopped it: then outputs are as far as they came.
    package let wasStopped: Bool
}

/// Writes outputs for each input: the most likely next token again and again, or what beam
/// search or drawing at random finds.
///
/// Inputs run in groups of at most `groupRows`, so that memory does not grow with their
/// number; an output depends on nothing but its own input, bit for bit.
///
/// - Parameter inputs: ids of each, not empty, each below vocab_size.
package func generate(
    _ model: Model, _ inputs: [[Int32]], _ options: GenerateOptions
) throws -> Generation {
    let snapshot = model.snapshot
    try model.configuration.requireHead()
    guard let decoder = snapshot.network.decoder else {
        throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
    }
    var hypotheses = [[Hypothesis]](repeating: [Hypothesis()], count: inputs.count)
    var wasStopped = false
    let banned =
        options.rules.bannedPhrases.isEmpty
        ? nil
        : try BannedPhrases(
            options.rules.bannedPhrases, ends: options.ends(snapshot.configuration),
            texts: model.tokenTexts(), tokenizer: model.requireTokenizer())
    let rows = options.numBeams > 1 ? options.numBeams : options.numReturnSequences
    for group in groups(of: inputs, rowsPerInput: rows, tokens: options.maxBatchTokens)
    where !wasStopped {
        let search = try Search(
            model, snapshot, decoder, inputs: inputs, group: group, options: options,
            banned: banned)
        wasStopped = try !search.run()
        for (slot, input) in group.enumerated() { hypotheses[input] = search.results(slot) }
    }
    for input in hypotheses.indices {
        for index in hypotheses[input].indices {
            hypotheses[input][index].text = try model.decode(hypotheses[input][index].ids)
            if !options.logProbs { hypotheses[input][index].logProbabilities = [] }
        }
    }
    return Generation(hypotheses: hypotheses, wasStopped: wasStopped)
}

/// Inputs that run together: as many as a block of the head holds rows of, and at most
/// `mostTokens` ids unless one input alone has more.
func groups(
    of inputs: [[Int32]], rowsPerInput: Int, tokens mostTokens: Int
) -> [Range<Int>] {
    let most = max(1, headBlockRows / max(rowsPerInput, 1))
    var groups: [Range<Int>] = []
    var first = 0
    var tokens = 0
    for (index, input) in inputs.enumerated() {
        let isFull = index - first == most || tokens + input.count > mostTokens
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
