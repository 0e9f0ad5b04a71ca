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
    package let options: SessionOptions
    /// The model's weights when the session began: what rolling back returns to.
    package let original: WeightsSnapshot
    private let reference: WeightsSnapshot
    /// What `commit` expects the model to hold: the original, then what was committed last.
    private var expected: WeightsSnapshot
    let trainer: Trainer
    private let optimizer: AdamW
    /// The reference's weights, kept only while `weight_decay` pulls towards them.
    private let decayTarget: FlatWeights?
    private var examples: [Example] = []
    private var guards: [Example] = []
    private var order: ExampleOrder
    package private(set) var steps = 0
    package private(set) var lastEvaluation: Evaluation?
    private let isInUse = Atomic<Bool>(false)
    private let isCancelled = Atomic<Bool>(false)

    /// - Parameter reference: q; nil: the model as it is now.
    package init(_ model: Model, reference: Model?, options: SessionOptions) throws {
        try options.validate()
        guard model.configuration.numDecoderLayers > 0 else {
            throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
        }
        if let reference, reference.configuration != model.configuration {
            throw Failure(
                UNSAY_E_MISMATCH, "the reference's sizes differ from those of the model")
        }
        self.model = model
        self.options = options
        original = model.snapshot
        self.reference = reference?.snapshot ?? original
        expected = original
        trainer = try Trainer(
            original, reference: self.reference, settings: try options.lossSettings,
            workers: model.workers)
        optimizer = try AdamW(count: model.layout.flatCount)
        if options.weightDecay > 0 {
            let target = try FlatWeights(model.layout, model.configuration)
            target.copy(from: self.reference)
            decayTarget = target
        } else {
            decayTarget = nil
        }
        order = ExampleOrder(seed: options.seed)
    }

    // MARK: Examples

    /// Adds checked examples to train on.
    package func add(_ more: [Example]) throws {
        try exclusively { examples += more }
    }

    /// Adds checked pairs whose behaviour must not drift: every target is marked to keep.
    package func addGuard(_ more: [Example]) throws {
        try exclusively { guards += more }
    }

    // MARK: Steps

    /// One forward and backward pass over a batch, and one update.
    ///
    /// - Parameter onGradients: may replace the gradients before they are clipped; may throw.
    package func step(
        onGradients: ((UnsafeMutableBufferPointer<Float>) throws -> Void)? = nil
    ) throws -> StepReport {
        try exclusively {
            try prepare()
            return try takeStep(onGradients)
        }
    }

    private func takeStep(
        _ onGradients: ((UnsafeMutableBufferPointer<Float>) throws -> Void)?
    ) throws -> StepReport {
        let clock = ContinuousClock()
        let start = clock.now
        let batch = order.next(options.batchSize, of: examples.count).map { examples[$0] }
        let normaliser = trainer.normaliser(of: batch)
        trainer.gradients.zero()
        trainer.packHead()
        var sums = Trainer.Sums()
        let size = options.microBatchSize == 0 ? batch.count : options.microBatchSize
        for first in stride(from: 0, to: batch.count, by: size) where normaliser > 0 {
            let part = Batch(
                Array(batch[first..<min(first + size, batch.count)]),
                decoderStart: model.configuration.decoderStartTokenID)
            sums += try trainer.accumulate(
                part, normaliser: normaliser, between: stopIfCancelled)
        }
        let gradients = trainer.gradients.values
        try onGradients?(UnsafeMutableBufferPointer(start: gradients.base, count: gradients.count))
        let gradientNorm = norm(gradients, workers: model.workers)
        guard gradientNorm.isFinite, sums.loss.isFinite else {
            throw Failure(
                UNSAY_E_DIVERGED,
                "step \(steps + 1): the loss is \(sums.loss), the norm of its gradient "
                    + "\(gradientNorm): lower the learning rate")
        }
        try stopIfCancelled()
        steps += 1
        let clip = Double(options.gradientClip)
        optimizer.update(
            trainer.weights.values, gradients: gradients,
            // 1e-6: as in torch.nn.utils.clip_grad_norm_.
            scale: clip > 0 ? Float(min(1, clip / (gradientNorm + 1e-6))) : 1,
            rate: learningRate(
                step: steps, peak: options.learningRate, warmupSteps: options.warmupSteps,
                decaySteps: options.decaySteps),
            decay: options.weightDecay, reference: decayTarget?.values, workers: model.workers)
        return StepReport(
            step: steps, loss: normaliser > 0 ? sums.loss / normaliser : 0,
            avoidLoss: sums.avoidedWeight > 0 ? sums.avoidedTerm / sums.avoidedWeight : 0,
            keepLoss: sums.keptWeight > 0 ? sums.keptTerm / sums.keptWeight : 0,
            avoidP: sums.avoidedCount > 0 ? sums.avoidedProbability / Double(sums.avoidedCount) : 0,
            gradientNorm: gradientNorm, seconds: (clock.now - start) / .seconds(1))
    }

    /// Steps until the goal is met, the guard breaks, `maxSteps` are done or `onStep` says stop.
    ///
    /// Where the guard breaks, or the loss is no longer finite, the weights return to the last
    /// evaluation at which it held.
    ///
    /// - Parameter onStep: returns false to stop.
    package func run(
        maxSteps: Int, evaluateEvery: Int,
        onGradients: ((UnsafeMutableBufferPointer<Float>) throws -> Void)? = nil,
        onStep: (StepReport) throws -> Bool
    ) throws -> Ending {
        try exclusively {
            try prepare()
            let good = try FlatWeights(model.layout, model.configuration)
            good.copy(from: trainer.weights)
            for count in stride(from: 1, through: maxSteps, by: 1) {
                do {
                    let report = try takeStep(onGradients)
                    guard try onStep(report) else { return .caller }
                } catch let failure as Failure where failure.status == UNSAY_E_DIVERGED {
                    restore(good)
                    throw failure
                }
                guard count % evaluateEvery == 0 || count == maxSteps else { continue }
                let evaluation = try measure()
                guard evaluation.guardHeld else {
                    restore(good)
                    return .guardrail
                }
                if evaluation.goalMet { return .goal }
                good.copy(from: trainer.weights)
            }
            return .steps
        }
    }

    private func restore(_ good: FlatWeights) {
        trainer.weights.copy(from: good)
        optimizer.reset()
        lastEvaluation = nil
    }

    // MARK: Measuring

    /// Compares the trained copy with the original on the examples and the guard.
    package func evaluate() throws -> Evaluation {
        try exclusively {
            try prepare(needsExamples: false)
            return try measure()
        }
    }

    private func measure() throws -> Evaluation {
        var result = Evaluation()
        var avoided = 0
        var kept = 0
        trainer.packHead()
        let head = original.network.head
        try trainer.compareMarked(
            examples, \.original, head: head, between: stopIfCancelled
        ) { target, comparison in
            for probability in comparison.probabilities {
                result.avoidPBefore += probability.before
                result.avoidPAfter += probability.after
                result.avoidPWorst = max(result.avoidPWorst, probability.after)
                avoided += 1
            }
            if target.mark > 0 {
                result.keepKL += comparison.kl
                kept += 1
            }
        }
        var guarded = 0
        try trainer.compareMarked(
            guards, \.original, head: head, between: stopIfCancelled
        ) { _, comparison in
            result.guardKL += comparison.kl
            result.guardFlips += comparison.isFlipped ? 1 : 0
            guarded += 1
        }
        result.avoidPBefore /= Double(max(avoided, 1))
        result.avoidPAfter /= Double(max(avoided, 1))
        result.keepKL /= Double(max(kept, 1))
        result.guardKL /= Double(max(guarded, 1))
        result.guardFlips /= Double(max(guarded, 1))
        result.goalMet = avoided > 0 && result.avoidPWorst <= Double(options.maxAvoidP)
        result.guardHeld =
            result.guardKL <= Double(options.maxGuardKL)
            && result.guardFlips <= Double(options.maxGuardFlips)
        lastEvaluation = result
        return result
    }

    /// Runs the original and the reference over what was added since the last call.
    private func prepare(needsExamples: Bool = true) throws {
        if needsExamples, examples.isEmpty {
            throw Failure(UNSAY_E_STATE, "the session has no examples yet: add some first")
        }
        let pass = trainer.pass
        let pending = (examples + guards).filter { $0.original == nil }
        try keepStates(
            of: pending, original.network, in: \.original, pass, between: stopIfCancelled)
        let unreferenced = examples.filter { $0.reference == nil }
        if reference === original {
            for example in unreferenced { example.reference = example.original }
        } else {
            try keepStates(
                of: unreferenced, reference.network, in: \.reference, pass,
                between: stopIfCancelled)
        }
    }

    // MARK: Ending

    /// Makes the trained weights the model's, if the guard holds.
    package func commit() throws {
        try exclusively {
            if !guards.isEmpty {
                try prepare(needsExamples: false)
                let evaluation = try measure()
                guard evaluation.guardHeld else {
                    throw Failure(
                        UNSAY_E_GUARD,
                        "the guard refuses: KL \(evaluation.guardKL) of at most "
                            + "\(options.maxGuardKL), flips \(evaluation.guardFlips) of at most "
                            + "\(options.maxGuardFlips)")
                }
            }
            let next = try trainedSnapshot()
            try model.replace(expected, with: next)
            expected = next
        }
    }

    private func trainedSnapshot() throws -> WeightsSnapshot {
        let weights = trainer.weights
        return try WeightsSnapshot(
            model.layout, model.configuration, workers: model.workers
        ) { index, values in
            _ = values.update(from: weights.parameter(index))
        }
    }

    /// Returns the trained copy to the original; examples and guard stay.
    package func rollback() throws {
        try exclusively {
            trainer.weights.copy(from: original)
            optimizer.reset()
            steps = 0
            order = ExampleOrder(seed: options.seed)
            lastEvaluation = nil
        }
    }

    /// Stops the running call soon, from any thread.
    package func cancel() {
        isCancelled.store(true, ordering: .releasing)
    }

    private func stopIfCancelled() throws {
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

    /// The digest of everything trained on: ids, marks, weights, in order.
    var dataDigest: [UInt8] {
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
