import CUnsay
import Models
import Patching
import Support
import Training

// Section 6 of unsay.h: sessions.

/// What a `unsay_session` points at: the session, and the caller's gradients callback.
final class SessionHandle: @unchecked Sendable {
    let session: Session
    let onGradients: ((UnsafeMutableBufferPointer<Float>) throws -> Void)?

    init(_ session: Session, _ options: unsay_session_options) {
        self.session = session
        let context = options.context
        onGradients = options.on_gradients.map { callback in
            { gradients in
                guard callback(context, gradients.baseAddress, gradients.count) == UNSAY_CONTINUE
                else { throw Failure(UNSAY_E_CANCELLED, "on_gradients stopped the step") }
            }
        }
    }
}

private func session(_ handle: OpaquePointer?) throws -> Session {
    try object(handle, SessionHandle.self, "session").session
}

private var sessionDefaults: unsay_session_options {
    let ours = SessionOptions()
    var options = unsay_session_options()
    options.struct_size = MemoryLayout<unsay_session_options>.size
    options.loss = ours.loss
    options.form = ours.form
    options.optimizer = UNSAY_OPTIMIZER_ADAMW
    options.scope = UNSAY_SCOPE_ALL
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
    return options
}

@_cdecl("unsay_session_options_init") @implementation
public func unsay_session_options_init(
    _ options: UnsafeMutablePointer<unsay_session_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: sessionDefaults)
}

private func sessionSettings(_ options: unsay_session_options) throws -> SessionOptions {
    try requireFloat32(options.compute)
    guard options.optimizer.rawValue <= UNSAY_OPTIMIZER_SGD.rawValue else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "optimizer is \(options.optimizer.rawValue), not one of "
                + "unsay_optimizer")
    }
    guard options.optimizer == UNSAY_OPTIMIZER_ADAMW else {
        throw Failure(UNSAY_E_UNSUPPORTED, "this release has UNSAY_OPTIMIZER_ADAMW only")
    }
    guard options.scope.rawValue <= UNSAY_SCOPE_HEAD.rawValue else {
        throw Failure(
            UNSAY_E_ARGUMENT, "scope is \(options.scope.rawValue), not one of unsay_scope")
    }
    guard options.scope == UNSAY_SCOPE_ALL else {
        throw Failure(UNSAY_E_UNSUPPORTED, "this release trains UNSAY_SCOPE_ALL only")
    }
    guard options.dropout >= 0, options.dropout < 1 else {
        throw Failure(UNSAY_E_ARGUMENT, "dropout is \(options.dropout); it must be in 0..<1")
    }
    guard options.dropout == 0 else {
        throw Failure(UNSAY_E_UNSUPPORTED, "dropout is not in this release: leave it 0")
    }
    var settings = SessionOptions()
    settings.loss = options.loss
    settings.form = options.form
    settings.batchSize = Int(options.batch_size)
    settings.microBatchSize = Int(options.micro_batch_size)
    settings.warmupSteps = Int(options.warmup_steps)
    settings.decaySteps = Int(options.decay_steps)
    settings.alpha = options.alpha
    settings.retain = options.retain
    settings.learningRate = options.learning_rate
    settings.weightDecay = options.weight_decay
    settings.zLoss = options.z_loss
    settings.gradientClip = options.gradient_clip
    settings.maxAvoidP = options.max_avoid_p
    settings.maxGuardKL = options.max_guard_kl
    settings.maxGuardFlips = options.max_guard_flips
    settings.seed = options.seed
    return settings
}

@_cdecl("unsay_session_create") @implementation
public func unsay_session_create(
    _ handle: OpaquePointer!, _ options: UnsafePointer<unsay_session_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        let options = try read(options, over: sessionDefaults, named: "options")
        let reference = try options.reference.map {
            try UnsayABI.model($0, "options.reference")
        }
        let session = try Session(
            model, reference: reference, options: sessionSettings(options))
        out.pointee = UnsayABI.handle(SessionHandle(session, options))
    }
}

