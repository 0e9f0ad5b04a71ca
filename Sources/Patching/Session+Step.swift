import CUnsay
import Support
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
    /// - Parameter onGradients: may replace the gradients before they are clipped; may throw.
    package func step(onGradients: GradientsHook? = nil) throws -> StepReport {
        try exclusively { try takeStep(prepare(), onGradients) }
    }

    func takeStep(_ training: Training, _ onGradients: GradientsHook?) throws -> StepReport {
        let clock = ContinuousClock()
        let start = clock.now
        let batch = order.next(options.batchSize, of: examples.count).map { examples[$0] }
        let normaliser = training.trainer.normaliser(of: batch)
        let sums = try accumulate(training.trainer, batch, normaliser: normaliser)
        let gradients = training.trainer.gradients.values
        var view = GradientsStep(
            values: UnsafeMutableBufferPointer(start: gradients.base, count: gradients.count),
            weight: normaliser, loss: normaliser > 0 ? sums.loss / normaliser : 0,
            isSum: training.trainer.settings.columns.isSummed)
        try onGradients?(&view)
        let gradientNorm = norm(gradients, workers: model.workers)
        guard gradientNorm.isFinite, view.loss.isFinite else {
            throw Failure(
                UNSAY_E_DIVERGED,
                "step \(steps + 1): the loss is \(view.loss), the norm of its gradient "
                    + "\(gradientNorm): lower the learning rate")
        }
        try stopIfCancelled()
        steps += 1
        let clip = Double(options.gradientClip)
        try training.optimizer.update(
            training.values, gradients: gradients,
            UpdateSettings(
                // 1e-6: as in torch.nn.utils.clip_grad_norm_.
                scale: clip > 0 ? Float(min(1, clip / (gradientNorm + 1e-6))) : 1,
                rate: options.rates.rate(step: steps), decay: options.weightDecay,
                reference: training.decayTarget), workers: model.workers)
        return StepReport(
            step: steps, loss: view.loss,
            avoidLoss: sums.avoidedWeight > 0 ? sums.avoidedTerm / sums.avoidedWeight : 0,
            keepLoss: sums.keptWeight > 0 ? sums.keptTerm / sums.keptWeight : 0,
            avoidP: sums.avoidedCount > 0 ? sums.avoidedProbability / Double(sums.avoidedCount) : 0,
            gradientNorm: gradientNorm, seconds: (clock.now - start) / .seconds(1))
    }

    /// Fills the gradients with those of a step's examples, a few examples at a time.
    func accumulate(
        _ trainer: Trainer, _ batch: [Example], normaliser: Double
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
                between: stopIfCancelled)
        }
        return sums
    }
}
