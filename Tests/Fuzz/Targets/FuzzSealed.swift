import CUnsay
import Classifying
import Glibc
import Models
import Patching
import Support
import T5
import Tensors
import Tokenizers
import Training

/// A whole model, of which every run takes a clone.
private let tiny = Result {
    try Model(opened(tinyModel), tokenizerPath: nil, workers: Workers(threads: 1))
}

/// A file that ends with the SHA-256 of what is before.
private func withDigest(_ content: [UInt8]) throws -> Bytes {
    var digest = SHA256()
    content.withUnsafeBytes { digest.update($0) }
    let file = content + digest.finish()
    return try Bytes(capacity: file.count, purpose: "a file") { out in
        out.copyBytes(from: file)
        return file.count
    }
}

/// The bytes of a file that `save` writes, in memory if the system has such a folder.
private func saved(_ save: (String) throws -> Void) throws -> Bytes {
    let path = "/dev/shm/unsay-fuzz-\(getpid())-sealed"
    defer { unlink(path) }
    try save(path)
    return try Files.read(path, limit: 1 << 30)
}

private func require(_ holds: Bool, _ law: String) {
    precondition(holds, law)
}

extension FuzzTarget {
    /// Applies a delta to the model, takes it back, and trains its examples anew. The
    /// fingerprints that it leads from and to are made right, so that only what it changes decides.
    static func apply(delta bytes: UnsafeRawBufferPointer) throws {
        var content = Array(bytes)
        let claimed = try Delta.parse(withDigest(content), named: "delta")
        let model = try Model(cloning: tiny.get())
        let before = try model.fingerprint()
        let snapshot = try model.weights()
        let changed = try claimed.applied(
            to: { snapshot.read($0, into: $1) }, layout: model.layout, reverting: false)
        let after = try fingerprint(layout: changed.layout, read: changed.read)
        content.replaceSubrange(16..<80, with: before + after)
        let delta = try Delta.parse(withDigest(content), named: "delta")
        try delta.apply(to: model)
        require(try model.fingerprint() == after, "an applied delta leads where it says")
        let again = try Delta.parse(saved(delta.save), named: "delta")
        require(again.metadata == delta.metadata, "a delta is saved as it was read")
        do {
            try again.revert(from: model)
            require(try model.fingerprint() == before, "a delta leads back where it says")
        } catch {
            require(try model.fingerprint() == after, "a delta that is refused changes nothing")
            throw error
        }
        guard again.metadata["examples"] != nil else { return }
        let session = try Session(rebasing: again, on: model)
        _ = try session.step()
        require(try !session.report(ReportOptions()).html.isEmpty, "a report is a page")
    }

    /// Reads a classifier, whose encoder is made that of the model, and finds spans with it.
    static func classify(with bytes: UnsafeRawBufferPointer) throws {
        let model = try tiny.get()
        var content = Array(bytes)
        if content.count >= 48 { content.replaceSubrange(16..<48, with: try encoder.get()) }
        let file = try withDigest(content)
        _ = try ClassifierFile(parsing: file, named: "classifier")
        let classifier = try Classifier(model, parsing: file, named: "classifier")
        let text = "a small library  for reading files\n"
        let tokens = try model.tokenizer?.encode(text) ?? []
        for p in try classifier.probabilities(tokens.map(\.id)) {
            require((0...1).contains(p), "a probability is in 0...1, not \(p)")
        }
        _ = try classifier.spans(Spelling(text: Array(text.utf8), tokens: tokens), threshold: 0.5)
        require(
            try saved(classifier.save).withBytes(Array.init) == file.withBytes(Array.init),
            "what is taken is what would be written")
    }

    private static let encoder = Result {
        let model = try tiny.get()
        return try fingerprint(
            layout: model.layout,
            of: { $0.hasPrefix("shared.") || $0.hasPrefix("encoder.") },
            read: { try model.read($0, into: $1) })
    }

