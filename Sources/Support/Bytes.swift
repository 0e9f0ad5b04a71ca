import CSupport
import CUnsay

/// A block of bytes that is written once and then only read.
///
/// Unlike an array, it reports that memory is short instead of ending the process.
package final class Bytes: @unchecked Sendable {
    package let count: Int
    private let memory: UnsafeMutableRawPointer

    /// Allocates `capacity` bytes on a 64-byte boundary and keeps the first `n` of them, where
    /// `n`, at most `capacity`, is what `fill` returns. The bytes are not initialised before.
    ///
    /// - Parameter purpose: completes "no memory for 12 bytes of ...".
    /// - Throws: `UNSAY_E_MEMORY`; whatever `fill` throws.
    package init(
        capacity: Int, purpose: String, fill: (UnsafeMutableRawBufferPointer) throws -> Int
    ) throws {
        guard capacity >= 0, !Memory.isShort,
            let memory = support_allocate(capacity, 64)
        else {
            throw Failure(UNSAY_E_MEMORY, "no memory for \(capacity) bytes of \(purpose)")
        }
        self.memory = memory
        do {
            count = min(
                max(try fill(UnsafeMutableRawBufferPointer(start: memory, count: capacity)), 0),
                capacity)
        } catch {
            support_free(memory)
            throw error
        }
    }

    deinit { support_free(memory) }

    /// Borrowed: valid while this object lives.
    package var buffer: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: memory, count: count)
    }

    /// Runs `body` on the bytes; they live at least as long as the call.
    package func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        try withExtendedLifetime(self) { try body(buffer) }
    }
}
