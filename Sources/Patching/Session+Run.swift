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
    package var statePath: Path?
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
    var kept: KeptWeights
    /// Whether the guard held there: only the weights that a run begins with may lack that.
    var holdsGuard = true
    /// The lower the better; nil where only the last counts.
    var score: Double?
    /// Evaluations since then.
    var worse = 0
}

extension Session {
    /// Steps until the goal is met, the guard breaks, `maxSteps` are done, nothing improves any
    /// more or `onStep` says stop; none if the goal is met and the guard holds at the start.
    ///
    /// Of the evaluations at which the guard held, the weights return to the best; but the goal
    /// and the caller end a run with the weights of that moment. Where the guard breaks, the way
    /// back is halved, see `backtrack`. Whatever is no longer finite returns the weights to the
    /// best, too.
    ///
    /// - Parameter onStep: returns false to stop.
    package func run(
        _ run: RunOptions, onGradients: GradientsHook? = nil,
        onStep: (StepReport) throws -> Bool
    ) throws -> Ending {
        try run.validate()
        return try exclusively {
            let ending = try train(run, onGradients, onStep)
            lastEnding = ending
            return ending
        }
    }

    func train(
        _ run: RunOptions, _ onGradients: GradientsHook?, _ onStep: (StepReport) throws -> Bool
    ) throws -> Ending {
        let training = try prepare()
        lastGood = nil
        var best: BestWeights
        if let resumed = resumedBest {
            (best, resumedBest) = (resumed, nil)
        } else {
            let evaluation = try measure()
            let score = try score(evaluation, run.select)
            if history.isEmpty { history.append(Measurement(step: steps, evaluation: evaluation)) }
            if evaluation.goalMet, evaluation.guardHeld { return .goal }
            best = BestWeights(
                kept: try keptWeights(training), holdsGuard: evaluation.guardHeld,
                score: evaluation.guardHeld ? score : nil)
        }
        for count in stride(from: 1, through: run.maxSteps, by: 1) {
            do {
                let report = try takeStep(training, onGradients)
                guard try onStep(report) else { return .caller }
                let isDue = steps % run.evaluateEvery == 0 || count == run.maxSteps
                if isDue, let ending = try judge(&best, training, run) { return ending }
            } catch {
                let isLost = (error as? Failure)?.status == UNSAY_E_DIVERGED
                if isLost || isMoving { restore(best.kept, training) }
                throw error
            }
            if let path = run.statePath, steps % run.saveEvery == 0 {
                try writeState(training, best, to: path)
            }
        }
        if best.kept.origin != origin { restore(best.kept, training) }
        return .steps
    }

    /// Measures the weights as they are now.
    ///
    /// - Returns: how they end the run; nil to go on.
    private func judge(
        _ best: inout BestWeights, _ training: Training, _ run: RunOptions
    ) throws -> Ending? {
        let evaluation = try measure()
        history.append(Measurement(step: steps, evaluation: evaluation))
        guard evaluation.guardHeld else { return try backtrack(to: best, training, run) }
        if evaluation.goalMet { return .goal }
        let score = try score(evaluation, run.select)
        if isBetter(score, than: best.score) {
            best.kept = try keptWeights(training, in: best.kept.values)
            (best.holdsGuard, best.score, best.worse) = (true, score, 0)
        } else {
            best.worse += 1
        }
        guard run.patience > 0, best.worse >= run.patience else { return nil }
        restore(best.kept, training)
        return .patience
    }

    /// Whether weights come before others. Where only the last count, they always do.
    func isBetter(_ score: Double?, than least: Double?) -> Bool {
        guard let score, let least else { return true }
        return score < least
    }

    /// What is to be small; nil where only the last weights count.
    func score(_ evaluation: Evaluation, _ select: unsay_select) throws -> Double? {
        func avoids(_ examples: [Example]) -> Bool {
            examples.contains { $0.targets.contains { !$0.avoided.isEmpty } }
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
}
