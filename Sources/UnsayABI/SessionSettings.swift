import CUnsay
import Patching
import Support

// The options of unsay.h's section 6 as Swift has them.

var sessionDefaults: unsay_session_options {
    let ours = SessionOptions()
    var options = unsay_session_options()
    options.struct_size = MemoryLayout<unsay_session_options>.size
    options.loss = ours.loss
    options.form = ours.form
    options.optimizer = ours.optimizer
    options.scope = ours.scope
    options.compute = UNSAY_COMPUTE_F32
    options.batch_size = Int32(ours.batchSize)
    options.micro_batch_size = Int32(ours.microBatchSize)
    options.alpha = ours.alpha
    options.retain = ours.retain
    options.learning_rate = ours.learningRate
    options.gradient_clip = ours.gradientClip
    options.max_avoid_p = ours.maxAvoidP
    options.max_guard_kl = ours.maxGuardKL
    options.max_guard_flips = ours.maxGuardFlips
    options.schedule = ours.schedule
    options.momentum = ours.momentum
    options.lora_alpha = ours.loraAlpha
    return options
}

@_cdecl("unsay_session_options_init") @implementation
public func unsay_session_options_init(
    _ options: UnsafeMutablePointer<unsay_session_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: sessionDefaults)
}

func sessionSettings(_ options: unsay_session_options) throws -> SessionOptions {
    var settings = SessionOptions()
    settings.precision = try precision(of: options.compute)
    guard settings.precision != .int8 else {
        throw Failure(
            UNSAY_E_ARGUMENT, "compute is UNSAY_COMPUTE_INT8; a session trains in _F32 or _BF16")
    }
    settings.loss = options.loss
    settings.form = options.form
    settings.optimizer = options.optimizer
    settings.schedule = options.schedule
    settings.scope = options.scope
    settings.tensors = try requireArray(
        options.tensors, options.tensor_count, "options.tensors"
    ).enumerated().map { try requireString($0.element, "options.tensors[\($0.offset)]") }
    settings.loraRank = Int(options.lora_rank)
    settings.loraAlpha = options.lora_alpha
    settings.batchSize = Int(options.batch_size)
    settings.microBatchSize = Int(options.micro_batch_size)
    settings.recompute = try flag(options.recompute, "recompute")
    settings.warmupSteps = Int(options.warmup_steps)
    settings.decaySteps = Int(options.decay_steps)
    settings.alpha = options.alpha
    settings.retain = options.retain
    settings.learningRate = options.learning_rate
    settings.momentum = options.momentum
    settings.weightDecay = options.weight_decay
    settings.zLoss = options.z_loss
    settings.dropout = options.dropout
    settings.gradientClip = options.gradient_clip
    settings.maxAvoidP = options.max_avoid_p
    settings.maxGuardKL = options.max_guard_kl
    settings.maxGuardFlips = options.max_guard_flips
    settings.maxRootKL = options.max_root_kl
    settings.seed = options.seed
    settings.keepsExamples = try flag(options.keep_examples, "keep_examples")
    settings.showsGradients = options.on_gradients != nil
    return settings
}

var runDefaults: unsay_run_options {
    let ours = RunOptions()
    var options = unsay_run_options()
    options.struct_size = MemoryLayout<unsay_run_options>.size
    options.max_steps = Int32(ours.maxSteps)
    options.evaluate_every = Int32(ours.evaluateEvery)
    options.select = ours.select
    return options
}

func runSettings(_ options: unsay_run_options) throws -> RunOptions {
    var run = RunOptions()
    run.maxSteps = Int(options.max_steps)
    run.evaluateEvery = Int(options.evaluate_every)
    run.patience = Int(options.patience)
    run.select = options.select
    run.statePath = try options.state_path.map { try requirePath($0, "options.state_path") }
    run.saveEvery = Int(options.save_every)
    return run
}