/// An example of the caller's, checked and turned into ids.
///
/// - Parameter isGuard: marks are ignored, everything is kept.
private func example(
    _ model: Model, _ given: unsay_example, _ name: String, isGuard: Bool
) throws -> Example {
    let input = try model.ids(given.input, "\(name).input")
    let output = try model.ids(given.output, "\(name).output")
    var marks = [Int8](repeating: 1, count: output.count)
    if !isGuard, given.marks != nil || given.mark_count != 0 {
        marks = Array(try requireArray(given.marks, given.mark_count, "\(name).marks"))
        guard marks.count == output.count else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name) has \(marks.count) marks for \(output.count) tokens, the end included")
        }
    }
    var alsoAvoid: [Int: [Int32]] = [:]
    if !isGuard {
        let (pairs, overflow) = given.also_avoid_count.multipliedReportingOverflow(by: 2)
        let flat = try requireArray(
            given.also_avoid, overflow ? -1 : pairs, "\(name).also_avoid")
        for pair in 0..<flat.count / 2 {
            let position = Int(flat[2 * pair])
            guard output.indices.contains(position) else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "\(name).also_avoid names position \(position) of \(output.count) tokens")
            }
            try model.check(flat[2 * pair + 1], of: "\(name).also_avoid")
            alsoAvoid[position, default: []].append(flat[2 * pair + 1])
        }
    }
    let weight = given.weight == 0 ? 1 : given.weight
    guard weight > 0, weight.isFinite else {
        throw Failure(UNSAY_E_ARGUMENT, "\(name).weight is \(weight); it must be above 0")
    }
    let targets = try output.indices.map { position in
        guard (-1...1).contains(marks[position]) else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name).marks[\(position)] is \(marks[position]); it must be -1, 0 or 1")
        }
        return TokenTarget(
            id: output[position], mark: marks[position], alsoAvoid: alsoAvoid[position] ?? [],
            weight: weight)
    }
    return Example(input: input, targets: targets)
}

private func examples(
    _ model: Model, _ pointer: UnsafePointer<unsay_example>?, _ count: Int, isGuard: Bool
) throws -> [Example] {
    try requireArray(pointer, count, "examples").enumerated().map {
        try example(model, $0.element, "examples[\($0.offset)]", isGuard: isGuard)
    }
}

@_cdecl("unsay_session_add") @implementation
public func unsay_session_add(
    _ handle: OpaquePointer!, _ pointer: UnsafePointer<unsay_example>!, _ count: Int
) -> unsay_status {
    boundary {
        let session = try session(handle)
        try session.add(examples(session.model, pointer, count, isGuard: false))
    }
}

@_cdecl("unsay_session_add_guard") @implementation
public func unsay_session_add_guard(
    _ handle: OpaquePointer!, _ pointer: UnsafePointer<unsay_example>!, _ count: Int
) -> unsay_status {
    boundary {
        let session = try session(handle)
        try session.addGuard(examples(session.model, pointer, count, isGuard: true))
    }
}

extension unsay_step {
    fileprivate init(_ report: StepReport) {
        self.init()
        struct_size = MemoryLayout<unsay_step>.size
        step = Int32(clamping: report.step)
        loss = Float(report.loss)
        avoid_loss = Float(report.avoidLoss)
        keep_loss = Float(report.keepLoss)
        avoid_p = Float(report.avoidP)
        gradient_norm = Float(report.gradientNorm)
        seconds = Float(report.seconds)
    }
}

@_cdecl("unsay_session_step") @implementation
public func unsay_session_step(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_step>!
) -> unsay_status {
    boundary {
        let owner = try object(handle, SessionHandle.self, "session")
        let report = try owner.session.step(onGradients: owner.onGradients)
        if let out { try fill(out, with: unsay_step(report), named: "unsay_step") }
    }
}

private var runDefaults: unsay_run_options {
    unsay_run_options(
        struct_size: MemoryLayout<unsay_run_options>.size, max_steps: 50, evaluate_every: 5,
        on_step: nil, context: nil)
}

