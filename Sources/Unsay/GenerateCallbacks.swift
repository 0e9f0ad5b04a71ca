import Decoding
import Models

/// One new token of an output.
public struct GeneratedToken: Sendable {
    /// Which input it answers.
    public let input: Int
    public let id: Int32
    public let logProbability: Float
    /// What it adds to the text, on whole characters; may be empty.
    public let text: String
}

/// The logits of the next token of each row, which a callback may change.
public struct LogitsView {
    /// [rows, vocabSize]; valid during the call alone.
    public let logits: UnsafeMutableBufferPointer<Float>
    public let vocabSize: Int
    /// Which input each row continues, and which of its hypotheses the row is.
    public let inputs: [Int]
    public let hypotheses: [Int]
    /// The ids so far of each row; all of one length.
    public let prefixes: [[Int32]]
}

/// What may look at a search while it runs, and change it. Each is called on the thread that
/// generates, before the call that took it returns.
public struct GenerateCallbacks {
    /// Of each new token; needs `numBeams` 1.
    public var onToken: ((GeneratedToken) -> Action)?
    /// Before the next token of each row is chosen.
    public var onLogits: ((LogitsView) -> Action)?
    /// The ids that may follow the ids so far of an output for `input`; nil for all.
    public var allowedTokens: ((_ input: Int, _ prefix: [Int32]) -> [Int32]?)?
    /// After some inputs were finished.
    public var onProgress: ((_ done: Int, _ total: Int) -> Action)?

    /// None, changed by `change`.
    public init(_ change: (inout GenerateCallbacks) -> Void = { _ in }) { change(&self) }

    func set(_ settings: inout Decoding.GenerateOptions, _ model: Models.Model) {
        if let onToken {
            settings.onToken = { token in
                onToken(
                    GeneratedToken(
                        input: token.input, id: token.id, logProbability: token.logProbability,
                        text: String(decoding: token.text, as: UTF8.self))) == .continue
            }
        }
        if let onLogits {
            settings.onLogits = { step in
                onLogits(
                    LogitsView(
                        logits: UnsafeMutableBufferPointer(
                            start: step.logits, count: step.inputs.count * step.vocabSize),
                        vocabSize: step.vocabSize, inputs: step.inputs,
                        hypotheses: step.hypotheses, prefixes: step.prefixes)) == .continue
            }
        }
        if let allowedTokens {
            settings.allowedTokens = { input, prefix in
                guard let ids = allowedTokens(input, prefix) else { return nil }
                guard !ids.isEmpty else {
                    throw Failure(.argument, "allowedTokens returned no id; expected one at least")
                }
                for id in ids { try model.check(id, of: "allowedTokens") }
                return ids
            }
        }
        if let onProgress {
            settings.onProgress = { onProgress($0, $1) == .continue }
        }
    }
}
