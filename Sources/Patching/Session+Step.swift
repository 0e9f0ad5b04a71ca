import CUnsay
import Support
import T5
import Tensors
import Training

/// What a gradients callback may look at and change.
package struct GradientsStep {
    package let values: UnsafeMutableBufferPointer<Float>
    /// The weight of the marked tokens that the gradients are a mean over; may be changed, for
    /// the record.
    package var weight: Double
    /// Their mean loss; may be changed, for the record.
    package var loss: Double
    /// Whether gradients and loss are sums over tokens instead.
    package let isSum: Bool
}

package typealias GradientsHook = (inout GradientsStep) throws -> Void

/// One step's figures. Names as in `unsay_step`.
package struct StepReport: Sendable {
    package var step = 0
    package var loss = 0.0
    package var avoidLoss = 0.0
    package var keepLoss = 0.0
    package var avoidP = 0.0
    package var gradientNorm = 0.0
    package var seconds = 0.0
}

extension Session {
    /// One forward and backward pass over a batch, and one update.
    ///
    /// A step that fails leaves the weights of the last whole one; if it fails because loss or
    /// gradient are not finite there, so that these are no good, those of the one before.
    ///
    /// - Parameter onGradients: may replace the gradients before they are clipped; may throw.
    package func step(onGradients: GradientsHook? = nil) throws -> StepReport {
        try exclusively {
            let training = try prepare()
            do {
                return try takeStep(training, onGradients) {
                    self.lastGood = try self.keptWeights(training, in: self.lastGood?.values)
                }
            } catch {
                if isMoving { goBack(training) }
                throw error
            }
        }
    }

    /// - Parameter willMove: called when the loss is known to be finite, before weights move.
    /// - Throws: `UNSAY_E_DIVERGED` if the loss, a gradient or a weight is not finite. Weights are
    ///   undefined where an error leaves `isMoving` set.
    func takeStep(
        _ training: Training, _ onGradients: GradientsHook?,
        willMove: @escaping () throws -> Void = {}
    ) throws -> StepReport {
        let clock = ContinuousClock()
        let start = clock.now
        (lastEvaluation, lastEnding) = (nil, nil)
        let trainer = training.trainer
        // A hook gets all gradients at once, also where the options did not announce it.
        if onGradients != nil { try trainer.holdGradients() }
        let batch = order.next(options.batchSize, of: examples.count).map { examples[$0] }
        let normaliser = trainer.normaliser(of: batch)
        var update = Update(
            training: training, rate: options.rates.rate(step: steps + 1),
            decay: options.weightDecay, workers: model.workers)
        var (loss, sums) = (0.0, Trainer.Sums())
        if trainer.gradients.isWhole {
            sums = try accumulate(trainer, batch, normaliser: normaliser)
            if onGradients != nil {
                // What a hook makes of them says nothing about the weights.
                for part in trainer.gradients.parts { update.measure(part) }
                update.isOwn = !sums.loss.isFinite || !update.gradientNorm.isFinite
            }
            let values = trainer.gradients.values
            var view = GradientsStep(
                values: UnsafeMutableBufferPointer(start: values.base, count: values.count),
                weight: normaliser, loss: normaliser > 0 ? sums.loss / normaliser : 0,
                isSum: trainer.settings.columns.isSummed)
            try onGradients?(&view)
            loss = view.loss
            for part in trainer.gradients.parts { update.measure(part) }
            try requireFinite(loss, update, training)
            try stopIfCancelled()
            try willMove()
            isMoving = true
            // 1e-6: as in torch.nn.utils.clip_grad_norm_.
            let clip = Double(options.gradientClip)
            let scale = clip > 0 ? Float(min(1, clip / (update.gradientNorm + 1e-6))) : 1
            for part in trainer.gradients.parts { update.move(part, scale: scale) }
        } else {
            func take(_ part: Gradients.Part, _ sums: Trainer.Sums) throws {
                update.measure(part)
                loss = normaliser > 0 ? sums.loss / normaliser : 0
                try requireFinite(loss, update, training, part: part)
                if !isMoving { try willMove() }
                isMoving = true
                update.move(part)
            }
            sums = try accumulate(trainer, batch, normaliser: normaliser, taker: take)
            for part in trainer.gradients.parts where !update.hasMeasured(part) {
                try take(part, sums)
            }
        }
        if let weight = trainer.weights.firstNotFinite(workers: model.workers) {
            throw try divergence("it moved \(weight.name) too far", step: steps + 1, training)
        }
        isMoving = false
        steps += 1
        origin = WeightsOrigin(step: steps)
        return StepReport(
            step: steps, loss: loss,
            avoidLoss: sums.avoidedWeight > 0 ? sums.avoidedTerm / sums.avoidedWeight : 0,
            keepLoss: sums.keptWeight > 0 ? sums.keptTerm / sums.keptWeight : 0,
            avoidP: sums.avoidedCount > 0 ? sums.avoidedProbability / Double(sums.avoidedCount) : 0,
            gradientNorm: update.gradientNorm, seconds: (clock.now - start) / .seconds(1))
    }