@_cdecl("unsay_run_options_init") @implementation
public func unsay_run_options_init(
    _ options: UnsafeMutablePointer<unsay_run_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: runDefaults)
}

@_cdecl("unsay_session_run") @implementation
public func unsay_session_run(
    _ handle: OpaquePointer!, _ options: UnsafePointer<unsay_run_options>!,
    _ ending: UnsafeMutablePointer<unsay_ending>!
) -> unsay_status {
    boundary {
        let owner = try object(handle, SessionHandle.self, "session")
        let options = try read(options, over: runDefaults, named: "options")
        guard options.max_steps >= 0 else {
            throw Failure(
                UNSAY_E_ARGUMENT, "max_steps is \(options.max_steps); it must be 0 or more")
        }
        guard options.evaluate_every >= 1 else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "evaluate_every is \(options.evaluate_every); it must be at least 1")
        }
        let result = try owner.session.run(
            maxSteps: Int(options.max_steps), evaluateEvery: Int(options.evaluate_every),
            onGradients: owner.onGradients
        ) { report in
            guard let onStep = options.on_step else { return true }
            var step = unsay_step(report)
            return onStep(options.context, &step) == UNSAY_CONTINUE
        }
        ending?.pointee =
            switch result {
            case .steps: UNSAY_ENDING_STEPS
            case .goal: UNSAY_ENDING_GOAL
            case .guardrail: UNSAY_ENDING_GUARD
            case .caller: UNSAY_ENDING_CALLER
            }
    }
}

@_cdecl("unsay_session_evaluate") @implementation
public func unsay_session_evaluate(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_evaluation>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let evaluation = try session(handle).evaluate()
        var value = unsay_evaluation()
        value.goal_met = evaluation.goalMet ? 1 : 0
        value.guard_held = evaluation.guardHeld ? 1 : 0
        value.avoid_p_before = Float(evaluation.avoidPBefore)
        value.avoid_p_after = Float(evaluation.avoidPAfter)
        value.avoid_p_worst = Float(evaluation.avoidPWorst)
        value.keep_kl = Float(evaluation.keepKL)
        value.guard_kl = Float(evaluation.guardKL)
        value.guard_flips = Float(evaluation.guardFlips)
        try fill(out, with: value, named: "unsay_evaluation")
    }
}

@_cdecl("unsay_session_cancel") @implementation
public func unsay_session_cancel(_ handle: OpaquePointer!) {
    guard let handle else { return }
    Unmanaged<SessionHandle>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
        .session.cancel()
}

@_cdecl("unsay_session_commit") @implementation
public func unsay_session_commit(_ handle: OpaquePointer!) -> unsay_status {
    boundary {
        let session = try session(handle)
        try session.commit()
        log(UNSAY_LOG_INFO, "committed a patch after \(session.steps) steps")
    }
}

@_cdecl("unsay_session_rollback") @implementation
public func unsay_session_rollback(_ handle: OpaquePointer!) -> unsay_status {
    boundary { try session(handle).rollback() }
}

@_cdecl("unsay_session_close") @implementation
public func unsay_session_close(_ handle: OpaquePointer!) { release(handle, SessionHandle.self) }

@_cdecl("unsay_finetune") @implementation
public func unsay_finetune(
    _ handle: OpaquePointer!, _ pointer: UnsafePointer<unsay_example>!, _ count: Int,
    _ options: UnsafePointer<unsay_session_options>!, _ steps: Int32
) -> unsay_status {
    boundary {
        let model = try model(handle)
        var options = try read(options, over: sessionDefaults, named: "options")
        options.loss = UNSAY_LOSS_LIKELIHOOD
        options.form = UNSAY_LOSS_EXACT
        guard steps >= 0 else {
            throw Failure(UNSAY_E_ARGUMENT, "steps is \(steps); it must be 0 or more")
        }
        let session = try Session(model, reference: nil, options: sessionSettings(options))
        let owner = SessionHandle(session, options)
        try session.add(examples(model, pointer, count, isGuard: false))
        for _ in 0..<steps { _ = try session.step(onGradients: owner.onGradients) }
        try session.commit()
    }
}
