import Decoding
import Models

/// What a model wrote, or was given to score.
public struct Output: Sendable, CustomStringConvertible, TokenSequence {
    /// How an output came to its end.
    public enum Finish: Sendable {
        /// The model wrote its end id.
        case end
        /// `maxNewTokens` were written.
        case length
        /// A callback or a stop string stopped it.
        case stopped
        /// It was not generated, but scored.
        case given
    }

    /// An id that might have stood somewhere.
    public struct Alternative: Sendable, Equatable {
        public let id: Int32
        public let logProbability: Float
    }

    public let text: String
    /// The end included.
    public let ids: [Int32]
    /// Natural logarithm, one for each id; empty if `logProbs` was false.
    public let logProbabilities: [Float]
    /// Their sum, penalised; NaN without them or beams.
    public let score: Float
    public let finish: Finish
    /// For each id the likeliest there, the likeliest first; empty unless asked for.
    public let alternatives: [[Alternative]]
    /// For each id the mean over layers and heads of its attention to each id of the input;
    /// empty unless asked for.
    public let crossAttention: [[Float]]
    /// Ids guessed from the input, and those of them that were written.
    public let draftedCount: Int
    public let acceptedCount: Int

    public var description: String { text }
    public var content: TokenContent { .ids(ids) }

    init(_ hypothesis: Hypothesis) {
        text = String(decoding: hypothesis.text, as: UTF8.self)
        ids = hypothesis.ids
        logProbabilities = hypothesis.logProbabilities
        score = hypothesis.score
        finish =
            switch hypothesis.finish {
            case .end: .end
            case .length: .length
            case .stopped: .stopped
            case .given: .given
            }
        func rows<Element>(_ values: [Element]) -> [[Element]] {
            guard !values.isEmpty, !hypothesis.ids.isEmpty else { return [] }
            let width = values.count / hypothesis.ids.count
            return hypothesis.ids.indices.map { Array(values[$0 * width..<($0 + 1) * width]) }
        }
        alternatives = rows(
            hypothesis.alternatives.map {
                Alternative(id: $0.id, logProbability: $0.logProbability)
            })
        crossAttention = rows(hypothesis.crossAttention)
        draftedCount = hypothesis.drafted
        acceptedCount = hypothesis.accepted
    }
}
