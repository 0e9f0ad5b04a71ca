import CUnsay
import Models
import Patching
import Support

// Section 7 of unsay.h: deltas.

/// What a `unsay_delta` points at: the delta, and what C may borrow of it.
final class DeltaHandle: Sendable {
    let delta: Delta
    let metadata: BorrowedText

    init(_ delta: Delta) {
        self.delta = delta
        metadata = BorrowedText(delta.metadata.text())
    }
}

/// A NUL-terminated text that lives as long as this object.
final class BorrowedText: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<CChar>

    init(_ text: String) {
        let bytes = Array(text.utf8CString)
        pointer = .allocate(capacity: bytes.count)
        pointer.initialize(from: bytes, count: bytes.count)
    }

    deinit { pointer.deallocate() }
}

private func delta(_ handle: OpaquePointer?) throws -> Delta {
    try object(handle, DeltaHandle.self, "delta").delta
}

@_cdecl("unsay_session_delta") @implementation
public func unsay_session_delta(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let session = try object(handle, SessionHandle.self, "session").session
        out.pointee = UnsayABI.handle(DeltaHandle(try session.delta()))
    }
}

@_cdecl("unsay_delta_open") @implementation
public func unsay_delta_open(
    _ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        out.pointee = handle(DeltaHandle(try Delta.open(requirePath(path, "path"))))
    }
}

@_cdecl("unsay_delta_save") @implementation
public func unsay_delta_save(
    _ handle: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> unsay_status {
    boundary { try delta(handle).save(requirePath(path, "path")) }
}

private func info(before: [UInt8], after: [UInt8], _ delta: Delta?) -> unsay_delta_info {
    var info = unsay_delta_info()
    withUnsafeMutableBytes(of: &info.before) { $0.copyBytes(from: before) }
    withUnsafeMutableBytes(of: &info.after) { $0.copyBytes(from: after) }
    info.tensor_count = UInt32(clamping: delta?.tensors.count ?? 0)
    info.changed_count = delta?.changedCount ?? 0
    info.change_norm = delta?.changeNorm ?? 0
    return info
}

@_cdecl("unsay_delta_get_info") @implementation
public func unsay_delta_get_info(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_delta_info>!
) -> unsay_status {
    boundary {
        let delta = try delta(handle)
        try fill(
            require(out, "out"), with: info(before: delta.before, after: delta.after, delta),
            named: "unsay_delta_info")
    }
}

@_cdecl("unsay_delta_apply") @implementation
public func unsay_delta_apply(_ handle: OpaquePointer!, _ target: OpaquePointer!) -> unsay_status {
    boundary { try delta(handle).apply(to: model(target)) }
}

@_cdecl("unsay_delta_revert") @implementation
public func unsay_delta_revert(_ handle: OpaquePointer!, _ target: OpaquePointer!) -> unsay_status {
    boundary { try delta(handle).revert(from: model(target)) }
}

@_cdecl("unsay_delta_metadata") @implementation
public func unsay_delta_metadata(_ handle: OpaquePointer!) -> UnsafePointer<CChar>! {
    guard let owner = try? object(handle, DeltaHandle.self, "delta") else { return nil }
    return UnsafePointer(owner.metadata.pointer)
}

@_cdecl("unsay_delta_squash") @implementation
public func unsay_delta_squash(
    _ handles: UnsafePointer<OpaquePointer?>!, _ count: Int, _ target: OpaquePointer!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let deltas = try requireArray(handles, count, "deltas").map { try delta($0) }
        out.pointee = handle(DeltaHandle(try Delta.squash(deltas, on: model(target))))
    }
}

@_cdecl("unsay_delta_rebase") @implementation
public func unsay_delta_rebase(
    _ handle: OpaquePointer!, _ target: OpaquePointer!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let session = try Session(rebasing: delta(handle), on: model(target))
        out.pointee = UnsayABI.handle(SessionHandle(session, unsay_session_options()))
    }
}

@_cdecl("unsay_model_applied_count") @implementation
public func unsay_model_applied_count(_ target: OpaquePointer!) -> Int {
    (try? model(target).applied.count) ?? 0
}

@_cdecl("unsay_model_applied") @implementation
public func unsay_model_applied(
    _ target: OpaquePointer!, _ index: Int, _ out: UnsafeMutablePointer<unsay_delta_info>!
) -> unsay_status {
    boundary {
        let applied = try model(target).applied
        guard applied.indices.contains(index) else {
            throw Failure(
                UNSAY_E_ARGUMENT, "index is \(index); the model has \(applied.count) changes")
        }
        let change = applied[index]
        let delta = change.delta as? Delta
        try fill(
            require(out, "out"),
            with: info(before: change.before, after: change.after, delta),
            named: "unsay_delta_info")
    }
}

@_cdecl("unsay_model_list_applied") @implementation
public func unsay_model_list_applied(
    _ target: OpaquePointer!, _ infos: UnsafeMutablePointer<unsay_delta_info>!,
    _ struct_size: Int, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let applied = try model(target).applied
        try deliver(
            applied.map { info(before: $0.before, after: $0.after, $0.delta as? Delta) },
            to: infos, structSize: struct_size, capacity: capacity, count: count, "infos")
    }
}

@_cdecl("unsay_model_revert") @implementation
public func unsay_model_revert(_ target: OpaquePointer!) -> unsay_status {
    boundary { try Delta.revertTop(of: model(target)) }
}

@_cdecl("unsay_delta_close") @implementation
public func unsay_delta_close(_ handle: OpaquePointer!) { release(handle, DeltaHandle.self) }
