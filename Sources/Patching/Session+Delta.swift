import CUnsay
import Models
import Support
import T5
import Training

extension Session {
    /// What the session has changed so far, committed or not. The model keeps it to take the
    /// change back with, if it is the last that was committed to it.
    ///
    /// - Throws: `UNSAY_E_DIVERGED` unless all that is trained is finite; `UNSAY_E_MEMORY`.
    package func delta() throws -> Delta {
        try exclusively {
            if let training { try requireFinite(training) }
            let layout = try trainedBase().layout
            let delta = try Delta.make(
                layout: layout, before: { self.original.read($0, into: $1) },
                after: { try self.readFinite($0, into: $1) },
                separatesHead: layout != original.layout, factors: factors,
                beforeFingerprint: model.fingerprint(of: original),
                afterFingerprint: trainedFingerprint(), metadata: try metadata)
            model.keep(delta, from: delta.before, to: delta.after)
            return delta
        }
    }

    /// The fingerprint of the trained weights as they are now.
    package func fingerprint() throws -> [UInt8] {
        try exclusively { try trainedFingerprint() }
    }

    func trainedFingerprint() throws -> [UInt8] {
        try Models.fingerprint(layout: trainedBase().layout) { self.readTrained($0, into: $1) }
    }

    /// How the change came about: options, seed, digest of the examples, last evaluation, what
    /// was applied before; fingerprints of another reference and of a root; the examples
    /// themselves if that is wanted.
    var metadata: JSON {
        get throws {
            var fields = options.json
            fields["library"] = .string("unsay \(unsayVersion)")
            fields["steps"] = .number(Double(steps))
            fields["data_sha256"] = .string(hexadecimal(digest(of: examples)))
            fields["applied_before"] = .array(
                model.applied.map { .string(hexadecimal($0.after)) })
            if reference !== original {
                fields["reference"] = .string(hexadecimal(try model.fingerprint(of: reference)))
            }
            if let root { fields["root"] = .string(hexadecimal(try model.fingerprint(of: root))) }
            if let lastEvaluation { fields["evaluation"] = lastEvaluation.json }
            if options.keepsExamples {
                fields["examples"] = .array(examples.map(\.json))
                fields["held_out"] = .array(heldOut.map(\.json))
                fields["guard"] = .array(guards.map(\.json))
            }
            return .object(fields)
        }
    }
}

private let unsayVersion =
    "\(UNSAY_VERSION_MAJOR).\(UNSAY_VERSION_MINOR).\(UNSAY_VERSION_PATCH)"
