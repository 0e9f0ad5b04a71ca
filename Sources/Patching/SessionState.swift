import CUnsay
import Models
import Support
import Tensors
import Training

/// A session on disk: what it takes to go on with the very same steps. The examples are not in
/// it; their digest is.
///
/// A sealed file of one JSON object and the floats of every buffer that the object counts.
extension Session {
    private static let format = SealedFile(word: "UNSAYSES", noun: "saved session", latest: 1)

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
        guard buffers.allSatisfy(\.isFinite) else {
            throw Failure(
                UNSAY_E_DIVERGED,
                "step \(steps): a weight or the optimizer's state is no longer finite: not saved")
        }
        var file = Self.format.writer(version: 1)
        file.append(.object(fields))
        for buffer in buffers {
            let values = UnsafeBufferPointer(start: UnsafePointer(buffer.base), count: buffer.count)
            file.append(borrowing: UnsafeRawBufferPointer(values))
        }
        try withExtendedLifetime(buffers) { try file.write(to: path) }
    }

    /// Goes back to where a session was saved that had the same model, options and examples.
    ///
    /// - Throws: `UNSAY_E_MISMATCH` if one of them differs, `UNSAY_E_FORMAT` if the file is no
    ///   session, torn or damaged, `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`: then
    ///   nothing has changed.
    package func load(from path: String) throws {
        try load(Files.read(path, limit: 1 << 42), named: path)
    }

    /// Goes back to a session that is in memory; see `load(from:)`.
    package func load(_ bytes: Bytes, named name: String) throws {
        try exclusively { try restore(bytes, named: name) }
    }

    private func restore(_ bytes: Bytes, named name: String) throws {
        let training = try prepare()
        var file = try Self.format.reader(of: bytes, named: name)
        let saved = SavedFields(json: try file.json("JSON"), file: file)
        func expect(_ field: String, _ wanted: JSON, _ found: String) throws {
            guard saved.json[field] == wanted else {
                throw Failure(UNSAY_E_MISMATCH, "\(name): was saved with \(found)")
            }
        }
        try expect(
            "base", .string(hexadecimal(model.fingerprint(of: original))), "another model")
        try expect("data_sha256", .string(hexadecimal(dataDigest)), "other examples")
        try expect("options", .object(options.json), "other options")
        let steps = try saved.whole("steps")
        let optimizerSteps = try saved.whole("optimizer_steps", in: 0...steps)
        let order = try ExampleOrder(saved, seed: options.seed, count: examples.count)
        let history = try saved.history(upTo: steps)
        let best = try saved.best(upTo: steps, count: training.values.count)

        let buffers =
            [training.values] + training.optimizer.state + (best.map { [$0.values] } ?? [])
        guard saved.json["buffers"]?.array?.map(\.int) == buffers.map(\.count) else {
            throw saved.damaged("buffers", expected: "\(buffers.map(\.count))")
        }
        let contents = try buffers.enumerated().map {
            try file.floats([$0.element.count], "buffer \($0.offset)")
        }
        try file.finish()
        // From here on nothing fails.
        for (buffer, content) in zip(buffers, contents) {
            UnsafeMutableRawBufferPointer(start: buffer.base, count: content.count)
                .copyMemory(from: content.buffer)
        }
        training.optimizer.steps = optimizerSteps
        training.trainer.publish()
        (self.steps, self.order, self.history) = (steps, order, history)
        (lastEvaluation, resumedBest) = (nil, best)
    }
}

/// The JSON object of a saved session; a field that holds what it cannot is `UNSAY_E_FORMAT`.
struct SavedFields {
    let json: JSON
    let file: SealedReader

    /// The field at a path, such as best.step.
    private func field(_ path: String) -> JSON? {
        path.split(separator: ".").reduce(json) { $0?[String($1)] }
    }

    func damaged(_ path: String, expected: String) -> Failure {
        let found = field(path).map { String($0.text().prefix(40)) } ?? "missing"
        return file.damaged(path, found, expected: expected)
    }

    /// Doubles hold every whole number up to 2^53.
    func whole(_ path: String, in range: ClosedRange<Int> = 0...1 << 53) throws -> Int {
        guard let whole = field(path)?.int, range.contains(whole) else {
            throw damaged(path, expected: "a whole number in \(range)")
        }
        return whole
    }

    /// 64 bits that are written as a string.
    func bits(_ path: String, in range: ClosedRange<UInt64> = 0...UInt64.max) throws -> UInt64 {
        guard let bits = field(path)?.string.flatMap(UInt64.init), range.contains(bits) else {
            throw damaged(path, expected: "a whole number in \(range) as a string")
        }
        return bits
    }

    fileprivate func history(upTo steps: Int) throws -> [Measurement] {
        let entries = json["history"]?.array
        let all = entries?.compactMap { entry -> Measurement? in
            guard let step = entry["step"]?.int, (0...steps).contains(step),
                let evaluation = entry["evaluation"]
            else { return nil }
            return Measurement(step: step, evaluation: Evaluation(evaluation))
        }
        guard let all, all.count == entries?.count else {
            throw damaged("history", expected: "evaluations with steps in 0...\(steps)")
        }
        return all
    }

    /// nil if no best weights were saved; the values are to be read still.
    fileprivate func best(upTo steps: Int, count: Int) throws -> BestWeights? {
        guard let best = json["best"] else { return nil }
        let score = best["score"] == .null ? nil : Double(bitPattern: try bits("best.score"))
        guard score?.isNaN != true else { throw damaged("best.score", expected: "no NaN") }
        return BestWeights(
            values: try FloatBuffer(count: count), step: try whole("best.step", in: 0...steps),
            score: score, worse: try whole("best.worse"))
    }
}

extension Evaluation {
    /// What an older library did not save yet is 0; JSON's null is what is not finite.
    fileprivate init(_ json: JSON) {
        func number(_ name: String) -> Double {
            json[name].map { $0.double ?? .nan } ?? 0
        }
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