    /// Goes on with a saved session for a step.
    ///
    /// The first byte chooses the session; 128 or more: what follows is the file as it is.
    /// Else it is the file's JSON, a NUL, and bytes that fill the buffers again and again: the
    /// target adds sizes and whatever says whose session it is.
    static func resume(session bytes: UnsafeRawBufferPointer) throws {
        let choice = Int(bytes.first ?? 0)
        let (session, state) = try sessions[choice % sessions.count].get()
        defer { _ = try? session.rollback() }
        let rest = bytes.dropFirst()
        try session.load(
            withDigest(choice < 128 ? forged(rest, from: state) : Array(rest)), named: "session")
        let resumed = try saved(session.save)
        var run = RunOptions()
        (run.maxSteps, run.evaluateEvery) = (1, 1)
        do {
            _ = try session.run(run) { _ in true }
        } catch let failure as Failure where failure.status == UNSAY_E_DIVERGED {
            // Weights may be as large as they like.
        }
        let report = try session.report(ReportOptions())
        require(!report.html.isEmpty && !report.json.text().isEmpty, "a report is a page")
        _ = try session.plan()
        try session.load(resumed, named: "session")
        require(
            try saved(session.save).withBytes(Array.init) == resumed.withBytes(Array.init),
            "a session comes back as it was saved")
    }

    /// A session's file with what the fuzzer chose put into one that was saved.
    private static func forged(
        _ bytes: Slice<UnsafeRawBufferPointer>, from state: Bytes
    ) throws -> [UInt8] {
        let parts = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        let text = UnsafeRawBufferPointer(rebasing: parts[0])
        let chosen = try JSON(parsing: text, named: "session")
        let (fields, floats) = try state.withBytes { state in
            let size = state.loadUnaligned(fromByteOffset: 12, as: Int.self)
            return (
                try JSON(
                    parsing: UnsafeRawBufferPointer(rebasing: state[20..<20 + size]), named: "own"),
                state.count - 32 - 20 - size
            )
        }
        var members = fields.object ?? [:]
        for name in ["steps", "optimizer_steps", "order", "history", "best"] {
            members[name] = chosen[name]
        }
        var size = floats
        let counts = members["buffers"]?.array?.compactMap(\.int) ?? []
        if members["best"] != nil, let values = counts.first {
            members["buffers"] = .array((counts + [values]).map { .number(Double($0)) })
            size += 4 * values
        }
        if let buffers = chosen["buffers"] { members["buffers"] = buffers }
        let json = Array(JSON.object(members).text().utf8)
        let fill = parts.count > 1 ? Array(parts[1]) : []
        return state.withBytes { Array($0[..<12]) } + littleEndian(UInt64(json.count)) + json
            + (0..<size).map { fill.isEmpty ? 0 : fill[$0 % fill.count] }
    }

    /// Sessions on the model, each with its state after a step.
    private static let sessions = [
        Result { try session { $0.scope = UNSAY_SCOPE_TOKENS } },
        Result {
            try session {
                $0.scope = UNSAY_SCOPE_CROSS_ATTENTION
                $0.loraRank = 1
                $0.optimizer = UNSAY_OPTIMIZER_ADAFACTOR
            }
        },
        Result {
            try session {
                $0.scope = UNSAY_SCOPE_TENSORS
                $0.tensors = ["decoder.final_layer_norm.weight"]
                $0.optimizer = UNSAY_OPTIMIZER_SGD
                $0.schedule = UNSAY_SCHEDULE_INVERSE_SQRT
                $0.dropout = 0.1
            }
        },
    ]

    private static func session(
        _ change: (inout SessionOptions) -> Void
    ) throws -> (Session, Bytes) {
        let model = try tiny.get()
        var options = SessionOptions()
        options.batchSize = 2
        change(&options)
        let session = try Session(model, reference: nil, options: options)
        try session.add(
            [[5, 9, 1], [7, 8, 1], [21, 22, 1]].map {
                try Example(
                    model, input: $0, output: [12, 30, 1], marks: [-1, 1, 0], named: "example")
            })
        try session.addGuard([Example(model, input: [5, 1], output: [9, 1], named: "guard")])
        _ = try session.step()
        return (session, try saved(session.save))
    }
}
