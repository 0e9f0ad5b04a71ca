import CUnsay
import Models
import Support
import Tensors
import Training

/// A session on disk: what it takes to go on with the very same steps. Model and examples are
/// not in it; its identity says which they are.
///
/// A sealed file of one JSON object and the floats of every buffer that the object counts.
extension Session {
    /// Version 1 did not say which reference, root, guard and held-out examples it belonged to.
    private static let format = SealedFile(word: "UNSAYSES", noun: "saved session", latest: 2)

    /// Writes weights, optimizer, position and order of the examples, all or nothing.
    ///
    /// - Throws: `UNSAY_E_DIVERGED` unless all that is trained is finite; `UNSAY_E_NOT_FOUND`,
    ///   `UNSAY_E_IO`, `UNSAY_E_MEMORY`.
    package func save(to path: some PathConvertible) throws {
        try exclusively { try writeState(prepare(), nil, to: path) }
    }

    func writeState(
        _ training: Training, _ best: BestWeights?, to path: some PathConvertible
    ) throws {
        try requireFinite(training)
        let buffers =
            [training.values] + training.optimizer.state + (best.map { [$0.kept.values] } ?? [])
        var fields: [String: JSON] = [
            "identity": try identity.json,
            "steps": .number(Double(steps)),
            "weights": origin.json,
            "optimizer_steps": .number(Double(training.optimizer.steps)),
            "order": order.json,
            "buffers": .array(buffers.map { .number(Double($0.count)) }),
            "history": .array(history.map(\.json)),
        ]
        if let best {
            fields["best"] = .object([
                "weights": best.kept.origin.json, "worse": .number(Double(best.worse)),
                "holds_guard": .bool(best.holdsGuard),
                // As bits, so that it comes back exactly, infinite or not.
                "score": best.score.map { .string(String($0.bitPattern)) } ?? .null,
            ])
        }
        guard buffers.allSatisfy(\.isFinite) else {
            throw Failure(
                UNSAY_E_DIVERGED,
                "step \(steps): the optimizer's state is no longer finite: not saved")
        }
        var file = Self.format.writer(version: 2)
        file.append(.object(fields))
        for buffer in buffers {
            let values = UnsafeBufferPointer(start: UnsafePointer(buffer.base), count: buffer.count)
            file.append(borrowing: UnsafeRawBufferPointer(values))
        }
        try withExtendedLifetime(buffers) { try file.write(to: path) }
    }

    /// Goes back to where a session of the same identity was saved.
    ///
    /// - Throws: `UNSAY_E_MISMATCH` naming what differs, `UNSAY_E_FORMAT` if the file is no
    ///   session, torn or damaged, `UNSAY_E_UNSUPPORTED` if it is of another version,
    ///   `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`: then nothing has changed.
    package func load(from path: some PathConvertible) throws {
        try load(Files.read(path, limit: 1 << 42), named: "\(path.path)")
    }

    /// Goes back to a session that is in memory; see `load(from:)`.
    package func load(_ bytes: Bytes, named name: String) throws {
        try exclusively { try restore(bytes, named: name) }
    }

    private func restore(_ bytes: Bytes, named name: String) throws {
        let training = try prepare()
        var file = try Self.format.reader(of: bytes, named: name)
        guard file.version > 1 else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(name): a saved session of version 1, which does not say what it belongs to: "
                    + "begin it anew")
        }
        let saved = SavedFields(json: try file.json("JSON"), file: file)
        if let difference = try identity.difference(from: saved.json["identity"]) {
            throw Failure(UNSAY_E_MISMATCH, "\(name): was saved with \(difference)")
        }
        let steps = try saved.whole("steps")
        let origin = try saved.origin("weights", upTo: steps)
        let optimizerSteps = try saved.whole("optimizer_steps", in: 0...steps)
        let order = try ExampleOrder(saved, seed: options.seed, count: examples.count)
        let history = try saved.history(upTo: steps)
        let best = try saved.best(upTo: steps, count: training.values.count)

        let buffers =
            [training.values] + training.optimizer.state + (best.map { [$0.kept.values] } ?? [])
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
        (self.origin, lastGood, lastEnding) = (origin, nil, nil)
    }
}

extension WeightsOrigin {
    var json: JSON {
        .object(["step": .number(Double(step)), "fraction": .number(fraction)])
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

    fileprivate func origin(_ path: String, upTo steps: Int) throws -> WeightsOrigin {
        guard let fraction = field("\(path).fraction")?.double, fraction > 0, fraction <= 1 else {
            throw damaged("\(path).fraction", expected: "above 0, 1 at most")
        }
        return WeightsOrigin(
            step: try whole("\(path).step", in: 0...steps), fraction: fraction)
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
        let kept = KeptWeights(
            values: try FloatBuffer(count: count),
            origin: try origin("best.weights", upTo: steps))
        guard let holdsGuard = best["holds_guard"]?.bool else {
            throw damaged("best.holds_guard", expected: "true or false")
        }
        return BestWeights(
            kept: kept, holdsGuard: holdsGuard, score: score, worse: try whole("best.worse"))
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
            rootFlips: number("root_flips"), changed: json["changed"]?.bool ?? false,
            step: json["step"]?.int ?? 0, fraction: number("fraction"))
    }
}
