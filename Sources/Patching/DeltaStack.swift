import CUnsay
import Models
import Support
import T5

/// Deltas on a model: applied one on another, taken back from the top, made one.
extension Delta {
    /// Puts the change on a model whose fingerprint is `before`.
    ///
    /// - Throws: `UNSAY_E_MISMATCH` for any other model; then nothing has changed.
    package func apply(to model: Model) throws {
        try change(model, reverting: false)
    }

    /// Takes the change back from a model whose fingerprint is `after`.
    package func revert(from model: Model) throws {
        try change(model, reverting: true)
    }

    private func change(_ model: Model, reverting: Bool) throws {
        let (from, to) = reverting ? (after, before) : (before, after)
        let snapshot = try model.weights()
        let found = try model.fingerprint(of: snapshot)
        guard found == from else {
            throw Failure(
                UNSAY_E_MISMATCH,
                "the delta belongs on weights \(hexadecimal(from.prefix(6)))... (its "
                    + "`\(reverting ? "after" : "before")`); the model's are "
                    + "\(hexadecimal(found.prefix(6)))...")
        }
        let (layout, read) = try applied(
            to: { snapshot.read($0, into: $1) }, layout: snapshot.layout, reverting: reverting)
        let next = try WeightsSnapshot(
            layout,
            layout.ownHead == nil
                ? snapshot.configuration.withTiedHead : snapshot.configuration.withOwnHead,
            workers: model.workers, keeping: snapshot,
            isKept: { keeps(layout.parameters[$0].name) }, read: read)
        guard try model.fingerprint(of: next) == to else {
            throw Failure(
                UNSAY_E_FORMAT, "the delta does not lead to the weights that it promises")
        }
        try model.replace(
            snapshot, with: next,
            change: AppliedChange(before: from, after: to, metadata: metadata, delta: self))
    }

    /// Takes back the last change of a model, whichever that is when nobody else changes it.
    ///
    /// - Throws: `UNSAY_E_STATE` if nothing is applied, or if the last change was committed by
    ///   a session that was never asked for its delta.
    package static func revertTop(of model: Model) throws {
        guard let top = model.applied.last else {
            throw Failure(UNSAY_E_STATE, "nothing is applied to this model: nothing to take back")
        }
        guard let delta = top.delta as? Delta else {
            throw Failure(
                UNSAY_E_STATE,
                "the last change was committed without a delta: take it back with the session's "
                    + "unsay_session_delta")
        }
        do {
            try delta.revert(from: model)
        } catch let failure as Failure
            where failure.status == UNSAY_E_MISMATCH || failure.status == UNSAY_E_STATE
        {
            // Another thread was faster: there is another last change, or none.
            guard let now = model.applied.last, now.before == top.before, now.after == top.after
            else { return try revertTop(of: model) }
            throw failure
        }
    }

    /// One delta that does what several do, each on the weights that the one before leaves.
    ///
    /// - Parameter model: its weights are those before the first or after the last.
    /// - Throws: `UNSAY_E_ARGUMENT` if there is none; `UNSAY_E_MISMATCH` if they do not follow
    ///   each other or the model's weights are others.
    package static func squash(_ deltas: [Delta], on model: Model) throws -> Delta {
        guard let first = deltas.first, let last = deltas.last else {
            throw Failure(UNSAY_E_ARGUMENT, "there are no deltas to make one of")
        }
        for (index, pair) in zip(deltas, deltas.dropFirst()).enumerated()
        where pair.0.after != pair.1.before {
            throw Failure(
                UNSAY_E_MISMATCH, "deltas[\(index + 1)] does not follow on deltas[\(index)]")
        }
        let snapshot = try model.weights()
        let found = try model.fingerprint(of: snapshot)
        let own: (layout: ParameterLayout, read: WeightReader) = (
            snapshot.layout, { snapshot.read($0, into: $1) }
        )
        var before = own, after = own
        if found == first.before {
            for delta in deltas {
                after = try delta.applied(to: after.read, layout: after.layout, reverting: false)
            }
        } else if found == last.after {
            for delta in deltas.reversed() {
                before = try delta.applied(to: before.read, layout: before.layout, reverting: true)
            }
        } else {
            throw Failure(
                UNSAY_E_MISMATCH,
                "the model's weights are neither those before the first delta nor those after the "
                    + "last")
        }
        return try make(
            layout: after.layout, before: before.read, after: after.read,
            separatesHead: before.layout != after.layout, beforeFingerprint: first.before,
            afterFingerprint: last.after,
            metadata: .object(["squashed": .array(deltas.map(\.metadata))]))
    }
}
