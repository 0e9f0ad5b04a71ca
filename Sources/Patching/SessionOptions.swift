import CUnsay
import Support
import T5
import Training

/// What a session trains with. Names and defaults as in `unsay_session_options`.
package struct SessionOptions: Sendable {
    package var loss = UNSAY_LOSS_FF
    package var form = UNSAY_LOSS_EXACT
    package var batchSize = 8
    /// Examples in memory at once; 0: the whole batch.
    package var microBatchSize = 0
    package var warmupSteps = 0
    package var decaySteps = 0
    package var alpha: Float = 1
    package var retain: Float = 0
    package var learningRate: Float = 1e-4
    package var weightDecay: Float = 0
    package var zLoss: Float = 0
    /// Of the global norm of all gradients; 0: no clipping.
    package var gradientClip: Float = 1
    package var maxAvoidP: Float = 0.01
    package var maxGuardKL: Float = 0.05
    package var maxGuardFlips: Float = 0.02
    package var seed: UInt64 = 0

    package init() {}

    package var lossSettings: LossSettings {
        get throws {
            LossSettings(
                columns: try LossColumns(loss, form), alpha: alpha, retain: retain, zLoss: zLoss)
        }
    }

    /// - Throws: `UNSAY_E_ARGUMENT` naming the option, its value and its range.
    package func validate() throws {
        _ = try LossColumns(loss, form)
        try require(batchSize >= 1, "batch_size", batchSize, "at least 1")
        try require(microBatchSize >= 0, "micro_batch_size", microBatchSize, "0 (all) or more")
        try require(warmupSteps >= 0, "warmup_steps", warmupSteps, "0 or more")
        try require(decaySteps >= 0, "decay_steps", decaySteps, "0 (constant) or more")
        try require(alpha >= 0 && alpha.isFinite, "alpha", alpha, "0 or more")
        try require(retain >= 0 && retain <= 1, "retain", retain, "in 0...1")
        try require(
            learningRate >= 0 && learningRate.isFinite, "learning_rate", learningRate, "0 or more")
        try require(
            weightDecay >= 0 && weightDecay.isFinite, "weight_decay", weightDecay, "0 or more")
        try require(zLoss >= 0 && zLoss.isFinite, "z_loss", zLoss, "0 or more")
        try require(
            gradientClip >= 0 && gradientClip.isFinite, "gradient_clip", gradientClip,
            "0 (off) or more")
        try require(maxAvoidP >= 0 && maxAvoidP <= 1, "max_avoid_p", maxAvoidP, "in 0...1")
        try require(maxGuardKL >= 0, "max_guard_kl", maxGuardKL, "0 or more")
        try require(
            maxGuardFlips >= 0 && maxGuardFlips <= 1, "max_guard_flips", maxGuardFlips, "in 0...1")
    }

    private func require(
        _ holds: Bool, _ name: String, _ value: some CustomStringConvertible, _ range: String
    ) throws {
        guard holds else {
            throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be \(range)")
        }
    }
}

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

package enum Ending: Sendable { case steps, goal, guardrail, caller }

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
}
