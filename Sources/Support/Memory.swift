import CSupport
import CUnsay

/// What is left of the process's memory.
///
/// An array, a string or an object that cannot be allocated ends the process; in libunsay.so
/// a reserve stands behind them (see CSupport). So whoever makes many of them, or large ones, at
/// the bidding of a file or a caller asks here before.
package enum Memory {
    /// Whether an allocation failed of late that could not be reported. Whoever can throw
    /// `UNSAY_E_MEMORY` should, before more is asked for.
    package static var isShort: Bool { support_reserve_is_spent() != 0 }

    /// Checks that `count` elements of `bytes` bytes can be had, all in all.
    ///
    /// - Parameter purpose: completes "no memory for 12 bytes of ...".
    /// - Throws: `UNSAY_E_MEMORY`.
    package static func require(
        _ count: Int, bytes: Int, for purpose: @autoclosure () -> String
    ) throws {
        let (size, overflow) = count.multipliedReportingOverflow(by: bytes)
        guard !overflow, !isShort, size < smallest || canAllocate(size) else {
            throw Failure(
                UNSAY_E_MEMORY, "no memory for \(overflow ? Int.max : size) bytes of \(purpose())")
        }
    }

    /// What the reserve covers many times.
    private static let smallest = 1 << 20

    private static func canAllocate(_ size: Int) -> Bool {
        guard let memory = support_allocate(size, 64) else { return false }
        support_free(memory)
        return true
    }
}
