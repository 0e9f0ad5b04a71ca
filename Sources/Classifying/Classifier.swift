import CUnsay
import Models
import Support
import T5
import Tensors
import Tokenizers

/// How likely each token of a text is to be marked, by the state that an encoder gives it.
///
/// It keeps the encoder that it was made with: a patch of the model changes none of its answers.
/// Never changed itself, so that any threads may use it at once.
package final class Classifier: Sendable {
    package let head: LinearHead
    package let facts: ClassifierFacts
    /// Whose vocabulary splits texts.
    package let model: Model
    private let encoder: Encoder

    init(_ model: Model, _ encoder: Encoder, _ head: LinearHead, _ facts: ClassifierFacts) {
        self.model = model
        self.encoder = encoder
        self.head = head
        self.facts = facts
    }

    /// The probability of each id, as one text, to be marked.
    ///
    /// - Parameter ids: not empty, each below vocab_size.
    /// - Throws: `UNSAY_E_MEMORY`.
    package func probabilities(_ ids: [Int32]) throws -> [Float] {
        try encoder.withStates([ids], arena: Arena()) { states in
            (0..<states.count).map { head.probability(states[$0]) }
        }
    }

    /// Runs of tokens at or above a threshold, as bytes of the text; see `markedRuns`.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` for a threshold outside 0...1; `UNSAY_E_MEMORY`.
    package func spans(_ text: Spelling, threshold: Float) throws -> [Range<Int>] {
        guard threshold >= 0, threshold <= 1 else {
            throw Failure(UNSAY_E_ARGUMENT, "threshold is \(threshold); it must be in 0...1")
        }
        return markedRuns(
            text, try probabilities(text.tokens.map(\.id)), threshold: threshold)
    }
}

/// What a classifier was trained with, and how well it learnt.
package struct ClassifierFacts: Sendable, Equatable {
    /// The fingerprint of the encoder's weights.
    package let encoder: [UInt8]
    package let tokenCount: Int
    package let markedCount: Int
    /// `HeadTrainer.loss` at the end.
    package let loss: Double
}

/// The encoder of a model as it is at one moment.
struct Encoder: Sendable {
    let fingerprint: [UInt8]
    private let snapshot: WeightsSnapshot
    private let workers: Workers

    /// - Throws: `UNSAY_E_MEMORY`, `UNSAY_E_IO`, where weights have to be read again.
    init(of model: Model) throws {
        workers = model.workers
        while true {
            let snapshot = model.snapshot
            let fingerprint = try Models.fingerprint(
                layout: snapshot.layout,
                of: { $0.hasPrefix("shared.") || $0.hasPrefix("encoder.") },
                read: { try model.read($0, into: $1) })
            // Weights are read one by one: a patch may have come between.
            guard model.snapshot === snapshot else { continue }
            (self.snapshot, self.fingerprint) = (snapshot, fingerprint)
            return
        }
    }

    var dModel: Int { snapshot.configuration.dModel }

    /// Runs `body` on the states of several texts, one after the other, [ids, d_model]. They lie
    /// in `arena` and are valid during the call.
    func withStates<Result>(
        _ texts: [[Int32]], arena: Arena, _ body: (Rows) throws -> Result
    ) throws -> Result {
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let (states, _) = try runStack(
            texts.flatMap { $0 }, Ragged(lengths: texts.map(\.count)), snapshot.network.encoder,
            embedding: snapshot.network.embedding, encoder: nil,
            Pass(snapshot.configuration, arena: arena, workers: workers))
        return try body(states)
    }
}
