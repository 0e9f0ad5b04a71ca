import CUnsay
import Support
import T5
import Tensors
import Training

/// What a session trains with. Names and defaults as in `unsay_session_options`.
package struct SessionOptions: Sendable {
    package var loss = UNSAY_LOSS_FF
    package var form = UNSAY_LOSS_EXACT
    package var optimizer = UNSAY_OPTIMIZER_ADAMW
    package var schedule = UNSAY_SCHEDULE_LINEAR
    package var scope = UNSAY_SCOPE_AUTO
    /// The weights of `UNSAY_SCOPE_TENSORS`.
    package var tensors: [String] = []
    /// 0: weights are trained themselves.
    package var loraRank = 0
    package var loraAlpha: Float = 16
    package var batchSize = 16
    /// Examples in memory at once; 0: the whole batch.
    package var microBatchSize = 0
    package var recompute = false
    /// Of the products of a step; the weights themselves stay float32.
    package var precision = Precision.float32
    package var warmupSteps = 0
    package var decaySteps = 0
    package var alpha: Float = 4
    package var retain: Float = 0
    /// 0: what suits optimizer and scope.
    package var learningRate: Float = 0
    /// Of SGD.
    package var momentum: Float = 0.9
    package var weightDecay: Float = 0
    package var zLoss: Float = 0
    package var dropout: Float = 0
    /// Of the global norm of all gradients; 0: no clipping.
    package var gradientClip: Float = 1
    package var maxAvoidP: Float = 0.01
    package var maxGuardKL: Float = 0.05
    package var maxGuardFlips: Float = 0.02
    /// Against the root model; 0: no limit.
    package var maxRootKL: Float = 0
    package var seed: UInt64 = 0
    /// Whether deltas carry the examples.
    package var keepsExamples = false
    /// Whether every step will come with a gradients hook; a step that does without is right, too.
    package var showsGradients = false

    package init() {}

    var lossSettings: LossSettings {
        get throws {
            LossSettings(
                columns: try LossColumns(loss, form), alpha: alpha, retain: retain, zLoss: zLoss)
        }
    }

    /// The scope that `UNSAY_SCOPE_AUTO` stands for.
    var effectiveScope: unsay_scope {
        guard scope == UNSAY_SCOPE_AUTO else { return scope }
        return loraRank > 0 || loss == UNSAY_LOSS_LIKELIHOOD ? UNSAY_SCOPE_ALL : UNSAY_SCOPE_TOKENS
    }

    /// Whether nothing below the output head is trained, whatever the examples.
    var trainsHeadAlone: Bool {
        effectiveScope == UNSAY_SCOPE_TOKENS || effectiveScope == UNSAY_SCOPE_HEAD
    }

    /// What brought the most on debsum (docs/results.md); of Adafactor, the paper's.
    private var effectiveRate: Float {
        if learningRate > 0 { return learningRate }
        if effectiveScope == UNSAY_SCOPE_TOKENS { return 1e-2 }
        switch optimizer {
        case UNSAY_OPTIMIZER_ADAFACTOR: return 1e-3
        case UNSAY_OPTIMIZER_SGD: return 1e-2
        default: return 1e-4
        }
    }

    var rates: Schedule {
        let kind: Schedule.Kind =
            schedule == UNSAY_SCHEDULE_INVERSE_SQRT
            ? .inverseSquareRoot : decaySteps > 0 ? .linear(decaySteps: decaySteps) : .constant
        return Schedule(peak: effectiveRate, warmupSteps: warmupSteps, kind: kind)
    }

    /// Whether a step needs the gradients of all weights at once: to clip them, to add up those
    /// of several micro-batches, or to show them.
    var holdsGradients: Bool {
        gradientClip > 0 || showsGradients || (1..<batchSize).contains(microBatchSize)
    }

    var trainerOptions: TrainerOptions {
        TrainerOptions(
            dropout: dropout, recomputes: recompute, precision: precision, seed: seed)
    }

    /// - Parameter avoided: the ids that are avoided somewhere, for `UNSAY_SCOPE_TOKENS`.
    func layout(_ base: ParameterLayout, avoided: [Int32]) throws -> TrainedLayout {
        let scope: Scope =
            switch effectiveScope {
            case UNSAY_SCOPE_DECODER: .decoder
            case UNSAY_SCOPE_CROSS_ATTENTION: .crossAttention
            case UNSAY_SCOPE_FEED_FORWARD: .feedForward
            case UNSAY_SCOPE_HEAD: .head
            case UNSAY_SCOPE_TOKENS: .tokens(avoided)
            case UNSAY_SCOPE_TENSORS: .tensors(tensors)
            default: .all
            }
        return try TrainedLayout(base, scope: scope, rank: loraRank, alpha: loraAlpha)
    }

    /// - Throws: `UNSAY_E_ARGUMENT` naming the option, its value and its range.
    package func validate() throws {
        _ = try LossColumns(loss, form)
        try require(
            optimizer.rawValue <= UNSAY_OPTIMIZER_SGD.rawValue, "optimizer", optimizer.rawValue,
            "one of unsay_optimizer")
        try require(
            schedule.rawValue <= UNSAY_SCHEDULE_INVERSE_SQRT.rawValue, "schedule",
            schedule.rawValue, "one of unsay_schedule")
        try require(
            scope.rawValue <= UNSAY_SCOPE_AUTO.rawValue, "scope", scope.rawValue,
            "one of unsay_scope")
        try require(
            (scope == UNSAY_SCOPE_TENSORS) == !tensors.isEmpty, "tensor_count", tensors.count,
            "above 0 with UNSAY_SCOPE_TENSORS, 0 without")
        try require(
            loraRank >= 0 && loraRank <= 4096, "lora_rank", loraRank, "0 (off) to 4096")
        try require(
            loraRank == 0 || scope != UNSAY_SCOPE_TOKENS && scope != UNSAY_SCOPE_HEAD, "lora_rank",
            loraRank, "0 with a scope that holds no projection of a block")
        try require(
            loraAlpha > 0 && loraAlpha.isFinite, "lora_alpha", loraAlpha, "above 0")
        let counts = [
            ("batch_size", batchSize, 1), ("micro_batch_size", microBatchSize, 0),
            ("warmup_steps", warmupSteps, 0), ("decay_steps", decaySteps, 0),
        ]
        for (name, count, least) in counts {
            // An int32_t in unsay.h: sums and products of such counts are far from overflow.
            let range = least...Int(Int32.max)
            try require(range.contains(count), name, count, "in \(range)")
        }
        try require(alpha >= 0 && alpha.isFinite, "alpha", alpha, "0 or more")
        try require(retain >= 0 && retain <= 1, "retain", retain, "in 0...1")
        try require(
            learningRate >= 0 && learningRate.isFinite, "learning_rate", learningRate,
            "0 (automatic) or more")
        try require(momentum >= 0 && momentum < 1, "momentum", momentum, "in 0..<1")
        try require(
            weightDecay >= 0 && weightDecay.isFinite, "weight_decay", weightDecay, "0 or more")
        try require(zLoss >= 0 && zLoss.isFinite, "z_loss", zLoss, "0 or more")
        try require(dropout >= 0 && dropout < 1, "dropout", dropout, "in 0..<1")
        try require(
            gradientClip >= 0 && gradientClip.isFinite, "gradient_clip", gradientClip,
            "0 (off) or more")
        try require(maxAvoidP >= 0 && maxAvoidP <= 1, "max_avoid_p", maxAvoidP, "in 0...1")
        try require(maxGuardKL >= 0, "max_guard_kl", maxGuardKL, "0 or more")
        try require(
            maxGuardFlips >= 0 && maxGuardFlips <= 1, "max_guard_flips", maxGuardFlips, "in 0...1")
        try require(maxRootKL >= 0, "max_root_kl", maxRootKL, "0 (no limit) or more")
    }

    private func require(
        _ holds: Bool, _ name: String, _ value: some CustomStringConvertible, _ range: String
    ) throws {
        guard holds else {
            throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be \(range)")
        }
    }

    /// As one JSON object, every option that is no model and no callback: what a delta and a saved
    /// session say about how they came to be. An infinite limit is null once it is written.
    var json: [String: JSON] {
        [
            "loss": .string(Self.losses[Int(loss.rawValue)]),
            "form": .string(form == UNSAY_LOSS_PUBLISHED ? "published" : "exact"),
            "optimizer": .string(Self.optimizers[Int(optimizer.rawValue)]),
            "schedule": .string(schedule == UNSAY_SCHEDULE_LINEAR ? "linear" : "inverse_sqrt"),
            "scope": .string(Self.scopes[Int(effectiveScope.rawValue)]),
            "tensors": .array(tensors.map { .string($0) }),
            "lora_rank": .number(Double(loraRank)),
            "lora_alpha": .number(Double(loraAlpha)),
            "batch_size": .number(Double(batchSize)),
            "micro_batch_size": .number(Double(microBatchSize)),
            "recompute": .bool(recompute),
            "compute": .string(precision == .bf16 ? "bf16" : "f32"),
            "warmup_steps": .number(Double(warmupSteps)),
            "decay_steps": .number(Double(decaySteps)),
            "alpha": .number(Double(alpha)),
            "retain": .number(Double(retain)),
            "learning_rate": .number(Double(effectiveRate)),
            "momentum": .number(Double(momentum)),
            "weight_decay": .number(Double(weightDecay)),
            "z_loss": .number(Double(zLoss)),
            "dropout": .number(Double(dropout)),
            "gradient_clip": .number(Double(gradientClip)),
            "max_avoid_p": .number(Double(maxAvoidP)),
            "max_guard_kl": .number(Double(maxGuardKL)),
            "max_guard_flips": .number(Double(maxGuardFlips)),
            "max_root_kl": .number(Double(maxRootKL)),
            // A string: JSON's numbers do not hold every 64-bit integer.
            "seed": .string(String(seed)),
            "keep_examples": .bool(keepsExamples),
        ]
    }

    static let losses = ["likelihood", "ff", "rr", "rf", "fll", "rll", "ul", "nl"]
    static let optimizers = ["adamw", "adafactor", "sgd"]
    static let scopes = [
        "all", "decoder", "cross_attention", "head", "feed_forward", "tokens", "tensors",
        "auto",
    ]
}
