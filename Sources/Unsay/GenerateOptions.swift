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

/// How outputs are searched for. Names and meanings are those of `unsay_generate_options`;
/// docs/decoding.md explains each.
///
/// What is nil is the model's default, as generation_config.json states it, or the library's
/// where that says nothing; ``Model/generateOptions`` has the values.
///
/// ```swift
/// let options = GenerateOptions { $0.numBeams = 4; $0.maxNewTokens = 64 }
/// ```
public struct GenerateOptions: Sendable {
    /// Per output, the end included; the library's default is 128.
    public var maxNewTokens: Int?
    /// No end among so many ids.
    public var minNewTokens: Int?
    /// 1: no beam search.
    public var numBeams: Int?
    /// Kept per input, by ``Model/hypotheses(_:_:_:)``.
    public var numReturnSequences: Int?
    public var numBeamGroups: Int?
    /// Between groups.
    public var diversityPenalty: Float?
    /// Score = sum of log-probabilities / length to the power of this.
    public var lengthPenalty: Float?
    public var earlyStopping: EarlyStopping?
    /// Whether to draw tokens instead of taking the best.
    public var doSample: Bool?
    /// 0 for all.
    public var topK: Int?
    public var topP: Float?
    public var minP: Float?
    public var typicalP: Float?
    public var epsilonCutoff: Float?
    public var etaCutoff: Float?
    public var temperature: Float?
    /// The same seed gives an input the same text in any batch, on any threads.
    public var seed: UInt64 = 0
    public var repetitionPenalty: Float?
    public var encoderRepetitionPenalty: Float?
    /// 0 for off.
    public var noRepeatNgramSize: Int?
    public var encoderNoRepeatNgramSize: Int?
    /// Never written as whole words, however cased, spaced or split.
    public var bannedPhrases: [String] = []
    /// Every output starts with this.
    public var prefix: (any TokenSequence)?
    /// Instead of `prefix`, one for each input, nil for none; or empty.
    public var prefixes: [(any TokenSequence)?] = []
    /// The first id of every output; -1 for none.
    public var forcedBOSTokenID: Int32?
    /// The id at full length; -1 for none.
    public var forcedEOSTokenID: Int32?
    /// What ends an output; empty for the model's own.
    public var eosTokenIDs: [Int32] = []
    public var suppressTokens: [Int32]?
    /// Not written first, or second where the first is forced.
    public var beginSuppressTokens: [Int32]?
    /// Runs of ids, never written.
    public var badWords: [any TokenSequence]?
    /// Runs of ids, and what is added to the logit of the last of each.
    public var sequenceBias: [(run: any TokenSequence, bias: Float)]?
    /// An output ends where its text has gained one of these.
    public var stopStrings: [String]?
    /// Runs that every output of a beam search holds, in any order.
    public var forceWords: [any TokenSequence]?
    /// Likeliest ids listed for each id of an output.
    public var numAlternatives = 0
    /// Whether to list what each id looked at.
    public var crossAttention = false
    /// Ids guessed ahead from the input and verified; 0 for off.
    public var promptLookupNumTokens: Int?
    /// The longest run that is looked up in the input.
    public var maxMatchingNgramSize: Int?
    /// Ids of inputs that run together, if not of one alone.
    public var maxBatchTokens = 16384
    /// Without log-probabilities greedy search finds the same ids sooner.
    public var logProbs = true

    /// The model's defaults, changed by `change`.
    public init(_ change: (inout GenerateOptions) -> Void = { _ in }) { change(&self) }
}
