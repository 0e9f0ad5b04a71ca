import CSupport
import CUnsay
import Models
import Support
import Tensors

// Section 1 of unsay.h: version, errors, log.

/// A string that lives as long as the process.
private func permanent(_ text: String) -> UnsafePointer<CChar> {
    let bytes = Array(text.utf8CString)
    let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
    copy.update(from: bytes, count: bytes.count)
    return UnsafePointer(copy)
}

private nonisolated(unsafe) let versionText = permanent(
    "\(UNSAY_VERSION_MAJOR).\(UNSAY_VERSION_MINOR).\(UNSAY_VERSION_PATCH)")

private nonisolated(unsafe) let buildText = permanent(
    "unsay \(UNSAY_VERSION_MAJOR).\(UNSAY_VERSION_MINOR).\(UNSAY_VERSION_PATCH), Swift "
        + "\(compilerVersion), kernels \(kernelLevelName()), \(onnxBuildInfo())")

private var compilerVersion: String {
    #if compiler(>=6.4)
        "6.4 or later"
    #else
        "6.3"
    #endif
}

private nonisolated(unsafe) let statusNames: [Int32: UnsafePointer<CChar>] = Dictionary(
    uniqueKeysWithValues: [
        (UNSAY_OK, "UNSAY_OK"), (UNSAY_E_ARGUMENT, "UNSAY_E_ARGUMENT"),
        (UNSAY_E_BUFFER, "UNSAY_E_BUFFER"), (UNSAY_E_TEXT, "UNSAY_E_TEXT"),
        (UNSAY_E_NOT_FOUND, "UNSAY_E_NOT_FOUND"), (UNSAY_E_IO, "UNSAY_E_IO"),
        (UNSAY_E_FORMAT, "UNSAY_E_FORMAT"), (UNSAY_E_UNSUPPORTED, "UNSAY_E_UNSUPPORTED"),
        (UNSAY_E_MISMATCH, "UNSAY_E_MISMATCH"), (UNSAY_E_STATE, "UNSAY_E_STATE"),
        (UNSAY_E_BUSY, "UNSAY_E_BUSY"), (UNSAY_E_CANCELLED, "UNSAY_E_CANCELLED"),
        (UNSAY_E_GUARD, "UNSAY_E_GUARD"), (UNSAY_E_DIVERGED, "UNSAY_E_DIVERGED"),
        (UNSAY_E_UNCHANGED, "UNSAY_E_UNCHANGED"),
        (UNSAY_E_MEMORY, "UNSAY_E_MEMORY"), (UNSAY_E_INTERNAL, "UNSAY_E_INTERNAL"),
    ].map { (Int32($0.0.rawValue), permanent($0.1)) })

private nonisolated(unsafe) let unknownStatus = permanent("UNSAY_E_?")

@_cdecl("unsay_version") @implementation
public func unsay_version() -> UnsafePointer<CChar>! { versionText }

@_cdecl("unsay_abi_version") @implementation
public func unsay_abi_version() -> UInt32 { UInt32(UNSAY_ABI_VERSION) }

@_cdecl("unsay_build_info") @implementation
public func unsay_build_info() -> UnsafePointer<CChar>! { buildText }

@_cdecl("unsay_status_name") @implementation
public func unsay_status_name(_ status: unsay_status) -> UnsafePointer<CChar>! {
    statusNames[Int32(status.rawValue)] ?? unknownStatus
}

@_cdecl("unsay_last_error") @implementation
public func unsay_last_error() -> UnsafePointer<CChar>! { support_last_error() }

/// Where log lines go.
private struct LogSink: @unchecked Sendable {
    let log: unsay_log_fn
    let context: UnsafeMutableRawPointer?
    let minimum: unsay_log_level
}

private let logSink = Locked<LogSink?>(nil)

@_cdecl("unsay_set_log") @implementation
public func unsay_set_log(
    _ log: unsay_log_fn!, _ context: UnsafeMutableRawPointer!, _ minimum: unsay_log_level
) {
    let sink = log.map { LogSink(log: $0, context: context, minimum: minimum) }
    logSink.withLock { $0 = sink }
}

/// Sends one line to the host, if it listens. The line is made only then.
func log(_ level: unsay_log_level, _ line: @autoclosure () -> String) {
    // Called outside the lock, so that the host's function may call the library.
    guard let sink = logSink.withLock({ $0 }), level.rawValue >= sink.minimum.rawValue else {
        return
    }
    line().withCString { sink.log(sink.context, level, $0) }
}
