import CUnsay
import Models
import Patching
import Support

// Section 7 of unsay.h: deltas.

private func delta(_ handle: OpaquePointer?) throws -> Delta {
    try object(handle, Delta.self, "delta")
}

@_cdecl("unsay_session_delta") @implementation
public func unsay_session_delta(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        let session = try object(handle, SessionHandle.self, "session").session
        out.pointee = UnsayABI.handle(try session.delta())
    }
}

@_cdecl("unsay_delta_open") @implementation
public func unsay_delta_open(
    _ path: UnsafePointer<CChar>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let out = try require(out, "out")
        out.pointee = handle(try Delta.open(requireString(path, "path")))
    }
}

@_cdecl("unsay_delta_save") @implementation
public func unsay_delta_save(
    _ handle: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> unsay_status {
    boundary { try delta(handle).save(requireString(path, "path")) }
}

@_cdecl("unsay_delta_get_info") @implementation
public func unsay_delta_get_info(
    _ handle: OpaquePointer!, _ out: UnsafeMutablePointer<unsay_delta_info>!
) -> unsay_status {
    boundary {
        let delta = try delta(handle)
        var info = unsay_delta_info()
        withUnsafeMutableBytes(of: &info.before) { $0.copyBytes(from: delta.before) }
        withUnsafeMutableBytes(of: &info.after) { $0.copyBytes(from: delta.after) }
        info.tensor_count = UInt32(clamping: delta.tensors.count)
        info.changed_count = delta.changedCount
        info.change_norm = delta.changeNorm
        try fill(require(out, "out"), with: info, named: "unsay_delta_info")
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

@_cdecl("unsay_delta_close") @implementation
public func unsay_delta_close(_ handle: OpaquePointer!) { release(handle, Delta.self) }
