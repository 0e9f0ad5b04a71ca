import CUnsay
import Models
import Support
import Training

/// What a session trains and measures: everything that decides its steps and their figures. A
/// saved session goes on in one of the same identity alone.
struct SessionIdentity {
    /// Fingerprints.
    let model: [UInt8]
    let reference: [UInt8]
    /// nil without a root.
    let root: [UInt8]?
    let options: [String: JSON]
    /// Digests of ids, marks and weights, in the order in which they were added.
    let examples: [UInt8]
    let heldOut: [UInt8]
    let guards: [UInt8]

    private struct Part {
        let name: String
        /// What the saved session was saved with if the values differ.
        let noun: String
        let value: JSON

        init(_ name: String, _ noun: String, _ value: JSON) {
            (self.name, self.noun, self.value) = (name, noun, value)
        }
    }

    private var parts: [Part] {
        [
            Part("model", "another model", .string(hexadecimal(model))),
            Part("reference", "another reference", .string(hexadecimal(reference))),
            Part("root", "another root", root.map { .string(hexadecimal($0)) } ?? .null),
            Part("options", "other options", .object(options)),
            Part("examples", "other examples", .string(hexadecimal(examples))),
            Part("held_out", "other held-out examples", .string(hexadecimal(heldOut))),
            Part("guard", "another guard", .string(hexadecimal(guards))),
        ]
    }

    var json: JSON {
        .object(Dictionary(uniqueKeysWithValues: parts.map { ($0.name, $0.value) }))
    }

    /// Says what is not as it was saved, for the options which and how; nil if all is.
    func difference(from saved: JSON?) -> String? {
        // As texts: an infinite limit is null once it was written.
        guard let part = parts.first(where: { saved?[$0.name]?.text() != $0.value.text() }) else {
            return nil
        }
        let before = saved?["options"]?.object ?? [:]
        let name = Set(before.keys).union(options.keys).sorted()
            .first { before[$0]?.text() != options[$0]?.text() }
        guard part.name == "options", let name else { return part.noun }
        func shown(_ value: JSON?) -> String { value?.text() ?? "missing" }
        return "\(part.noun): \(name) was \(shown(before[name])), is \(shown(options[name]))"
    }
}

extension Session {
    var identity: SessionIdentity {
        get throws {
            SessionIdentity(
                model: try model.fingerprint(of: original),
                reference: try model.fingerprint(of: reference),
                root: try root.map { try model.fingerprint(of: $0) },
                options: options.json.merging(
                    ["on_gradients": .bool(options.showsGradients)]
                ) { $1 },
                examples: digest(of: examples), heldOut: digest(of: heldOut),
                guards: digest(of: guards))
        }
    }

    /// The digest of examples: ids, marks, weights, in order.
    func digest(of examples: [Example]) -> [UInt8] {
        var hash = SHA256()
        func feed<Value>(_ values: [Value]) {
            values.withUnsafeBytes { hash.update($0) }
        }
        for example in examples {
            feed([Int64(example.input.count), Int64(example.targets.count)])
            feed(example.input)
            for target in example.targets {
                feed([target.id, Int32(target.mark), Int32(target.alsoAvoid.count)])
                feed(target.alsoAvoid)
                feed([target.weight])
            }
        }
        return hash.finish()
    }
}
