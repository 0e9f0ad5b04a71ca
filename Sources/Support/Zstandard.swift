import CSupport
import CUnsay

/// Compression of whole blocks with zstd.
package enum Zstandard {
    /// Compresses `bytes`; `level` 1 (fast) to 19 (small).
    ///
    /// - Throws: `UNSAY_E_MEMORY`.
    package static func compress(_ bytes: UnsafeRawBufferPointer, level: Int32 = 3) throws -> Bytes
    {
        let bound = support_zstd_bound(bytes.count)
        guard bound > 0, bound <= Int.max else {
            throw Failure(UNSAY_E_MEMORY, "\(bytes.count) bytes are too many to compress at once")
        }
        let roomy = try Bytes(capacity: bound, purpose: "compressed data") { out in
            var written = 0
            let result = support_zstd_compress(
                bytes.baseAddress, bytes.count, level, out.baseAddress, out.count, &written)
            guard result == SUPPORT_ZSTD_OK else {
                throw Failure(UNSAY_E_MEMORY, "no memory to compress \(bytes.count) bytes")
            }
            return written
        }
        return try Bytes(capacity: roomy.count, purpose: "compressed data") { out in
            roomy.withBytes { out.copyMemory(from: $0) }
            return roomy.count
        }
    }

    /// Decompresses `bytes` into `out`, whose every byte they must fill.
    ///
    /// - Parameter name: the file and part, for the error sentence.
    /// - Throws: `UNSAY_E_FORMAT` if `bytes` are damaged or give fewer or more bytes than
    ///   `out` holds; `UNSAY_E_MEMORY`. `out` is then in part overwritten.
    package static func decompress(
        _ bytes: UnsafeRawBufferPointer, into out: UnsafeMutableRawBufferPointer,
        named name: String
    ) throws {
        var written = 0
        let result = support_zstd_decompress(
            bytes.baseAddress, bytes.count, out.baseAddress, out.count, &written)
        guard result != SUPPORT_ZSTD_MEMORY else {
            throw Failure(UNSAY_E_MEMORY, "\(name): no memory to decompress \(out.count) bytes")
        }
        guard result == SUPPORT_ZSTD_OK, written == out.count else {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(name): the compressed data are damaged: expected \(out.count) bytes from them")
        }
    }
}