    /// Where the weights themselves give a loss or a gradient that is not finite, the step before
    /// went too far, and the session goes back.
    ///
    /// - Parameter part: of gradients that are not held whole, those that were just measured.
    private func requireFinite(
        _ loss: Double, _ update: Update, _ training: Training, part: Gradients.Part? = nil
    ) throws {
        let norm = update.gradientNorm
        guard !loss.isFinite || !norm.isFinite else { return }
        defer { if update.isOwn { goBack(training) } }
        throw try divergence(
            "the loss is \(loss), the norm of its gradient \(norm)", step: steps + 1, training,
            part: part)
    }

    /// Fills the gradients with those of a step's examples, a few examples at a time.
    func accumulate(
        _ trainer: Trainer, _ batch: [Example], normaliser: Double, taker: Trainer.Taker? = nil
    ) throws -> Trainer.Sums {
        trainer.gradients.zero()
        trainer.publish()
        var sums = Trainer.Sums()
        let size = options.microBatchSize == 0 ? batch.count : options.microBatchSize
        for first in stride(from: 0, to: batch.count, by: size) where normaliser > 0 {
            let range = first..<min(first + size, batch.count)
            let part = Batch(
                Array(batch[range]), decoderStart: model.configuration.decoderStartTokenID)
            sums += try trainer.accumulate(
                part, normaliser: normaliser,
                keys: options.trainerOptions.dropoutKeys(step: steps + 1, examples: range),
                taker: taker, between: stopIfCancelled)
        }
        return sums
    }
}

/// The update of one step, part by part.
private struct Update {
    let training: Session.Training
    let rate: Float
    let decay: Float
    let workers: Workers
    /// Of the gradients of each part, by where the part begins.
    var squares: [Int: Double] = [:]
    var hasBegun = false
    /// Whether numbers that are not finite come from the weights, not from a hook.
    var isOwn = true

    /// Of all that was measured, whatever the order.
    var gradientNorm: Double {
        training.trainer.gradients.parts.reduce(0) {
            $0 + (squares[$1.range.lowerBound] ?? 0)
        }.squareRoot()
    }

    func hasMeasured(_ part: Gradients.Part) -> Bool { squares[part.range.lowerBound] != nil }

    mutating func measure(_ part: Gradients.Part) {
        squares[part.range.lowerBound] = squareSum(part, workers: workers)
    }

    /// - Parameter scale: multiplies the gradients.
    mutating func move(_ part: Gradients.Part, scale: Float = 1) {
        if !hasBegun { training.optimizer.beginStep() }
        hasBegun = true
        training.optimizer.update(
            training.values, part,
            UpdateSettings(
                scale: scale, rate: rate, decay: decay, reference: training.decayTarget),
            workers: workers)
    }
}
