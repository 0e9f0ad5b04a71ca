import CUnsay
import Support
import Tensors
import Training

/// How long a run goes on. Names and defaults as in `unsay_run_options`.
package struct RunOptions: Sendable {
    package var maxSteps = 60
    /// Counted over all steps of the session.
    package var evaluateEvery = 5
    /// Evaluations without a better one before the run ends; 0: no limit.
    package var patience = 0
    package var select = UNSAY_SELECT_AVOID_P
    /// Where the session is saved every `saveEvery` steps; nil: nowhere.
    package var statePath: String?
    package var saveEvery = 0

    package init() {}

    /// - Throws: `UNSAY_E_ARGUMENT` naming the option, its value and its range.
    func validate() throws {
        func require(_ holds: Bool, _ name: String, _ value: Int, _ range: String) throws {
            guard holds else {
                throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be \(range)")
            }
        }
        let counts = [
            ("max_steps", maxSteps, 0), ("evaluate_every", evaluateEvery, 1),
            ("patience", patience, 0), ("save_every", saveEvery, 0),
        ]
        for (name, count, least) in counts {
            let range = least...Int(Int32.max)
            try require(range.contains(count), name, count, "in \(range)")
        }
        try require(
            select.rawValue <= UNSAY_SELECT_LAST.rawValue, "select", Int(select.rawValue),
            "one of unsay_select")
        guard (saveEvery > 0) == (statePath != nil) else {
            throw Failure(UNSAY_E_ARGUMENT, "state_path and save_every go together")
        }
    }
}

package enum Ending: Sendable { case steps, goal, guardrail, caller, patience }

/// The best weights of a run so far.
struct BestWeights {
    let values: FloatBuffer
    var step: Int
    /// The lower the better; nil where only the last counts.
    var score: Double?
    /// Evaluations since then.
    var worse = 0
}

extension Session {
    /// Steps until the goal is met, the guard breaks, `maxSteps` are done, nothing improves any
    /// more or `onStep` says stop.
    ///
    /// Of the evaluations at which the guard held, the weights return to the best; but the goal
    /// and the caller end a run with the weights of that moment. They return to it, too, where
    /// the guard breaks or the loss is no longer finite.
    ///
    /// - Parameter onStep: returns false to stop.
    package func run(
        _ run: RunOptions, onGradients: GradientsHook? = nil,
        onStep: (StepReport) throws -> Bool
    ) throws -> Ending {
        try run.validate()
        return try exclusively { try train(run, onGradients, onStep) }
    }

    func train(
        _ run: RunOptions, _ onGradients: GradientsHook?, _ onStep: (StepReport) throws -> Bool
    ) throws -> Ending {
        let training = try prepare()
        var best = try resumedBest ?? beginning(training, run)
        resumedBest = nil
        for count in stride(from: 1, through: run.maxSteps, by: 1) {
            do {
                let report = try takeStep(training, onGradients)
                guard try onStep(report) else { return .caller }
            } catch let failure as Failure where failure.status == UNSAY_E_DIVERGED {
                restore(best, training)
                throw failure
            }
            if steps % run.evaluateEvery == 0 || count == run.maxSteps {
                let evaluation = try measure()
                history.append(Measurement(step: steps, evaluation: evaluation))
                guard evaluation.guardHeld else {
                    restore(best, training)
                    return .guardrail
                }
                if evaluation.goalMet { return .goal }
                consider(evaluation, for: &best, training, run)
                if run.patience > 0, best.worse >= run.patience {
                    restore(best, training)
                    return .patience
                }
            }
            if let path = run.statePath, steps % run.saveEvery == 0 {
                try writeState(training, best, to: path)
            }
        }
        if best.step != steps { restore(best, training) }
        return .steps
    }

    private func beginning(_ training: Training, _ run: RunOptions) throws -> BestWeights {
        let evaluation = try measure()
        if history.isEmpty { history.append(Measurement(step: steps, evaluation: evaluation)) }
        let values = try FloatBuffer(count: training.values.count)
        values.base.update(from: training.values.base, count: values.count)
        return BestWeights(values: values, step: steps, score: try score(evaluation, run.select))
    }

    private func consider(
        _ evaluation: Evaluation, for best: inout BestWeights, _ training: Training,
        _ run: RunOptions
    ) {
        let score = try? score(evaluation, run.select)
        if let score, let least = best.score, score >= least {
            best.worse += 1
            return
        }
        best.values.base.update(from: training.values.base, count: best.values.count)
        (best.step, best.score, best.worse) = (steps, score, 0)
    }

    /// What is to be small; nil where only the last weights count.
    func score(_ evaluation: Evaluation, _ select: unsay_select) throws -> Double? {
        func avoids(_ examples: [Example]) -> Bool {
            examples.contains { $0.targets.contains { $0.mark < 0 } }
        }
        switch select {
        case UNSAY_SELECT_AVOID_P:
            if avoids(heldOut) { return evaluation.heldOutAvoidPAfter }
            if avoids(examples) { return evaluation.avoidPAfter }
            return heldOut.isEmpty ? nil : evaluation.heldOutLoss
        case UNSAY_SELECT_LOSS:
            guard !heldOut.isEmpty else {
                throw Failure(
                    UNSAY_E_STATE,
                    "UNSAY_SELECT_LOSS needs held-out examples: add some with "
                        + "unsay_session_add_held_out")
            }
            return evaluation.heldOutLoss
        default: return nil
        }
    }

    func restore(_ best: BestWeights, _ training: Training) {
        training.values.base.update(from: best.values.base, count: best.values.count)
        training.trainer.publish()
        training.optimizer.reset()
        lastEvaluation = nil
    }
}
