/// How an output came to its end.
package enum Finish: Sendable {
    case end
    case length
    case stopped
    case given
}

/// One output of one input.
package struct Hypothesis: Sendable {
    /// The end-of-sequence id included, if it was written.
    package var ids: [Int32] = []
    /// Natural logarithm of each id's probability, [ids.count].
    package var logProbabilities: [Float] = []
    /// UTF-8, control ids left out; empty without a vocabulary.
    package var text: [UInt8] = []
    /// The sum of `logProbabilities`.
    package var score: Float = 0
    package var finish = Finish.length
}

/// What a logits callback may look at and change.
package struct LogitsStep {
    /// [rows, vocab_size].
    package let logits: UnsafeMutablePointer<Float>
    package let vocabSize: Int
    /// Which input each row continues.
    package let inputs: [Int]
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

package struct GenerateOptions {
    /// Of each output, the end included; at least 1.
    package var maxNewTokens = 128
    /// The end is not written before this many tokens.
    package var minNewTokens = 0
    /// Every output begins with these.
    package var prefix: [Int32] = []
    /// Return false to stop all outputs.
    package var onToken: ((TokenStep) -> Bool)?
    /// Return false to stop all outputs.
    package var onLogits: ((LogitsStep) -> Bool)?

    package init() {}
}
