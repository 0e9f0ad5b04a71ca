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
    /// Whether a loss, measure or weight was no longer finite.
    package var diverged = false
}

extension Session {
    /// Trains every pair of a learning rate and an alpha from where the session stands, and
    /// keeps the weights of the best: of those whose guard holds and that changed something, or
    /// had met the goal already, the one that `run.select` scores lowest; of equals the first.
    ///
    /// - Parameters:
    ///   - rates, alphas: empty for the session's own.
    ///   - onTrial: called after each; returns false to stop.
    /// - Returns: every trial, and which was chosen: nil if there is none such; then the weights
    ///   are as before.
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
            let start = try keptWeights(training)
            var best = try keptWeights(training)
            let settings = options
            let (firstStep, firstOrder, firstHistory) = (steps, order, history)
            var chosen: (index: Int, score: Double?)?
            var trials: [Trial] = []
            func begin(_ weights: KeptWeights, _ options: SessionOptions) throws {
                restore(weights, training)
                (steps, order, history) = (firstStep, firstOrder, firstHistory)
                // What was measured with other options, and the best of a run that was saved, are
                // of no trial.
                (lastEvaluation, resumedBest) = (nil, nil)
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
                        let isFirst = chosen == nil
                        if isCandidate(trial, training, from: start),
                            isFirst || score != nil && isBetter(score, than: chosen?.score)
                        {
                            chosen = (trials.count, score)
                            best = try keptWeights(training, in: best.values)
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

    /// Whether a trial may be chosen: the guard holds, and there is something to choose, for its
    /// weights are not those it began with, or these meet the goal.
    private func isCandidate(
        _ trial: Trial, _ training: Training, from start: KeptWeights
    ) -> Bool {
        let moved = !training.values.isEqual(to: start.values)
        return trial.evaluation.guardHeld && (moved || trial.evaluation.goalMet)
    }

    private func check(_ change: (inout SessionOptions) -> Void) throws {
        var changed = options
        change(&changed)
        try changed.validate()
    }
}
