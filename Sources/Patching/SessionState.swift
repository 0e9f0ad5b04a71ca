import CUnsay
import Models
import Support
import Tensors
import Training

/// A session on disk: what it takes to go on with the very same steps. The examples are not in
/// it; their digest is.
///
/// 8 bytes `UNSAYSES`, 4 bytes version, 8 bytes size of a JSON object, that object, the floats of
/// every buffer it counts, SHA-256 of all before it; little-endian.
extension Session {
    private static let magic = Array("UNSAYSES".utf8)
    private static let version: UInt32 = 1
    private static let digestSize = 32

    /// Writes weights, optimizer, position and order of the examples, all or nothing.
    package func save(to path: String) throws {
        try exclusively { try writeState(prepare(), nil, to: path) }
    }

    func writeState(_ training: Training, _ best: BestWeights?, to path: String) throws {
        let buffers =
            [training.values] + training.optimizer.state + (best.map { [$0.values] } ?? [])
        var fields: [String: JSON] = [
            "options": .object(options.json),
            "base": .string(hexadecimal(try model.fingerprint(of: original))),
            "data_sha256": .string(hexadecimal(dataDigest)),
            "steps": .number(Double(steps)),
            "optimizer_steps": .number(Double(training.optimizer.steps)),
            "order": order.json,
            "buffers": .array(buffers.map { .number(Double($0.count)) }),
            "history": .array(history.map(\.json)),
        ]
        if let best {
            fields["best"] = .object([
                "step": .number(Double(best.step)), "worse": .number(Double(best.worse)),
                // As bits, so that it comes back exactly, infinite or not.
                "score": best.score.map { .string(String($0.bitPattern)) } ?? .null,
            ])
        }
        let text = Array(JSON.object(fields).text().utf8)
        let head =
            Self.magic + littleEndian(Self.version) + littleEndian(UInt64(text.count)) + text
        try head.withUnsafeBytes { head in
            let parts =
                [head] + buffers.map { UnsafeRawBufferPointer(start: $0.base, count: 4 * $0.count) }
            var digest = SHA256()
            for part in parts { digest.update(part) }
            try digest.finish().withUnsafeBytes { try Files.write(parts + [$0], to: path) }
        }
    }

    /// Goes back to where a session was saved that had the same model, options and examples.
    ///
    /// - Throws: `UNSAY_E_MISMATCH` if one of them differs, `UNSAY_E_FORMAT` if the file is no
    ///   session, torn or damaged, `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`: then
    ///   nothing has changed.
    package func load(from path: String) throws {
        try exclusively {
            let file = try Files.read(path, limit: 1 << 42)
            let training = try prepare()
            let saved = try SavedSession(file, named: path)
            try saved.expect("base", hexadecimal(model.fingerprint(of: original)), "model")
            try saved.expect("data_sha256", hexadecimal(dataDigest), "examples")
            guard saved.fields["options"] == .object(options.json) else {
                throw Failure(UNSAY_E_MISMATCH, "\(path): was saved with other options")
            }
            let targets = [training.values] + training.optimizer.state
            let best = saved.fields["best"]
            let bestValues = try best.map { _ in try FloatBuffer(count: training.values.count) }
            guard
                let steps = saved.fields["steps"]?.int,
                let optimizerSteps = saved.fields["optimizer_steps"]?.int,
                let order = saved.fields["order"].flatMap({
                    ExampleOrder($0, seed: options.seed, count: examples.count)
                }),
                let history = saved.history
            else { throw saved.damaged() }
            try saved.copyBuffers(to: targets + (bestValues.map { [$0] } ?? []))
            training.optimizer.steps = optimizerSteps
            training.trainer.publish()
            (self.steps, self.order, self.history) = (steps, order, history)
            lastEvaluation = nil
            resumedBest = bestValues.map {
                BestWeights(
                    values: $0, step: best?["step"]?.int ?? steps,
                    score: best?["score"]?.string.flatMap(UInt64.init).map(
                        Double.init(bitPattern:)),
                    worse: best?["worse"]?.int ?? 0)
            }
        }
    }

