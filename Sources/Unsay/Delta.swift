import Models
import Patching

/// A patch apart from its model: exact to the bit in both directions.
public final class Delta: Sendable {
    private let delta: Patching.Delta

    init(_ delta: Patching.Delta) { self.delta = delta }

    /// Reads a delta from a file.
    public static func open(_ path: any PathSpelling) throws(Failure) -> Delta {
        try boundary { Delta(try Patching.Delta.open(path.path)) }
    }

    /// Writes it to a file, whole or not at all.
    public func save(_ path: any PathSpelling) throws(Failure) {
        try boundary { try delta.save(path.path) }
    }

    public var info: DeltaInfo {
        DeltaInfo(before: delta.before, after: delta.after, delta)
    }

    /// How the change came about, as JSON: options, seed, digest of the examples, last
    /// evaluation, fingerprints of what was applied before.
    public var metadata: String { delta.metadata.text() }

    /// Puts the change on a model whose fingerprint is `before`.
    ///
    /// - Throws: `.mismatch`, and no change, on any other model.
    public func apply(to model: Model) throws(Failure) {
        try boundary { try delta.apply(to: model.model) }
    }

    /// Takes the change back from a model whose fingerprint is `after`.
    public func revert(from model: Model) throws(Failure) {
        try boundary { try delta.revert(from: model.model) }
    }

    /// One delta that does what several do, each of which leads to the weights that the next
    /// begins with. The model's weights are those before the first or after the last.
    public static func squash(_ deltas: [Delta], on model: Model) throws(Failure) -> Delta {
        try boundary {
            Delta(try Patching.Delta.squash(deltas.map(\.delta), on: model.model))
        }
    }

    /// A patch that would do on `model` what this one did elsewhere, not run yet.
    ///
    /// - Throws: `.state` if the delta does not carry its examples; see
    ///   ``PatchOptions/keepExamples``.
    public func rebase(on model: Model) throws(Failure) -> Patch {
        try boundary { Patch(try Session(rebasing: delta, on: model.model), model) }
    }
}

/// What a delta, or a change of a model, does.
public struct DeltaInfo: Sendable, Equatable {
    /// Fingerprints of the weights it leads from and to.
    public let before: [UInt8]
    public let after: [UInt8]
    /// Tensors and parameters that differ; 0 where only the fingerprints are known.
    public let tensorCount: Int
    public let changedCount: UInt64
    /// The L2 norm of the change.
    public let changeNorm: Double

    init(before: [UInt8], after: [UInt8], _ delta: Patching.Delta?) {
        self.before = before
        self.after = after
        tensorCount = delta?.tensors.count ?? 0
        changedCount = delta?.changedCount ?? 0
        changeNorm = delta?.changeNorm ?? 0
    }
}

extension Model {
    /// The changes since the model was opened that are not taken back, the first first.
    public var applied: [DeltaInfo] {
        model.applied.map {
            DeltaInfo(before: $0.before, after: $0.after, $0.delta as? Patching.Delta)
        }
    }

    /// Takes back the last of them.
    ///
    /// - Throws: `.state` if there is none, or if it is a commit whose delta was never asked for.
    public func revert() throws(Failure) {
        try boundary { try Patching.Delta.revertTop(of: model) }
    }
}
