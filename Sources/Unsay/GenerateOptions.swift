import Decoding
import Models

/// When beam search has enough finished hypotheses.
public enum EarlyStopping: Sendable {
    /// When no better ending is likely.
    case no
    /// As soon as there are `numBeams`.
    case yes
    /// When no better ending is possible.
    case never
}

/// How outputs are searched for. Names, meanings and defaults are those of
/// `unsay_generate_options`; docs/decoding.md explains each.
///
/// ```swift
/// let options = GenerateOptions { $0.numBeams = 4; $0.maxNewTokens = 64 }
/// ```
public struct GenerateOptions: Sendable {
    /// Per output, the end included.
    public var maxNewTokens = 128
    /// No end among so many ids.
    public var minNewTokens = 0
    /// 1: no beam search.
    public var numBeams = 1
    /// Kept per input, by ``Model/hypotheses(_:_:_:)``.
    public var numReturnSequences = 1
    public var numBeamGroups = 1
    /// Between groups.
    public var diversityPenalty: Float = 0
    /// Score = sum of log-probabilities / length to the power of this.
    public var lengthPenalty: Float = 1
    public var earlyStopping = EarlyStopping.no
    /// Whether to draw tokens instead of taking the best.
    public var doSample = false
    /// 0 for all.
    public var topK = 0
    public var topP: Float = 1
    public var minP: Float = 0
    public var typicalP: Float = 1
    public var epsilonCutoff: Float = 0
    public var etaCutoff: Float = 0
    public var temperature: Float = 1
    /// The same seed gives an input the same text in any batch, on any threads.
    public var seed: UInt64 = 0
    public var repetitionPenalty: Float = 1
    public var encoderRepetitionPenalty: Float = 1
    /// 0 for off.
    public var noRepeatNgramSize = 0
    public var encoderNoRepeatNgramSize = 0
    /// Never written as whole words, however cased, spaced or split.
    public var bannedPhrases: [String] = []
    /// Every output starts with this.
    public var prefix: (any TokenSequence)?
    /// Instead of `prefix`, one for each input, nil for none; or empty.
    public var prefixes: [(any TokenSequence)?] = []
    /// The first id of every output.
    public var forcedBOSTokenID: Int32?
    /// The id at full length.
    public var forcedEOSTokenID: Int32?
    /// What ends an output; empty for the model's own.
    public var eosTokenIDs: [Int32] = []
    public var suppressTokens: [Int32] = []
    /// Not written first.
    public var beginSuppressTokens: [Int32] = []
    /// Runs of ids, never written.
    public var badWords: [any TokenSequence] = []
    /// Runs of ids, and what is added to the logit of the last of each.
    public var sequenceBias: [(run: any TokenSequence, bias: Float)] = []
    /// An output ends where its text has gained one of these.
    public var stopStrings: [String] = []
    /// Runs that every output of a beam search holds, in any order.
    public var forceWords: [any TokenSequence] = []
    /// Likeliest ids listed for each id of an output.
    public var numAlternatives = 0
    /// Whether to list what each id looked at.
    public var crossAttention = false
    /// Ids guessed ahead from the input and verified; 0 for off.
    public var promptLookupNumTokens = 0
    /// The longest run that is looked up in the input.
    public var maxMatchingNgramSize = 2
    /// Ids of inputs that run together, if not of one alone.
    public var maxBatchTokens = 16384
    /// Without log-probabilities greedy search finds the same ids sooner.
    public var logProbs = true

    /// The defaults, changed by `change`.
    public init(_ change: (inout GenerateOptions) -> Void = { _ in }) { change(&self) }

    /// As the search takes them, checked.
    func settings(
        _ model: Models.Model, inputs: Int, _ callbacks: GenerateCallbacks
    ) throws -> Decoding.GenerateOptions {
        var settings = Decoding.GenerateOptions()
        settings.maxNewTokens = maxNewTokens
        settings.minNewTokens = minNewTokens
        settings.numBeams = numBeams
        settings.numReturnSequences = numReturnSequences
        settings.numBeamGroups = numBeamGroups
        settings.diversityPenalty = diversityPenalty
        settings.lengthPenalty = lengthPenalty
        settings.earlyStopping =
            switch earlyStopping {
            case .no: .no
            case .yes: .yes
            case .never: .never
            }
        settings.doSample = doSample
        settings.seed = seed
        settings.filters.temperature = temperature
        settings.filters.topK = try narrow(topK, "top_k")
        settings.filters.topP = topP
        settings.filters.minP = minP
        settings.filters.typicalP = typicalP
        settings.filters.epsilonCutoff = epsilonCutoff
        settings.filters.etaCutoff = etaCutoff
        settings.rules = try rules(model)
        settings.eosTokenIDs = eosTokenIDs
        settings.stopStrings = stopStrings.map { Array($0.utf8) }
        settings.forceWords = try model.runs(forceWords, "force_words")
        settings.prefix = try prefix.map { try model.run($0, "prefix") } ?? []
        settings.prefixes = try prefixes.enumerated().map { index, prefix in
            try prefix.map { try model.run($0, "prefixes[\(index)]") } ?? []
        }
        settings.numAlternatives = numAlternatives
        settings.crossAttention = crossAttention
        settings.promptLookupNumTokens = promptLookupNumTokens
        settings.maxMatchingNgramSize = try narrow(
            maxMatchingNgramSize, "max_matching_ngram_size")
        settings.maxBatchTokens = try narrow(maxBatchTokens, "max_batch_tokens")
        settings.logProbs = logProbs
        callbacks.set(&settings, model)
        try settings.validate(for: model, inputs: inputs)
        return settings
    }

    private func rules(_ model: Models.Model) throws -> LogitsRules {
        var rules = LogitsRules()
        rules.repetitionPenalty = repetitionPenalty
        rules.encoderRepetitionPenalty = encoderRepetitionPenalty
        rules.noRepeatNgramSize = try narrow(noRepeatNgramSize, "no_repeat_ngram_size")
        rules.encoderNoRepeatNgramSize = try narrow(
            encoderNoRepeatNgramSize, "encoder_no_repeat_ngram_size")
        rules.bannedPhrases = bannedPhrases
        rules.forcedBOSTokenID = forcedBOSTokenID
        rules.forcedEOSTokenID = forcedEOSTokenID
        rules.suppressTokens = suppressTokens
        rules.beginSuppressTokens = beginSuppressTokens
        rules.badWords = try model.runs(badWords, "bad_words")
        rules.sequenceBias = zip(
            try model.runs(sequenceBias.map(\.run), "sequence_bias"), sequenceBias
        ).map { SequenceBias(ids: $0, bias: $1.bias) }
        return rules
    }
}
