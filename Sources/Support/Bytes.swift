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

extension Bytes {
    /// A part of a block; it keeps the block.
    package struct Slice: Sendable {
        fileprivate let owner: Bytes
        fileprivate let range: Range<Int>

        package var count: Int { range.count }

        /// Borrowed: valid while the slice lives.
        package var buffer: UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: owner.buffer[range])
        }

        /// Runs `body` on the bytes; they live at least as long as the call.
        package func withBytes<Result>(
            _ body: (UnsafeRawBufferPointer) throws -> Result
        ) rethrows -> Result {
            try withExtendedLifetime(owner) { try body(buffer) }
        }

        /// A copy of the bytes.
        package var bytes: [UInt8] { withBytes(Array.init) }

        /// The bytes as little-endian floats.
        package var floats: LazyMapCollection<Range<Int>, Float> {
            (0..<count / 4).lazy.map { index in
                let offset = 4 * index  // checked: below `count`
                return Float(
                    bitPattern: withBytes {
                        UInt32(
                            littleEndian: $0.loadUnaligned(
                                fromByteOffset: offset, as: UInt32.self))
                    })
            }
        }
    }

    package subscript(range: Range<Int>) -> Slice { Slice(owner: self, range: range) }
}
