import CUnsay
import Support
import Tensors
import Training

/// One setting of a sweep and how far it came. Names as in `unsay_trial`.
package struct Trial: Sendable {
    package let learningRate: Float
    package let alpha: Float
    package var ending = Ending.steps
    package var steps = 0
    package var evaluation = Evaluation()
    /// Whether the loss or a weight became infinite.
    package var diverged = false
}

extension Session {
    /// Trains every pair of a learning rate and an alpha from where the session stands, and
    /// keeps the weights of the best: of those whose guard holds, the one that `run.select`
    /// scores lowest; of equals the first.
    ///
    /// - Parameters:
    ///   - rates, alphas: empty for the session's own.
    ///   - onTrial: called after each; returns false to stop.
    /// - Returns: every trial, and which was chosen: nil if none held the guard; then the
    ///   weights are as before.
    package func sweep(
        rates: [Float], alphas: [Float], _ run: RunOptions, onGradients: GradientsHook? = nil,
        onStep: (StepReport) throws -> Bool, onTrial: (Trial) throws -> Bool
    ) throws -> (trials: [Trial], chosen: Int?) {
        try run.validate()
        let rates = rates.isEmpty ? [options.learningRate] : rates
        let alphas = alphas.isEmpty ? [options.alpha] : alphas
        for rate in rates { try check { $0.learningRate = rate } }
        for alpha in alphas { try check { $0.alpha = alpha } }
        return try exclusively {
            let training = try prepare()
            let start = try copy(of: training.values)
            let best = try copy(of: training.values)
            let settings = options
            let (firstStep, firstOrder, firstHistory) = (steps, order, history)
            var chosen: (index: Int, score: Double?)?
            var trials: [Trial] = []
            func begin(_ values: FloatBuffer, _ options: SessionOptions) throws {
                training.values.base.update(from: values.base, count: values.count)
                training.trainer.publish()
                training.optimizer.reset()
                (steps, order, history) = (firstStep, firstOrder, firstHistory)
                lastEvaluation = nil
                self.options = options
                training.trainer.settings = try options.lossSettings
            }
            func end() throws {
                var final = settings
                if let chosen {
                    final.learningRate = trials[chosen.index].learningRate
                    final.alpha = trials[chosen.index].alpha
                }
                try begin(best, final)
                lastEvaluation = chosen.map { trials[$0.index].evaluation }
                if let chosen {
                    steps += trials[chosen.index].steps
                    history.append(
                        Measurement(step: steps, evaluation: trials[chosen.index].evaluation))
                }
            }
            do {
                for rate in rates {
                    for alpha in alphas {
                        var trial = Trial(learningRate: rate, alpha: alpha)
                        var options = settings
                        (options.learningRate, options.alpha) = (rate, alpha)
                        try begin(start, options)
                        do {
                            trial.ending = try train(run, onGradients, onStep)
                        } catch let failure as Failure where failure.status == UNSAY_E_DIVERGED {
                            trial.diverged = true
                        }
                        trial.steps = steps - firstStep
                        trial.evaluation = try measure()
                        let score = try score(trial.evaluation, run.select)
                        if trial.evaluation.guardHeld, isBetter(score, than: chosen) {
                            chosen = (trials.count, score)
                            best.base.update(from: training.values.base, count: best.count)
                        }
                        trials.append(trial)
                        guard try onTrial(trial), trial.ending != .caller else {
                            try end()
                            return (trials, chosen?.index)
                        }
                    }
                }
            } catch {
                chosen = nil
                try begin(start, settings)
                throw error
            }
            try end()
            return (trials, chosen?.index)
        }
    }

    private func isBetter(_ score: Double?, than chosen: (index: Int, score: Double?)?) -> Bool {
        guard let chosen else { return true }
        guard let score, let least = chosen.score else { return false }
        return score < least
    }

    private func copy(of values: FloatBuffer) throws -> FloatBuffer {
        let copy = try FloatBuffer(count: values.count)
        copy.base.update(from: values.base, count: values.count)
        return copy
    }

    private func check(_ change: (inout SessionOptions) -> Void) throws {
        var changed = options
        change(&changed)
        try changed.validate()
    }
}
