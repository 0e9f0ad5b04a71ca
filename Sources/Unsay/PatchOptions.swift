import CUnsay
import Models
import Patching

/// What is trained on: for avoided, then for kept tokens. docs/patching.md has the formulas.
public enum Loss: UInt32, Sendable {
    case likelihood = 0
    case ff = 1
    case rr = 2
    case rf = 3
    case fll = 4
    case rll = 5
    case ul = 6
    case nl = 7
}

/// `exact` is mathematics; `published` follows the method's reference code to the digit.
public enum LossForm: UInt32, Sendable {
    case exact = 0
    case published = 1
}

public enum Optimizer: UInt32, Sendable {
    case adamW = 0
    case adafactor = 1
    case sgd = 2
}

/// What the learning rate does after rising over `warmupSteps`.
public enum Schedule: UInt32, Sendable {
    /// To 0 over `decaySteps`; stays if that is 0.
    case linear = 0
    /// Times the root of warmupSteps / step.
    case inverseSqrt = 1
}

/// What may change.
public enum Scope: Sendable, Equatable {
    case all
    case decoder
    case crossAttention
    case head
    case feedForward
    /// Of the head, the rows of avoided tokens alone.
    case tokens
    /// Those whose names match one of these; `*` is any text.
    case tensors([String])
    /// `tokens`, or `all` with factors or likelihood.
    case auto

    var value: unsay_scope {
        switch self {
        case .all: UNSAY_SCOPE_ALL
        case .decoder: UNSAY_SCOPE_DECODER
        case .crossAttention: UNSAY_SCOPE_CROSS_ATTENTION
        case .head: UNSAY_SCOPE_HEAD
        case .feedForward: UNSAY_SCOPE_FEED_FORWARD
        case .tokens: UNSAY_SCOPE_TOKENS
        case .tensors: UNSAY_SCOPE_TENSORS
        case .auto: UNSAY_SCOPE_AUTO
        }
    }
}

/// How a patch is trained and when it is allowed. Names, meanings and defaults are those of
/// `unsay_session_options`.
public struct PatchOptions: Sendable {
    public var loss = Loss.ff
    public var form = LossForm.exact
    public var optimizer = Optimizer.adamW
    public var scope = Scope.auto
    /// `.bf16` rounds what training steps multiply; `.int8` is refused.
    public var compute = Compute.f32
    /// Examples per step.
    public var batchSize = 16
    /// Examples in memory at once; 0 for all.
    public var microBatchSize = 0
    public var warmupSteps = 0
    public var decaySteps = 0
    /// The weight of avoided tokens.
    public var alpha: Float = 4
    /// The share of its probability that an avoided token keeps.
    public var retain: Float = 0
    /// 0 for what suits optimizer and scope.
    public var learningRate: Float = 0
    /// Pulls towards the reference.
    public var weightDecay: Float = 0
    public var zLoss: Float = 0
    public var dropout: Float = 0
    /// Of the global norm; 0 for none.
    public var gradientClip: Float = 1
    /// The goal: every avoided token below.
    public var maxAvoidP: Float = 0.01
    /// The guard's limit, nats per token.
    public var maxGuardKL: Float = 0.05
    /// The guard's limit, share of greedy tokens.
    public var maxGuardFlips: Float = 0.02
    /// Layers run again in the backward pass: less memory, a third more time.
    public var recompute = false
    /// The order of examples, dropout, factors.
    public var seed: UInt64 = 0
    public var schedule = Schedule.linear
    /// Of SGD.
    public var momentum: Float = 0.9
    /// 0 for off.
    public var loraRank = 0
    public var loraAlpha: Float = 16
    /// What avoided and kept tokens are compared with; nil for the model as it is now.
    public var reference: Model?
    /// What drift is counted from over many patches.
    public var root: Model?
    /// The limit on guard pairs against the root; 0 for none.
    public var maxRootKL: Float = 0
    /// Whether deltas carry the examples, for ``Delta/rebase(on:)``.
    public var keepExamples = false

    /// The defaults, changed by `change`.
    public init(_ change: (inout PatchOptions) -> Void = { _ in }) { change(&self) }

    var settings: SessionOptions {
        get throws {
            guard compute != .int8 else {
                throw Failure(.argument, "compute is int8; a patch trains in f32 or bf16")
            }
            var settings = SessionOptions()
            settings.loss = unsay_loss(loss.rawValue)
            settings.form = unsay_loss_form(form.rawValue)
            settings.optimizer = unsay_optimizer(optimizer.rawValue)
            settings.schedule = unsay_schedule(schedule.rawValue)
            settings.scope = scope.value
            if case .tensors(let names) = scope { settings.tensors = names }
            settings.precision = compute.precision
            settings.batchSize = try narrow(batchSize, "batch_size")
            settings.microBatchSize = try narrow(microBatchSize, "micro_batch_size")
            settings.warmupSteps = try narrow(warmupSteps, "warmup_steps")
            settings.decaySteps = try narrow(decaySteps, "decay_steps")
            settings.alpha = alpha
            settings.retain = retain
            settings.learningRate = learningRate
            settings.weightDecay = weightDecay
            settings.zLoss = zLoss
            settings.dropout = dropout
            settings.gradientClip = gradientClip
            settings.maxAvoidP = maxAvoidP
            settings.maxGuardKL = maxGuardKL
            settings.maxGuardFlips = maxGuardFlips
            settings.recompute = recompute
            settings.seed = seed
            settings.momentum = momentum
            settings.loraRank = try narrow(loraRank, "lora_rank")
            settings.loraAlpha = loraAlpha
            settings.maxRootKL = maxRootKL
            settings.keepsExamples = keepExamples
            return settings
        }
    }
}

/// Which evaluation of a run, of those at which the guard held, is the best.
public enum Select: UInt32, Sendable {
    /// The lowest mean probability of avoided tokens, held-out ones if there are any.
    case avoidP = 0
    /// The lowest loss on held-out examples.
    case loss = 1
    case last = 2
}

/// How long a run goes on. Names, meanings and defaults are those of `unsay_run_options`.
public struct RunOptions: Sendable {
    public var maxSteps = 60
    /// Steps between evaluations.
    public var evaluateEvery = 5
    /// Evaluations without a better one that end the run; 0 for no limit.
    public var patience = 0
    public var select = Select.avoidP
    /// Where the patch is saved every `saveEvery` steps; nil for nowhere.
    public var statePath: (any PathSpelling)?
    public var saveEvery = 0

    /// The defaults, changed by `change`.
    public init(_ change: (inout RunOptions) -> Void = { _ in }) { change(&self) }

    var settings: Patching.RunOptions {
        get throws {
            var run = Patching.RunOptions()
            run.maxSteps = try narrow(maxSteps, "max_steps")
            run.evaluateEvery = try narrow(evaluateEvery, "evaluate_every")
            run.patience = try narrow(patience, "patience")
            run.select = unsay_select(select.rawValue)
            run.statePath = statePath?.path
            run.saveEvery = try narrow(saveEvery, "save_every")
            return run
        }
    }
}
