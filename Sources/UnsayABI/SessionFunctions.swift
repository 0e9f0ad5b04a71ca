import CUnsay
import Models
import Patching
import Support
import Training

// Section 6 of unsay.h: sessions.

/// What a `unsay_session` points at: the session, and the caller's gradients callback.
final class SessionHandle: @unchecked Sendable {
    let session: Session
    let onGradients: GradientsHook?

    init(_ session: Session, _ options: unsay_session_options) {
        self.session = session
        onGradients = gradientsHook(options)
    }
}

/// The caller's gradients callback as Swift calls it.
private func gradientsHook(_ options: unsay_session_options) -> GradientsHook? {
    let context = options.context
    return options.on_gradients.map { callback in
        { step in
            var view = unsay_gradients_view(
                values: step.values.baseAddress, count: step.values.count, weight: step.weight,
                loss: step.loss, is_sum: step.isSum ? 1 : 0, reserved: 0)
            guard callback(context, &view) == UNSAY_CONTINUE else {
                throw Failure(UNSAY_E_CANCELLED, "on_gradients stopped the step")
            }
            (step.weight, step.loss) = (view.weight, view.loss)
        }
    }
}

func session(_ handle: OpaquePointer?) throws -> Session {
    try object(handle, SessionHandle.self, "session").session
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
            model, reference: reference,
            root: options.root.map { try UnsayABI.model($0, "options.root") },
            options: sessionSettings(options))
        out.pointee = UnsayABI.handle(SessionHandle(session, options))
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

@_cdecl("unsay_session_add_held_out") @implementation
public func unsay_session_add_held_out(
    _ handle: OpaquePointer!, _ pointer: UnsafePointer<unsay_example>!, _ count: Int
) -> unsay_status {
    boundary {
        let session = try session(handle)
        try session.addHeldOut(examples(session.model, pointer, count, isGuard: false))
    }
}

@_cdecl("unsay_session_plan") @implementation
public func unsay_session_plan(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_plan>!,
    _ marks: UnsafeMutablePointer<unsay_planned_mark>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let plan = try session(handle).plan()
        var value = unsay_plan()
        value.avoided_count = UInt64(plan.avoidedCount)
        value.kept_count = UInt64(plan.keptCount)
        value.context_free_count = UInt64(plan.contextFreeCount)
        value.mean_price = plan.meanPrice
        value.highest_price = plan.highestPrice
        value.memory_bytes = UInt64(plan.memoryBytes)
        value.seconds_per_step = plan.secondsPerStep
        value.trained_count = UInt64(plan.trainedCount)
        if let out { try fill(out, with: value, named: "unsay_plan") }
        if marks == nil, capacity == 0 {
            count?.pointee = plan.marks.count
            return
        }
        try plan.marks.map {
            unsay_planned_mark(
                example: $0.example, position: $0.position, q: Float($0.q), price: Float($0.price),
                id: $0.id, is_context_free: $0.isContextFree ? 1 : 0)
        }.withUnsafeBufferPointer {
            try deliver($0, to: marks, capacity: capacity, count: count, "marks")
        }
    }
}

@_cdecl("unsay_session_model") @implementation
public func unsay_session_model(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        out.pointee = UnsayABI.handle(ModelHandle(try session(handle).trainedModel()))
    }
}

@_cdecl("unsay_session_save") @implementation
public func unsay_session_save(
    _ handle: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> unsay_status {
    boundary { try session(handle).save(to: requirePath(path, "path")) }
}

@_cdecl("unsay_session_load") @implementation
public func unsay_session_load(
    _ handle: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ steps: UnsafeMutablePointer<Int32>!
) -> unsay_status {
    boundary {
        let session = try session(handle)
        try session.load(from: requirePath(path, "path"))
        steps?.pointee = Int32(clamping: session.steps)
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
        let options = try read(options, over: sessionDefaults, named: "options")
        try Session.finetune(
            model, examples(model, pointer, count, isGuard: false), sessionSettings(options),
            steps: Int(steps), onGradients: gradientsHook(options))
    }
}
