import CUnsay
import Models
import Support
import Tokenizers
import Training

extension Example {
    /// An example from outside, checked.
    ///
    /// - Parameters:
    ///   - input, output: ids that were checked.
    ///   - marks: one for each id of the output; nil to keep everything.
    ///   - alsoAvoid: more ids to avoid, each at a position of the output that is not ignored;
    ///     an id counts once at its position, however often it is named.
    ///   - weight: 0 means 1.
    ///   - name: of the example in what is thrown.
    /// - Throws: `UNSAY_E_ARGUMENT`.
    package convenience init(
        _ model: Model, input: [Int32], output: [Int32], marks: [Int8]? = nil,
        alsoAvoid: [(position: Int, id: Int32)] = [], weight: Float = 1, named name: String
    ) throws {
        try Memory.require(output.count, bytes: 64, for: "the marks of \(name)")
        let marks = marks ?? [Int8](repeating: 1, count: output.count)
        guard marks.count == output.count else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name) has \(marks.count) marks for \(output.count) tokens, the end included")
        }
        var more: [Int: [Int32]] = [:]
        for (position, id) in alsoAvoid {
            guard output.indices.contains(position) else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "\(name).also_avoid names position \(position) of \(output.count) tokens")
            }
            try model.check(id, of: "\(name).also_avoid")
            guard marks[position] != 0 else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "\(name).also_avoid avoids \(id) at position \(position), which "
                        + "\(name).marks ignores")
            }
            more[position, default: []].append(id)
        }
        let weight = weight == 0 ? 1 : weight
        guard weight > 0, weight.isFinite else {
            throw Failure(UNSAY_E_ARGUMENT, "\(name).weight is \(weight); it must be above 0")
        }
        let targets = try output.indices.map { position in
            guard (-1...1).contains(marks[position]) else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "\(name).marks[\(position)] is \(marks[position]); it must be -1, 0 or 1")
            }
            return TokenTarget(
                id: output[position], mark: marks[position], alsoAvoid: more[position] ?? [],
                weight: weight)
        }
        self.init(input: input, targets: targets)
    }
}

extension Session {
    /// Trains a model on examples by likelihood for `steps` steps, and commits.
    package static func finetune(
        _ model: Model, _ examples: [Example], _ options: SessionOptions, steps: Int,
        onGradients: GradientsHook? = nil
    ) throws {
        guard steps >= 0 else {
            throw Failure(UNSAY_E_ARGUMENT, "steps is \(steps); it must be 0 or more")
        }
        var options = options
        options.loss = UNSAY_LOSS_LIKELIHOOD
        options.form = UNSAY_LOSS_EXACT
        options.showsGradients = onGradients != nil
        let session = try Session(model, reference: nil, options: options)
        try session.add(examples)
        for _ in 0..<steps { _ = try session.step(onGradients: onGradients) }
        do {
            try session.commit()
        } catch let failure as Failure where failure.status == UNSAY_E_UNCHANGED {
            // Nothing was asked for, or nothing was left to learn.
        }
    }
}