    /// The parts of a file, checked against its digest and each other.
    private struct SavedSession {
        let fields: JSON
        private let file: Bytes
        private let name: String
        private let floats: Range<Int>

        init(_ file: Bytes, named name: String) throws {
            self.file = file
            self.name = name
            let content = file.count - digestSize
            let start = magic.count + 12
            guard content >= start, file.withBytes({ $0[..<magic.count].elementsEqual(magic) })
            else { throw Failure(UNSAY_E_FORMAT, "\(name): expected a saved session") }
            let (version, size) = file.withBytes {
                (
                    UInt32(
                        littleEndian: $0.loadUnaligned(
                            fromByteOffset: magic.count, as: UInt32.self)),
                    UInt64(
                        littleEndian: $0.loadUnaligned(
                            fromByteOffset: magic.count + 4, as: UInt64.self))
                )
            }
            guard version == Session.version else {
                throw Failure(
                    UNSAY_E_UNSUPPORTED,
                    "\(name): a session of version \(version); this library reads version 1")
            }
            var digest = SHA256()
            file.withBytes { digest.update(UnsafeRawBufferPointer(rebasing: $0[..<content])) }
            guard file.withBytes({ $0[content...].elementsEqual(digest.finish()) }),
                size <= UInt64(content - start)
            else {
                throw Failure(
                    UNSAY_E_FORMAT, "\(name): torn or damaged: its checksum does not match")
            }
            let text = start..<start + Int(size)
            fields = try file.withBytes {
                try JSON(parsing: UnsafeRawBufferPointer(rebasing: $0[text]), named: name)
            }
            floats = text.upperBound..<content
        }

        func damaged() -> Failure {
            Failure(UNSAY_E_FORMAT, "\(name): damaged: its parts do not fit together")
        }

        func expect(_ field: String, _ wanted: String, _ what: String) throws {
            guard fields[field]?.string == wanted else {
                throw Failure(UNSAY_E_MISMATCH, "\(name): was saved with another \(what)")
            }
        }

        /// nil if an entry is damaged.
        var history: [Measurement]? {
            let entries = fields["history"]?.array ?? []
            let all = entries.compactMap(Measurement.init)
            return all.count == entries.count ? all : nil
        }

        func copyBuffers(to targets: [FloatBuffer]) throws {
            let counts = fields["buffers"]?.array?.compactMap(\.int)
            guard counts == targets.map(\.count),
                targets.reduce(0, { $0 + 4 * $1.count }) == floats.count
            else { throw damaged() }
            var offset = floats.lowerBound
            file.withBytes { bytes in
                for target in targets {
                    let size = 4 * target.count
                    UnsafeMutableRawBufferPointer(start: target.base, count: size).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + size]))
                    offset += size
                }
            }
        }
    }
}

extension Measurement {
    /// nil without a step and an evaluation.
    fileprivate init?(_ json: JSON) {
        guard let step = json["step"]?.int, let evaluation = json["evaluation"] else { return nil }
        self.init(step: step, evaluation: Evaluation(evaluation))
    }
}

extension Evaluation {
    fileprivate init(_ json: JSON) {
        func number(_ name: String) -> Double { json[name]?.double ?? 0 }
        self.init(
            goalMet: json["goal_met"]?.bool ?? false, guardHeld: json["guard_held"]?.bool ?? true,
            avoidPBefore: number("avoid_p_before"), avoidPAfter: number("avoid_p_after"),
            avoidPWorst: number("avoid_p_worst"), keepKL: number("keep_kl"),
            guardKL: number("guard_kl"), guardFlips: number("guard_flips"),
            heldOutAvoidPBefore: number("held_out_avoid_p_before"),
            heldOutAvoidPAfter: number("held_out_avoid_p_after"),
            heldOutLoss: number("held_out_loss"), rootKL: number("root_kl"),
            rootFlips: number("root_flips"))
    }
}
