import Models
import Patching
import Training

/// A private, trained copy of a model with the examples it learns from: an `unsay_session`.
///
/// The model stays usable and unchanged until ``commit()``; dropping a patch drops whatever was
/// not committed. A patch belongs to one call at a time: a second one at once throws `.busy`,
/// ``cancel()`` excepted.
public final class Patch: Sendable {
    let session: Session
    private let model: Model

    init(_ session: Session, _ model: Model) {
        self.session = session
        self.model = model
    }

    // MARK: Examples

    /// Adds an output that the model should stop, or keep, writing.
    ///
    /// - Parameters:
    ///   - input: what was to be answered.
    ///   - output: an ``Output`` stands for its very ids.
    ///   - marks: one for each id of the output, the end included; nil to keep everything.
    ///   - alsoAvoid: more ids to avoid, each at a position of the output that is not ignored.
    ///   - weight: relative to other examples.
    public func add(
        _ input: some TokenSequence, _ output: some TokenSequence, marks: [Mark]? = nil,
        alsoAvoid: [(position: Int, id: Int32)] = [], weight: Float = 1
    ) throws(Failure) {
        try boundary {
            try session.add([example(input, output, marks, alsoAvoid, weight)])
        }
    }

    /// Adds an output of which phrases are to be avoided, however split and cased.
    ///
    /// - Throws: `.argument` if none of them occurs: that is nearly always a typing error.
    public func add(
        _ input: some TokenSequence, _ output: some TokenSequence, avoid phrases: [String],
        extent: Extent = .all, weight: Float = 1
    ) throws(Failure) {
        let marks = try model.marks(of: output, phrases: phrases, extent: extent)
        try require(marks, "avoid: no phrase of \(phrases) occurs in the output")
        try add(input, output, marks: marks, weight: weight)
    }

    /// Adds an output of which whatever a shortest edit to `better` replaces is to be avoided.
    ///
    /// - Throws: `.argument` if the two are equal.
    public func add(
        _ input: some TokenSequence, _ output: some TokenSequence,
        better: some TokenSequence, extent: Extent = .all, weight: Float = 1
    ) throws(Failure) {
        let marks = try model.marks(of: output, better: better, extent: extent)
        try require(marks, "better: the two outputs are the same")
        try add(input, output, marks: marks, weight: weight)
    }

    private func require(_ marks: [Mark], _ sentence: String) throws(Failure) {
        guard marks.contains(.avoid) else { throw Failure(.argument, sentence) }
    }

    /// Adds an output that is measured and never trained on.
    public func addHeldOut(
        _ input: some TokenSequence, _ output: some TokenSequence, marks: [Mark]? = nil
    ) throws(Failure) {
        try boundary { try session.addHeldOut([example(input, output, marks, [], 1)]) }
    }

    /// Adds an output whose behaviour must not drift.
    public func addGuard(
        _ input: some TokenSequence, _ output: some TokenSequence
    ) throws(Failure) {
        try boundary { try session.addGuard([example(input, output, nil, [], 1)]) }
    }

    private func example(
        _ input: some TokenSequence, _ output: some TokenSequence, _ marks: [Mark]?,
        _ alsoAvoid: [(position: Int, id: Int32)], _ weight: Float
    ) throws -> Example {
        try Example(
            session.model, input: session.model.ids(input, "input"),
            output: session.model.ids(output, "output"), marks: marks?.map(\.rawValue),
            alsoAvoid: alsoAvoid, weight: weight, named: "the example")
    }

    // MARK: Training

    /// Prices every mark and predicts memory and time; changes nothing.
    public func plan() throws(Failure) -> Plan {
        try boundary { Plan(try session.plan()) }
    }

    /// Does one step: forward, backward, update.
    ///
    /// - Parameter onGradients: may replace the gradients before they are clipped.
    @discardableResult
    public func step(
        onGradients: ((inout GradientsView) -> Action)? = nil
    ) throws(Failure) -> Step {
        try boundary { Step(try session.step(onGradients: hook(onGradients))) }
    }

    /// Steps until the goal is met, `maxSteps` are done, the guard is about to break, nothing
    /// improves any more or `onStep` says stop.
    ///
    /// When it ends by steps or patience, or throws `.diverged`, the weights are those of the
    /// best evaluation; by goal or caller, those of its last step. Where the guard breaks, the run
    /// goes half of the way back to the best weights, a quarter, and so on, and ends at the first
    /// that hold it and are better. If the goal is met before, no step is taken. Whether anything
    /// was changed, ``evaluate()`` tells.
    @discardableResult
    public func run(
        _ options: RunOptions = RunOptions(),
        onStep: (Step) -> Action = { _ in .continue },
        onGradients: ((inout GradientsView) -> Action)? = nil
    ) throws(Failure) -> Ending {
        try boundary {
            Ending(
                try session.run(options.settings, onGradients: hook(onGradients)) {
                    onStep(Step($0)) == .continue
                })
        }
    }

