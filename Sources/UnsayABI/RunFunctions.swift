import CUnsay
import Patching
import Support

// Section 6 of unsay.h: steps, runs, sweeps, evaluations.

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
        let result = try owner.session.run(
            runSettings(options), onGradients: owner.onGradients, onStep: stepCallback(options))
        ending?.pointee = unsay_ending(result)
    }
}

@_cdecl("unsay_session_evaluate") @implementation
public func unsay_session_evaluate(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_evaluation>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let evaluation = try session(handle).evaluate()
        let value = unsay_evaluation(evaluation)
        try fill(out, with: value, named: "unsay_evaluation")
    }
}

extension unsay_evaluation {
    fileprivate init(_ evaluation: Evaluation) {
        self.init()
        struct_size = MemoryLayout<unsay_evaluation>.size
        goal_met = evaluation.goalMet ? 1 : 0
        guard_held = evaluation.guardHeld ? 1 : 0
        avoid_p_before = Float(evaluation.avoidPBefore)
        avoid_p_after = Float(evaluation.avoidPAfter)
        avoid_p_worst = Float(evaluation.avoidPWorst)
        keep_kl = Float(evaluation.keepKL)
        guard_kl = Float(evaluation.guardKL)
        guard_flips = Float(evaluation.guardFlips)
        held_out_avoid_p_before = Float(evaluation.heldOutAvoidPBefore)
        held_out_avoid_p_after = Float(evaluation.heldOutAvoidPAfter)
        held_out_loss = Float(evaluation.heldOutLoss)
        root_kl = Float(evaluation.rootKL)
        root_flips = Float(evaluation.rootFlips)
        changed = evaluation.changed ? 1 : 0
        step = Int32(clamping: evaluation.step)
        fraction = Float(evaluation.fraction)
    }
}

extension unsay_ending {
    fileprivate init(_ ending: Ending) {
        self =
            switch ending {
            case .steps: UNSAY_ENDING_STEPS
            case .goal: UNSAY_ENDING_GOAL
            case .guardrail: UNSAY_ENDING_GUARD
            case .caller: UNSAY_ENDING_CALLER
            case .patience: UNSAY_ENDING_PATIENCE
            }
    }
}

private func stepCallback(_ options: unsay_run_options) -> (StepReport) -> Bool {
    { report in
        guard let onStep = options.on_step else { return true }
        var step = unsay_step(report)
        return onStep(options.context, &step) == UNSAY_CONTINUE
    }
}

@_cdecl("unsay_sweep_options_init") @implementation
public func unsay_sweep_options_init(
    _ options: UnsafeMutablePointer<unsay_sweep_options>!, _ struct_size: Int
) {
    var defaults = unsay_sweep_options()
    defaults.struct_size = MemoryLayout<unsay_sweep_options>.size
    initialise(options, struct_size, with: defaults)
}

@_cdecl("unsay_session_sweep") @implementation
public func unsay_session_sweep(
    _ handle: OpaquePointer!, _ options: UnsafePointer<unsay_sweep_options>!,
    _ chosen: UnsafeMutablePointer<Int64>!
) -> unsay_status {
    boundary {
        let owner = try object(handle, SessionHandle.self, "session")
        var defaults = unsay_sweep_options()
        defaults.struct_size = MemoryLayout<unsay_sweep_options>.size
        let options = try read(options, over: defaults, named: "options")
        let run = try read(options.run, over: runDefaults, named: "options.run")
        let result = try owner.session.sweep(
            rates: Array(
                requireArray(
                    options.learning_rates, options.learning_rate_count, "options.learning_rates")),
            alphas: Array(requireArray(options.alphas, options.alpha_count, "options.alphas")),
            runSettings(run), onGradients: owner.onGradients, onStep: stepCallback(run)
        ) { trial in
            guard let onTrial = options.on_trial else { return true }
            var value = unsay_trial()
            value.struct_size = MemoryLayout<unsay_trial>.size
            value.learning_rate = trial.learningRate
            value.alpha = trial.alpha
            value.ending = unsay_ending(trial.ending)
            value.steps = Int32(clamping: trial.steps)
            value.diverged = trial.diverged ? 1 : 0
            value.evaluation = unsay_evaluation(trial.evaluation)
            return onTrial(options.context, &value) == UNSAY_CONTINUE
        }
        chosen?.pointee = result.chosen.map(Int64.init) ?? -1
    }
}
