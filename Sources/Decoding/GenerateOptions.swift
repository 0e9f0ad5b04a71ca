/// How an output came to its end.
package enum Finish: Sendable {
    case end
    case length
    case stopped
    case given
}

/// One output of one input.
/// One of the likeliest ids at a position.
package struct Alternative: Sendable {
    package let id: Int32
    package let logProbability: Float
}

package struct Hypothesis: Sendable {
    /// The end-of-sequence id included, if it was written.
    package var ids: [Int32] = []
    /// Natural logarithm of each id's probability, [ids.count]; empty if not wanted.
    package var logProbabilities: [Float] = []
    /// UTF-8, control ids left out; empty without a vocabulary.
    package var text: [UInt8] = []
    /// The sum of `logProbabilities`, NaN without them; with beams, over the ids after the prefix
    /// and divided by their number to the power of `lengthPenalty`.
    package var score: Float = 0
    package var finish = Finish.length
    /// Of each id, one after the other: the likeliest ids there, likeliest first.
    package var alternatives: [Alternative] = []
    /// [ids.count, ids of the input]; empty unless asked for.
    package var crossAttention: [Float] = []
    /// Ids guessed from the input, and those of them that were written.
    package var drafted = 0
    package var accepted = 0
}

/// What a logits callback may look at and change.
package struct LogitsStep {
    /// [rows, vocab_size].
    package let logits: UnsafeMutablePointer<Float>
    package let vocabSize: Int
    /// Which input each row continues.
    package let inputs: [Int]
    /// Which of the input's hypotheses each row is.
    package let hypotheses: [Int]
    /// The ids written so far, of each row; all of one length.
    package let prefixes: [[Int32]]
}

/// One more token of an output.
package struct TokenStep {
    package let input: Int
    package let id: Int32
    package let logProbability: Float
    /// What the token adds to the text, on whole characters; may be empty.
    package let text: [UInt8]
}

/// When beam search has enough finished hypotheses.
package enum EarlyStopping: Sendable {
    /// When no better ending is likely.
    case no
    /// As soon as `numBeams` are finished.
    case yes
    /// When no better ending is possible.
    case never
    /// Stands for a value in a file that is none of these: validation refuses it.
    case unfit
}

/// Options of a search; names, meanings and order of effect are those of transformers 4.57.
/// Values are checked by whoever takes them from outside.
package struct GenerateOptions {
    /// Of each output, the end and the prefix included; at least 1.
    package var maxNewTokens = 128
    /// No end is written among the first `minNewTokens` ids.
    package var minNewTokens = 0
    /// Every output begins with these.
    package var prefix: [Int32] = []
    /// Instead of `prefix`, one for each input; empty for none.
    package var prefixes: [[Int32]] = []
    package var numBeams = 1
    package var numReturnSequences = 1
    package var numBeamGroups = 1
    package var diversityPenalty: Float = 0
    package var lengthPenalty: Float = 1
    package var earlyStopping = EarlyStopping.no
    package var doSample = false
    package var seed: UInt64 = 0
    package var filters = SamplingFilters()
    package var rules = LogitsRules()
    /// Ids that end an output; empty for those of the model.
    package var eosTokenIDs: [Int32] = []
    /// An output ends after the token that completes one of these in its text.
    package var stopStrings: [[UInt8]] = []
    /// Runs that every output of a beam search must hold; none is empty.
    package var forceWords: [[Int32]] = []
    /// The likeliest ids that are listed for every id written.
    package var numAlternatives = 0
    /// Whether to list what every id was written by looking at.
    package var crossAttention = false
    /// Ids guessed from the input and verified together, in greedy search; 0 for none.
    package var promptLookupNumTokens = 0
    package var maxMatchingNgramSize = 2
    /// The most ids of inputs that run together, if not of one input alone.
    package var maxBatchTokens = 16384
    /// Whether log-probabilities are wanted; without them greedy search need not know all
    /// logits.
    package var logProbs = true
    /// Receives how many inputs are done, and of how many; return false to stop all outputs.
    package var onProgress: ((_ done: Int, _ total: Int) -> Bool)?
    /// Return false to stop all outputs.
    package var onToken: ((TokenStep) -> Bool)?
    /// Return false to stop all outputs.
    package var onLogits: ((LogitsStep) -> Bool)?
    /// The ids that may follow `prefix`, the ids so far of a hypothesis of `input`; nil for all.
    package var allowedTokens: ((_ input: Int, _ prefix: [Int32]) throws -> [Int32]?)?

    package init() {}
}
