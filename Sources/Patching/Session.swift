import CUnsay
import Models
import Support
import Synchronization
import T5
import Tensors
import Training

/// A private, trained copy of a model's weights with the examples it learns from.
///
/// Belongs to one call at a time: a second one at once throws `UNSAY_E_BUSY`, `cancel`
/// excepted. The model stays as it is until `commit`.
package final class Session: @unchecked Sendable {
    package let model: Model
    /// A sweep alone changes them, and only `learningRate` and `alpha`.
    package var options: SessionOptions
    /// The model's weights when the session began: what rolling back returns to.
    package let original: WeightsSnapshot
    /// The same as they are trained: with a head of its own where the head alone is.
    let start: WeightsSnapshot
    let reference: WeightsSnapshot
    /// What drift is counted from over many patches; nil for nothing.
    let root: WeightsSnapshot?
    /// What `commit` expects the model to hold: the original, then what was committed last.
    private var expected: WeightsSnapshot
    private(set) var training: Training?
    package private(set) var examples: [Example] = []
    package private(set) var heldOut: [Example] = []
    package private(set) var guards: [Example] = []
    var order: ExampleOrder
    package internal(set) var steps = 0
    /// Of the weights as they are now.
    var origin = WeightsOrigin()
    /// The weights before the last step that was taken outside of runs.
    var lastGood: KeptWeights?
    /// Whether a step has moved some weights and not all: what it leaves, if it fails, is nothing.
    var isMoving = false
    /// How the last run ended; nil if something else came after.
    var lastEnding: Ending?
    /// Of the weights as they are; nil where they changed since they were measured.
    package internal(set) var lastEvaluation: Evaluation?
    /// How many examples of all kinds there were then.
    var measuredCount = 0
    /// The last plan, and how many examples of all kinds it was made for.
    var planned: (count: Int, plan: Plan)?
    /// Every evaluation of every run since the session began or was rolled back.
    var history: [Measurement] = []
    /// What a saved session brought along for the run to go on with.
    var resumedBest: BestWeights?
    /// Examples of all kinds at the last call of `prepare`.
    private var preparedCount = 0
    private let isInUse = Atomic<Bool>(false)
    private let isCancelled = Atomic<Bool>(false)

    /// What is trained, and with what.
    struct Training {
        let trainer: Trainer
        let optimizer: any Optimizer
        /// The reference's weights, kept only while `weight_decay` pulls towards them.
        let decayTarget: FloatBuffer?

        var values: FloatBuffer { trainer.weights.values }
    }

    /// - Parameters:
    ///   - reference: q; nil: the model as it is now.
    ///   - root: what drift is counted from; nil for nothing.
    package init(
        _ model: Model, reference: Model?, root: Model? = nil, options: SessionOptions
    ) throws {
        try options.validate()
        try model.configuration.requireHead()
        guard model.configuration.numDecoderLayers > 0 else {
            throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
        }
        for (name, other) in [("reference", reference), ("root", root)] {
            guard other == nil || other?.configuration.fits(model.configuration) == true else {
                throw Failure(UNSAY_E_MISMATCH, "the \(name)'s sizes differ from the model's")
            }
        }
        self.model = model
        self.options = options
        original = try model.weights()
        start = options.trainsHeadAlone ? original.withOwnHead : original
        self.reference = try reference?.weights() ?? original
        self.root = try root?.weights()
        expected = original
        order = ExampleOrder(seed: options.seed)
        // Which tokens are avoided, only examples say.
        if options.effectiveScope != UNSAY_SCOPE_TOKENS { _ = try ready() }
    }

    /// The trained copy; made, or made larger, where new examples ask for that.
    func ready() throws -> Training {
        let trainsTokens = options.effectiveScope == UNSAY_SCOPE_TOKENS
        if let training, !trainsTokens { return training }
        let avoided = trainsTokens ? avoidedIDs : []
        if trainsTokens, avoided.isEmpty {
            throw Failure(
                UNSAY_E_STATE,
                "no example avoids anything yet, and UNSAY_SCOPE_TOKENS trains what is avoided: "
                    + "add one, or choose another scope")
        }
        let layout = try options.layout(start.layout, avoided: avoided)
        if let training, training.trainer.weights.layout == layout { return training }
        let trainer = try Trainer(
            start, layout: layout, reference: reference, settings: options.lossSettings,
            options: options.trainerOptions, holdsGradients: options.holdsGradients,
            workers: model.workers)
        if let before = training?.trainer.weights { trainer.weights.takeRows(from: before) }
        let made = Training(
            trainer: trainer,
            optimizer: try makeOptimizer(options.optimizer, layout, momentum: options.momentum),
            decayTarget: options.weightDecay > 0 && layout.rank == 0
                ? try TrainedWeights.values(layout, of: reference) : nil)
        training = made
        // They were kept of other rows.
        (lastGood, resumedBest) = (nil, nil)
        return made
    }

    /// Every id that is avoided somewhere, ascending.
    private var avoidedIDs: [Int32] {
        Set(examples.flatMap { $0.targets.flatMap(\.avoided) }).sorted()
    }

    // MARK: Examples

    /// Adds checked examples to train on.
    package func add(_ more: [Example]) throws {
        try exclusively { examples += more }
    }

    /// Adds checked examples to measure, and never to train on.
    package func addHeldOut(_ more: [Example]) throws {
        try exclusively { heldOut += more }
    }

    /// Adds checked pairs whose behaviour must not drift: every target is marked to keep.
    package func addGuard(_ more: [Example]) throws {
        try exclusively { guards += more }
    }

    /// Examples of all kinds; they are added and never taken away.
    var exampleCount: Int { examples.count + heldOut.count + guards.count }

    /// Runs the original, the reference and the root over what was added since the last call.
    func prepare(needsExamples: Bool = true) throws -> Training {
        if needsExamples, examples.isEmpty {
            throw Failure(UNSAY_E_STATE, "the session has no examples yet: add some first")
        }
        let training = try ready()
        let count = exampleCount
        if count != preparedCount {
            // A little more, for what lies between one block and the next.
            let bytes = passBytes(training.trainer)
            try training.trainer.reserve(bytes: bytes + bytes / 32)
            preparedCount = count
        }
        let pass = training.trainer.pass
        func keep(
            _ examples: [Example], _ weights: WeightsSnapshot,
            _ key: ReferenceWritableKeyPath<Example, FloatBuffer?>
        ) throws {
            try keepStates(
                of: examples.filter { $0[keyPath: key] == nil }, weights.network, in: key, pass,
                between: stopIfCancelled)
        }
        let compared = comparesExamples ? examples + heldOut : []
        try keep(keptExamples, original, \.original)
        if reference === original {
            for example in compared { example.reference = example.original }
        } else {
            try keep(compared, reference, \.reference)
        }
        if let root { try keep(guards, root, \.root) }
        return training
    }

    /// Those that keep the original's states. Plain fine-tuning compares with nothing, and may
    /// have very many examples; but a head that is trained alone reads those states.
    var keptExamples: [Example] {
        (comparesExamples || options.trainsHeadAlone ? examples + heldOut : []) + guards
    }

    /// Whether examples are measured against the original: not in plain fine-tuning, which
    /// avoids nothing and holds nothing.
    var comparesExamples: Bool { options.loss != UNSAY_LOSS_LIKELIHOOD }

    // MARK: Ending

    /// Makes the trained weights the model's, if the guard holds.
    ///
    /// - Throws: `UNSAY_E_GUARD`; `UNSAY_E_UNCHANGED` if they are the model's already;
    ///   `UNSAY_E_STATE` if the model has changed; `UNSAY_E_DIVERGED` if they are not finite.
    package func commit() throws {
        try exclusively {
            if !guards.isEmpty {
                _ = try prepare(needsExamples: false)
                let evaluation = try measure()
                guard evaluation.guardHeld else {
                    throw Failure(
                        UNSAY_E_GUARD,
                        "the guard refuses: KL \(evaluation.guardKL) of at most "
                            + "\(options.maxGuardKL), flips \(evaluation.guardFlips) of at most "
                            + "\(options.maxGuardFlips)"
                            + (root == nil || options.maxRootKL == 0
                                ? ""
                                : ", root KL \(evaluation.rootKL) of at most \(options.maxRootKL)"))
                }
            }
            let next = try trainedSnapshot()
            let before = try model.fingerprint(of: expected)
            let after = try model.fingerprint(of: next)
            guard before != after else { throw unchanged }
            try model.replace(
                expected, with: next,
                change: AppliedChange(before: before, after: after, metadata: try metadata))
            expected = next
        }
    }

    private var unchanged: Failure {
        let reason =
            switch (steps, lastEnding) {
            case (_, .guardrail?): "the guard broke, and the run went back to them"
            case (0, .goal?): "the goal was met before any step"
            case (0, _): "no step was kept"
            default: "\(steps) steps led back to them"
            }
        return Failure(
            UNSAY_E_UNCHANGED,
            "nothing to commit: the weights are the model's already, for \(reason)")
    }

    /// A model of its own on the trained weights as they are now.
    package func trainedModel() throws -> Model {
        try exclusively { try Model(cloning: model, weights: trainedSnapshot()) }
    }

    /// - Throws: `UNSAY_E_DIVERGED` unless all that is trained is finite.
    func trainedSnapshot() throws -> WeightsSnapshot {
        if let training { try requireFinite(training) }
        let base = try trainedBase()
        return try WeightsSnapshot(
            base.layout, base.configuration, workers: model.workers, keeping: base,
            isKept: { training?.trainer.weights.layout.isTrained($0) != true },
            read: { try readFinite($0, into: $1) })
    }

    /// The snapshot whose layout the trained weights have: a tied head gets rows of its own only
    /// once they differ from the table's.
    func trainedBase() throws -> WeightsSnapshot {
        guard start !== original, let training else { return original }
        return try training.trainer.weights.isChanged() ? start : original
    }

    /// Weight `index` as it is now, factors merged.
    func readTrained(_ index: Int, into values: UnsafeMutableBufferPointer<Float>) {
        if let training {
            training.trainer.weights.read(index, into: values)
        } else {
            start.read(index, into: values)
        }
    }

    /// Whether every value of weight `index` is trained, or changed by factors.
    func changesWhole(_ index: Int) -> Bool {
        switch training?.trainer.weights.layout.shares[index] {
        case .whole?, .factors?: true
        case .frozen?, .rows?, nil: false
        }
    }

    /// The factors that have changed weight `index`, if factors do.
    func factors(_ index: Int) -> LowRank? { training?.trainer.weights.factors(index) }

    /// Returns the trained copy to the original; examples and guard stay.
    package func rollback() throws {
        try exclusively { restart() }
    }

    func restart() {
        training?.trainer.weights.reset(seed: options.seed)
        training?.optimizer.reset()
        steps = 0
        order = ExampleOrder(seed: options.seed)
        lastEvaluation = nil
        history = []
        resumedBest = nil
        (origin, lastGood, isMoving, lastEnding) = (WeightsOrigin(), nil, false, nil)
    }

    // MARK: One call at a time

    /// Stops the running call soon, from any thread.
    package func cancel() {
        isCancelled.store(true, ordering: .releasing)
    }

    func stopIfCancelled() throws {
        if isCancelled.load(ordering: .acquiring) {
            throw Failure(UNSAY_E_CANCELLED, "unsay_session_cancel stopped the session")
        }
    }

    /// Runs `body` unless another call uses the session.
    func exclusively<Result>(_ body: () throws -> Result) throws -> Result {
        guard
            isInUse.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
        else {
            throw Failure(UNSAY_E_BUSY, "another call is using this session")
        }
        isCancelled.store(false, ordering: .relaxed)
        defer { isInUse.store(false, ordering: .releasing) }
        return try body()
    }
}