    /// Trains every pair of a learning rate and an alpha, and keeps the best that holds the
    /// guard. Of what is empty, the patch's own value is taken.
    ///
    /// - Returns: every trial, and which was chosen; nil, and the weights as before, if none
    ///   held the guard.
    public func sweep(
        learningRates: [Float] = [], alphas: [Float] = [], _ options: RunOptions = RunOptions(),
        onTrial: (Trial) -> Action = { _ in .continue }
    ) throws(Failure) -> (trials: [Trial], chosen: Int?) {
        try boundary {
            let swept = try session.sweep(
                rates: learningRates, alphas: alphas, options.settings, onStep: { _ in true }
            ) { onTrial(Trial($0)) == .continue }
            return (swept.trials.map(Trial.init), swept.chosen)
        }
    }

    /// Measures the trained copy against the original on examples, held-out ones and guard.
    public func evaluate() throws(Failure) -> Evaluation {
        try boundary { Evaluation(try session.evaluate()) }
    }

    /// Stops the running call soon, from any thread: it throws `.cancelled`, with the weights
    /// of its last whole step. No effect between calls.
    public func cancel() { session.cancel() }

    // MARK: Ending

    /// Makes the trained weights the model's. Calls in progress finish on the old ones.
    ///
    /// - Throws: no change, and `.guard` if the guard does not hold, `.unchanged` if the weights
    ///   are the model's already, `.state` if the model changed since the patch began,
    ///   `.diverged` if a weight is not finite.
    public func commit() throws(Failure) {
        try boundary { try session.commit() }
    }

    /// Returns the trained copy to the original; examples and guard stay.
    public func rollback() throws(Failure) {
        try boundary { try session.rollback() }
    }

    /// What the patch has changed so far, committed or not.
    public func delta() throws(Failure) -> Delta {
        try boundary { Delta(try session.delta()) }
    }

    /// A model of its own on the trained weights as they are now, committed or not.
    public func trainedModel() throws(Failure) -> Model {
        try boundary { Model(try session.trainedModel()) }
    }

    /// Writes weights, optimizer and position to a file, for ``load(_:)``.
    public func save(_ path: any PathSpelling) throws(Failure) {
        try boundary { try session.save(to: path.path) }
    }

    /// Goes back to where ``save(_:)`` stood, in a patch made with the same model, options and
    /// examples. What follows is the same to the bit as if it had never stopped.
    ///
    /// - Returns: the steps done by then.
    /// - Throws: `.mismatch`, and no change, if one of them differs.
    @discardableResult
    public func load(_ path: any PathSpelling) throws(Failure) -> Int {
        try boundary {
            try session.load(from: path.path)
            return session.steps
        }
    }
}

/// The caller's gradients callback as a session calls it.
private func hook(_ onGradients: ((inout GradientsView) -> Action)?) -> GradientsHook? {
    onGradients.map { callback in
        { step in
            var view = GradientsView(
                values: step.values, weight: step.weight, loss: step.loss, isSum: step.isSum)
            guard callback(&view) == .continue else {
                throw Failure(.cancelled, "onGradients stopped the step")
            }
            (step.weight, step.loss) = (view.weight, view.loss)
        }
    }
}

extension Model {
    /// Starts a patch on a private copy of the model's weights.
    public func patch(_ options: PatchOptions = PatchOptions()) throws(Failure) -> Patch {
        try boundary {
            let session = try Session(
                model, reference: options.reference?.model, root: options.root?.model,
                options: options.settings)
            return Patch(session, self)
        }
    }

    /// Trains on pairs by likelihood for `steps` steps, and commits.
    public func finetune<Input: TokenSequence, Answer: TokenSequence>(
        _ pairs: [(input: Input, output: Answer)], steps: Int,
        _ options: PatchOptions = PatchOptions()
    ) throws(Failure) {
        try boundary {
            let examples = try pairs.enumerated().map { index, pair in
                try Example(
                    model, input: model.ids(pair.input, "pairs[\(index)].input"),
                    output: model.ids(pair.output, "pairs[\(index)].output"),
                    named: "pairs[\(index)]")
            }
            try Session.finetune(
                model, examples, options.settings, steps: narrow(steps, "steps"))
        }
    }
}
