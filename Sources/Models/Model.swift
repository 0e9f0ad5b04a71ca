import CUnsay
import Support
import T5
import Tensors
import Tokenizers

/// An opened checkpoint: a changeable pointer to unchangeable weights.
///
/// A call takes `snapshot` once and keeps it; a patch builds a new snapshot and swaps it in.
/// Readers never wait for a patch and never see half of one.
package final class Model: Sendable {
    package let checkpoint: Checkpoint
    /// nil where no vocabulary lay beside the weights: ids only.
    package let tokenizer: (any Tokenizer)?
    /// Why the vocabulary beside the weights cannot be used; nil if it can, or there is none.
    package let vocabularyProblem: String?
    package let workers: Workers
    private let current: Locked<State>
    /// Once somebody has asked for them.
    private let texts = Locked<TokenTexts?>(nil)

    /// Of the weights as they are now: a change may give a tied head rows of its own.
    package var configuration: T5Configuration { snapshot.configuration }
    package var layout: ParameterLayout { snapshot.layout }
    /// What generates and scores, in the model's precision.
    package var snapshot: WeightsSnapshot { current.withLock { $0.snapshot } }
    package let precision: Precision
    /// What was changed since the model was opened and is not taken back, the first first.
    package var applied: [AppliedChange] { current.withLock { $0.applied } }

    private struct State {
        var snapshot: WeightsSnapshot
        /// The same in float32; nil where that can be had from the files again.
        var full: WeightsSnapshot?
        /// What was read from the files again, for as long as anybody uses it.
        weak var lent: WeightsSnapshot?
        var applied: [AppliedChange] = []

        /// Whether `full` is what the model computes as.
        func isCurrent(_ full: WeightsSnapshot) -> Bool { full === self.full ?? lent }
    }

    /// Reads every weight of the checkpoint.
    ///
    /// - Parameter precision: of the weights that generate and score. Others than float32 are
    ///   read anew where float32 is asked for.
    package init(
        _ checkpoint: Checkpoint, tokenizer: (any Tokenizer)?, vocabularyProblem: String? = nil,
        precision: Precision = .float32, workers: Workers
    ) throws {
        self.checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.vocabularyProblem = vocabularyProblem
        self.precision = precision
        self.workers = workers
        let snapshot = try WeightsSnapshot(
            checkpoint.layout, checkpoint.configuration, precision: precision, workers: workers,
            source: checkpoint)
        current = Locked(
            State(snapshot: snapshot, full: precision == .float32 ? snapshot : nil))
    }

    /// A second model of the same checkpoint.
    ///
    /// - Parameter weights: in float32; nil for the same as the first one's now.
    package init(cloning model: Model, weights: WeightsSnapshot? = nil) throws {
        checkpoint = model.checkpoint
        tokenizer = model.tokenizer
        vocabularyProblem = model.vocabularyProblem
        precision = model.precision
        workers = model.workers
        var state = model.current.withLock { $0 }
        if let weights {
            state.snapshot = try Self.rounded(weights, model.precision, model.workers)
            state.full = weights
        }
        current = Locked(state)
    }

    /// The weights in float32, as they are now: what is trained, saved and compared.
    ///
    /// - Throws: `UNSAY_E_MEMORY`, `UNSAY_E_IO`, where they have to be read again.
    package func weights() throws -> WeightsSnapshot {
        if let known = current.withLock({ $0.full ?? $0.lent }) { return known }
        let read = try WeightsSnapshot(
            checkpoint.layout, checkpoint.configuration, workers: workers, source: checkpoint)
        // Somebody else may have been first, or have changed the model.
        return current.withLock { state in
            if let known = state.full ?? state.lent { return known }
            state.lent = read
            return read
        }
    }

    /// Writes parameter `index` as it is now, row-major.
    ///
    /// - Throws: as `weights`; `UNSAY_E_ARGUMENT` if there is no such parameter, or none any
    ///   more.
    package func read(_ index: Int, into values: UnsafeMutableBufferPointer<Float>) throws {
        guard let known = current.withLock({ $0.full ?? $0.lent }) else {
            return try checkpoint.read(index, into: values)
        }
        guard known.layout.parameters.indices.contains(index),
            known.layout.parameters[index].count == values.count
        else { throw Failure(UNSAY_E_ARGUMENT, "there is no parameter \(index)") }
        known.read(index, into: values)
    }

    private static func rounded(
        _ weights: WeightsSnapshot, _ precision: Precision, _ workers: Workers
    ) throws -> WeightsSnapshot {
        guard precision != .float32 else { return weights }
        return try WeightsSnapshot(
            weights.layout, weights.configuration, precision: precision, workers: workers,
            source: weights)
    }

    /// Makes `next` the weights of every call that begins from now on.
    ///
    /// - Parameter change: joins the list of what is applied, unless it takes back the last one
    ///   there.
    /// - Throws: `UNSAY_E_STATE` if the weights are no longer `expected`: somebody else
    ///   changed them since; `UNSAY_E_MEMORY`.
    package func replace(
        _ expected: WeightsSnapshot, with next: WeightsSnapshot, change: AppliedChange
    ) throws {
        let rounded = try Self.rounded(next, precision, workers)
        let replaced = current.withLock { state in
            guard state.isCurrent(expected) else { return false }
            state.snapshot = rounded
            state.full = next
            if let top = state.applied.last, top.before == change.after, top.after == change.before
            {
                state.applied.removeLast()
            } else if change.before != change.after {
                state.applied.append(change)
            }
            return true
        }
        guard replaced else {
            throw Failure(
                UNSAY_E_STATE, "the model's weights changed meanwhile: begin again from them")
        }
    }

    /// Keeps what takes the last change back, if that is still the last.
    package func keep(_ delta: any Sendable, from before: [UInt8], to after: [UInt8]) {
        current.withLock { state in
            guard let top = state.applied.last, top.before == before, top.after == after else {
                return
            }
            state.applied[state.applied.count - 1].delta = delta
        }
    }

    /// Writes the weights as they are now, in the layout they were opened from.
    ///
    /// - Parameter allowsRounding: as `saveCheckpoint` takes it.
    package func save(to folder: some PathConvertible, allowsRounding: Bool = false) throws {
        let snapshot = try weights()
        try saveCheckpoint(
            checkpoint, to: folder, layout: snapshot.layout, allowsRounding: allowsRounding,
            values: { snapshot.read($0, into: $1) })
    }

    /// The fingerprint of the weights as they are now; remembered with them.
    package func fingerprint() throws -> [UInt8] {
        try fingerprint(of: weights())
    }

    package func fingerprint(of snapshot: WeightsSnapshot) throws -> [UInt8] {
        if let known = snapshot.fingerprint.withLock({ $0 }) { return known }
        let value = try Models.fingerprint(layout: snapshot.layout) { snapshot.read($0, into: $1) }
        snapshot.fingerprint.withLock { $0 = value }
        return value
    }

    // MARK: Text

    /// What every id adds to a text; made once.
    package func tokenTexts() throws -> TokenTexts {
        let tokenizer = try requireTokenizer()
        return try texts.withLock { known in
            if let known { return known }
            try Memory.require(configuration.vocabSize, bytes: 64, for: "the vocabulary's texts")
            let made = try TokenTexts(tokenizer, count: configuration.vocabSize)
            known = made
            return made
        }
    }

    /// - Throws: `UNSAY_E_UNSUPPORTED` naming what of the vocabulary is not supported;
    ///   `UNSAY_E_STATE` without a vocabulary.
    package func requireTokenizer() throws -> any Tokenizer {
        if let tokenizer { return tokenizer }
        if let vocabularyProblem {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "this model was opened without its vocabulary, so pass ids: \(vocabularyProblem)")
        }
        throw Failure(
            UNSAY_E_STATE,
            "this model was opened without a vocabulary: pass ids, or put spiece.model "
                + "beside the weights")
    }

    /// The id that ends an input: the vocabulary's, or the model's where that names none.
    package var inputEndTokenID: Int32 { tokenizer?.eosTokenID ?? configuration.eosTokenID }

    /// The ids of a text as an input, those around it included: the end-of-sequence id last.
    package func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        let tokenizer = try requireTokenizer()
        try Memory.require(text.count, bytes: 64, for: "a text's tokens")
        var tokens = try tokenizer.encode(text)
        let frame = tokenizer.frame
        let after = frame.after ?? [inputEndTokenID]
        if frame.isRepeated || tokens.last.map(\.id) != after.last {
            tokens += after.map { Token(id: $0, begin: text.count, end: text.count) }
        }
        if !frame.before.isEmpty {
            tokens = frame.before.map { Token(id: $0, begin: 0, end: 0) } + tokens
        }
        for token in tokens { try check(token.id, of: "the vocabulary") }
        return tokens
    }

    /// The text of ids, control ids left out; empty without a vocabulary.
    package func decode(_ ids: [Int32]) throws -> [UInt8] {
        try tokenizer?.decode(ids) ?? []
    }

    /// - Throws: `UNSAY_E_ARGUMENT` if the network has no such id.
    package func check(_ id: Int32, of name: String) throws {
        // No change alters the vocabulary's size: asked for every id, it takes no lock.
        let size = checkpoint.configuration.vocabSize
        guard id >= 0, Int(id) < size else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name) holds the id \(id); this model's run from 0 to \(size - 1)")
        }
    }
}
