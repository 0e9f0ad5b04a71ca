import CUnsay
import Support
import Tensors
import Training

/// What a run does where the guard breaks.
extension Session {
    /// How often the way back is halved, each time at the price of an evaluation. KL grows as the
    /// square of a small change: 8 halvings suffice where it was 65,536 times too high.
    private static let halvings = 8

    /// Looks for weights that hold the guard on the way from those that broke it back to the best:
    /// half of the way, a quarter, and so on, as a backtracking line search does. Stays at the
    /// first that hold it and are better than the best, else returns to the best.
    ///
    /// - Returns: how the run ends: by its goal if the weights that it stays at meet that.
    func backtrack(
        to best: BestWeights, _ training: Training, _ run: RunOptions
    ) throws -> Ending {
        var fraction = 1.0
        // Without good weights at the end of the way there is nothing to look for.
        for _ in 0..<(best.holdsGuard ? Self.halvings : 0) {
            fraction /= 2
            halveWay(to: best.kept.values, training.values)
            origin = WeightsOrigin(step: steps, fraction: fraction)
            lastEvaluation = nil
            let evaluation = try measure()
            history.append(Measurement(step: steps, evaluation: evaluation))
            guard evaluation.guardHeld else { continue }
            let score = try score(evaluation, run.select)
            if evaluation.goalMet || isBetter(score, than: best.score) {
                training.optimizer.reset()
                return evaluation.goalMet ? .goal : .guardrail
            }
        }
        restore(best.kept, training)
        return .guardrail
    }

    /// Moves weights half of the way to `end`; those that are there already keep their bits.
    private func halveWay(to end: FloatBuffer, _ weights: FloatBuffer) {
        for i in 0..<weights.count {
            weights.base[i] = end.base[i] + (weights.base[i] - end.base[i]) * 0.5
        }
    }
}
