/// A run of ids and what is added to the logit of its last when the others were just written.
package struct SequenceBias: Sendable {
    package let ids: [Int32]
    package let bias: Float

    /// - Parameter ids: not empty.
    package init(ids: [Int32], bias: Float) {
        self.ids = ids
        self.bias = bias
    }
}

/// The options that change logits before a token is chosen. Defaults change nothing.
package struct LogitsRules: Sendable {
    package var sequenceBias: [SequenceBias] = []
    package var encoderRepetitionPenalty: Float = 1
    package var repetitionPenalty: Float = 1
    package var noRepeatNgramSize = 0
    package var encoderNoRepeatNgramSize = 0
    /// Never written; a run that is an end id alone is left out.
    package var badWords: [[Int32]] = []
    /// Never written as whole words, however they are cased or split.
    package var bannedPhrases: [String] = []
    /// The first id of every output.
    package var forcedBOSTokenID: Int32?
    /// The last id of an output that reaches its full length.
    package var forcedEOSTokenID: Int32?
    package var suppressTokens: [Int32] = []
    /// Not written as the first id, or as the second where the first is forced.
    package var beginSuppressTokens: [Int32] = []

    package init() {}
}

/// What is known of the row that a rule is applied to.
struct RowContext {
    /// The start id, then the ids written so far.
    var written: [Int32]
    /// The ids of the input.
    var source: [Int32]
    /// What beam groups before this one chose in this step, for the same input.
    var otherTokens: [Int32] = []
}

/// Changes the logits of one row, [vocab_size], by what was written before.
protocol LogitsRule: Sendable {
    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext)
}

/// The rules of a search in the order in which transformers applies them: those before the
/// allowed tokens of a prefix are asked for, and those after.
struct RuleTable: Sendable {
    private(set) var before: [any LogitsRule] = []
    private(set) var after: [any LogitsRule] = []
    var isEmpty: Bool { before.isEmpty && after.isEmpty }

    /// The ids that the rules leave out after `count` ids, if that is all they do.
    func suppressed(after count: Int) -> [Int32]? {
        var ids: [Int32] = []
        for rule in before + after {
            guard let rule = rule as? SuppressRule else { return nil }
            if (rule.from..<rule.below).contains(count) { ids += rule.ids }
        }
        return ids
    }

    /// - Parameters:
    ///   - ends: the ids that end an output.
    ///   - banned: of `bannedPhrases`.
    init(_ options: GenerateOptions, ends: [Int32], banned: BannedPhrases? = nil) {
        let rules = options.rules
        if !rules.sequenceBias.isEmpty { before.append(BiasRule(rules.sequenceBias)) }
        if options.numBeamGroups > 1, options.diversityPenalty != 0 {
            before.append(DiversityRule(penalty: options.diversityPenalty))
        }
        if rules.encoderRepetitionPenalty != 1 {
            let inverse = 1 / rules.encoderRepetitionPenalty
            before.append(RepetitionRule(penalty: inverse, ofSource: true))
        }
        if rules.repetitionPenalty != 1 {
            before.append(RepetitionRule(penalty: rules.repetitionPenalty, ofSource: false))
        }
        if rules.noRepeatNgramSize > 0 {
            before.append(NgramRule(size: rules.noRepeatNgramSize, ofSource: false))
        }
        if rules.encoderNoRepeatNgramSize > 0 {
            before.append(NgramRule(size: rules.encoderNoRepeatNgramSize, ofSource: true))
        }
        let words = rules.badWords.filter { $0.count > 1 || !ends.contains($0[0]) }
        if !words.isEmpty {
            before.append(BiasRule(words.map { SequenceBias(ids: $0, bias: -.infinity) }))
        }
        if let banned { before.append(BannedRule(phrases: banned, longest: options.maxNewTokens)) }
        if options.minNewTokens > 0 {
            before.append(SuppressRule(ids: ends, below: options.minNewTokens))
        }
        if let id = rules.forcedBOSTokenID { after.append(ForcedRule(id: id, position: 0)) }
        if let id = rules.forcedEOSTokenID {
            after.append(ForcedRule(id: id, position: options.maxNewTokens - 1))
        }
        if !rules.suppressTokens.isEmpty {
            after.append(SuppressRule(ids: rules.suppressTokens, below: .max))
        }
        if !rules.beginSuppressTokens.isEmpty {
            let first = rules.forcedBOSTokenID == nil ? 0 : 1
            after.append(
                SuppressRule(ids: rules.beginSuppressTokens, from: first, below: first + 1))
        }
    }
}

/// `sequence_bias`, and `bad_words_ids` with a bias of -inf.
private struct BiasRule: LogitsRule {
    private let biases: [SequenceBias]

    init(_ biases: [SequenceBias]) { self.biases = biases }

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        for entry in biases {
            guard let last = entry.ids.last, entry.ids.count <= row.written.count else { continue }
            if row.written.suffix(entry.ids.count - 1).elementsEqual(entry.ids.dropLast()) {
                values[Int(last)] += entry.bias
            }
        }
    }
}

/// `banned_phrases`.
private struct BannedRule: LogitsRule {
    let phrases: BannedPhrases
    /// The ids of an output of full length.
    let longest: Int

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        let written = row.written.dropFirst()
        for id in phrases.refused(after: written, isLast: written.count + 1 == longest)
        where values.indices.contains(Int(id)) {
            values[Int(id)] = -.infinity
        }
    }
}

/// `diversity_penalty`: what other groups just chose costs that much for each time.
private struct DiversityRule: LogitsRule {
    let penalty: Float

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        var counts: [Int32: Float] = [:]
        for id in row.otherTokens { counts[id, default: 0] += 1 }
        for (id, count) in counts { values[Int(id)] -= penalty * count }
    }
}

/// `repetition_penalty` (of what was written, the start id included) and, with the inverse,
/// `encoder_repetition_penalty` (of the input).
private struct RepetitionRule: LogitsRule {
    let penalty: Float
    let ofSource: Bool

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        for id in Set(ofSource ? row.source : row.written) {
            let value = values[Int(id)]
            values[Int(id)] = value < 0 ? value * penalty : value / penalty
        }
    }
}

/// `no_repeat_ngram_size` and `encoder_no_repeat_ngram_size`.
private struct NgramRule: LogitsRule {
    let size: Int
    let ofSource: Bool

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        let text = ofSource ? row.source : row.written
        guard row.written.count >= size - 1, text.count >= size else { return }
        let tail = row.written.suffix(size - 1)
        for end in (size - 1)..<text.count
        where text[(end - size + 1)..<end].elementsEqual(tail) {
            values[Int(text[end])] = -.infinity
        }
    }
}

/// `suppress_tokens`, `begin_suppress_tokens`, and `min_new_tokens` for the ends.
private struct SuppressRule: LogitsRule {
    let ids: [Int32]
    /// Only where so many ids at least, and fewer than `below`, have been written.
    var from = 0
    let below: Int

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        guard (from..<below).contains(row.written.count - 1) else { return }
        for id in ids { values[Int(id)] = -.infinity }
    }
}

/// `forced_bos_token_id` and `forced_eos_token_id`.
private struct ForcedRule: LogitsRule {
    let id: Int32
    /// How many ids have been written where it holds.
    let position: Int

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ row: RowContext) {
        guard row.written.count - 1 == position else { return }
        values.update(repeating: -.infinity)
        values[Int(id)] = 0
    }
}
