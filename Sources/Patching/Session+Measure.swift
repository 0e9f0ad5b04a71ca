import CUnsay
import Support
import T5
import Tensors
import Training

/// How far the trained weights have come. Names as in `unsay_evaluation`.
package struct Evaluation: Sendable {
    package var goalMet = false
    package var guardHeld = true
    package var avoidPBefore = 0.0
    package var avoidPAfter = 0.0
    package var avoidPWorst = 0.0
    package var keepKL = 0.0
    package var guardKL = 0.0
    package var guardFlips = 0.0
    package var heldOutAvoidPBefore = 0.0
    package var heldOutAvoidPAfter = 0.0
    package var heldOutLoss = 0.0
    package var rootKL = 0.0
    package var rootFlips = 0.0
    /// Whether a weight differs from the model as it was when the session began.
    package var changed = false
    /// The step whose weights these are, 0 for those that the session began with; less of the way
    /// there where `fraction` is below 1.
    package var step = 0
    package var fraction = 1.0

    /// The first measure that is NaN or infinite, with its value.
    var notFinite: String? {
        let measures = [
            ("avoid_p_before", avoidPBefore), ("avoid_p_after", avoidPAfter),
            ("avoid_p_worst", avoidPWorst), ("keep_kl", keepKL), ("guard_kl", guardKL),
            ("held_out_avoid_p_before", heldOutAvoidPBefore),
            ("held_out_avoid_p_after", heldOutAvoidPAfter), ("held_out_loss", heldOutLoss),
            ("root_kl", rootKL),
        ]
        return measures.first { !$0.1.isFinite }.map { "\($0.0) is \($0.1)" }
    }

    package var json: JSON {
        .object([
            "goal_met": .bool(goalMet),
            "guard_held": .bool(guardHeld),
            "avoid_p_before": .number(avoidPBefore),
            "avoid_p_after": .number(avoidPAfter),
            "avoid_p_worst": .number(avoidPWorst),
            "keep_kl": .number(keepKL),
            "guard_kl": .number(guardKL),
            "guard_flips": .number(guardFlips),
            "held_out_avoid_p_before": .number(heldOutAvoidPBefore),
            "held_out_avoid_p_after": .number(heldOutAvoidPAfter),
            "held_out_loss": .number(heldOutLoss),
            "root_kl": .number(rootKL),
            "root_flips": .number(rootFlips),
            "changed": .bool(changed),
            "step": .number(Double(step)),
            "fraction": .number(fraction),
        ])
    }
}

/// An evaluation during a session.
struct Measurement {
    /// Optimizer steps before it.
    let step: Int
    let evaluation: Evaluation

    var json: JSON {
        .object(["step": .number(Double(step)), "evaluation": evaluation.json])
    }
}

extension Session {
    /// Compares the trained copy with the original on examples, held-out ones and guard.
    package func evaluate() throws -> Evaluation {
        try exclusively {
            _ = try prepare(needsExamples: false)
            return try measure()
        }
    }

    /// Measures the weights, unless that was done since they or the examples last changed.
    ///
    /// - Throws: `UNSAY_E_DIVERGED` if a measure is not finite: the session has gone back then.
    func measure() throws -> Evaluation {
        if let lastEvaluation, measuredCount == exampleCount { return lastEvaluation }
        let training = try ready()
        let trainer = training.trainer
        trainer.publish()
        var result = Evaluation()
        let trained = try drift(trainer, comparesExamples ? examples : [], \.original, original)
        (result.avoidPBefore, result.avoidPAfter) = (trained.avoidedBefore, trained.avoidedAfter)
        result.avoidPWorst = trained.avoidedWorst
        result.keepKL = trained.keptKL
        let unseen = try drift(trainer, comparesExamples ? heldOut : [], \.original, original)
        (result.heldOutAvoidPBefore, result.heldOutAvoidPAfter) = (
            unseen.avoidedBefore, unseen.avoidedAfter
        )
        let loss = try trainer.loss(of: heldOut, between: stopIfCancelled)
        let weight = loss.avoidedWeight + loss.keptWeight
        result.heldOutLoss = weight > 0 ? loss.loss / weight : 0
        let guarded = try drift(trainer, guards, \.original, original)
        (result.guardKL, result.guardFlips) = (guarded.keptKL, guarded.flips)
        if let root {
            let whole = try drift(trainer, guards, \.root, root)
            (result.rootKL, result.rootFlips) = (whole.keptKL, whole.flips)
        }
        result.changed = try trainer.weights.isChanged()
        (result.step, result.fraction) = (origin.step, origin.fraction)
        if let found = result.notFinite {
            defer { goBack(training) }
            throw try divergence(found, step: origin.step, training)
        }
        result.goalMet =
            trained.avoidedCount > 0 && result.avoidPWorst <= Double(options.maxAvoidP)
        result.guardHeld =
            result.guardKL <= Double(options.maxGuardKL)
            && result.guardFlips <= Double(options.maxGuardFlips)
            && (options.maxRootKL == 0 || result.rootKL <= Double(options.maxRootKL))
        (lastEvaluation, measuredCount) = (result, exampleCount)
        return result
    }

    /// Means over the tokens of some examples.
    private struct Drift {
        var avoidedBefore = 0.0, avoidedAfter = 0.0, avoidedWorst = 0.0
        var avoidedCount = 0
        var keptKL = 0.0, flips = 0.0
        var keptCount = 0
    }

    private func drift(
        _ trainer: Trainer, _ examples: [Example], _ key: KeyPath<Example, FloatBuffer?>,
        _ snapshot: WeightsSnapshot
    ) throws -> Drift {
        var drift = Drift()
        try trainer.compareMarked(
            examples, key, head: snapshot.network.head, between: stopIfCancelled
        ) { target, comparison in
            for probability in comparison.probabilities {
                drift.avoidedBefore += probability.before
                drift.avoidedAfter += probability.after
                // In this order a NaN is the worst, too.
                if !(probability.after <= drift.avoidedWorst) {
                    drift.avoidedWorst = probability.after
                }
                drift.avoidedCount += 1
            }
            if target.mark > 0 {
                drift.keptKL += comparison.kl
                drift.flips += comparison.isFlipped ? 1 : 0
                drift.keptCount += 1
            }
        }
        drift.avoidedBefore /= Double(max(drift.avoidedCount, 1))
        drift.avoidedAfter /= Double(max(drift.avoidedCount, 1))
        drift.keptKL /= Double(max(drift.keptCount, 1))
        drift.flips /= Double(max(drift.keptCount, 1))
        return drift
    }
}
