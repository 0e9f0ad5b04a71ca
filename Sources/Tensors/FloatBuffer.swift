import CUnsay
import Glibc
import Support

/// Floats of its own, aligned to 64 bytes and freed with the object.
///
/// Whoever shares a buffer between threads decides who writes when.
package final class FloatBuffer: @unchecked Sendable {
    package let base: UnsafeMutablePointer<Float>
    package let count: Int

    /// - Throws: `UNSAY_E_MEMORY`, naming the size, if the memory cannot be had.
    package init(count: Int, zeroed: Bool = false) throws {
        let (bytes, overflow) = max(count, 16).multipliedReportingOverflow(by: 4)
        var memory: UnsafeMutableRawPointer?
        guard count >= 0, !overflow, !Memory.isShort,
            posix_memalign(&memory, Self.alignment(bytes), bytes) == 0,
            let memory
        else {
            throw Failure(UNSAY_E_MEMORY, "no memory for \(count) floats of 4 bytes")
        }
        if bytes >= Self.hugePage { _ = madvise(memory, bytes, 14) }  // 14: MADV_HUGEPAGE
        self.base = memory.bindMemory(to: Float.self, capacity: max(count, 16))
        self.count = count
        if zeroed { memset(memory, 0, bytes) }
    }

    deinit { free(base) }

    /// Whether every bit is the same.
    package func isEqual(to other: FloatBuffer) -> Bool {
        count == other.count && memcmp(base, other.base, count * MemoryLayout<Float>.size) == 0
    }

    /// Whether every float is a number, and no infinity.
    package var isFinite: Bool {
        UnsafeBufferPointer(start: base, count: count).allSatisfy(\.isFinite)
    }

    /// From this size on, memory is asked for in huge pages: weights are then read through
    /// fewer page tables.
    private static let hugePage = 2 << 20

    private static func alignment(_ bytes: Int) -> Int { bytes >= hugePage ? hugePage : 64 }
}
