import CSupport

/// A SHA-256 digest in progress; copies go their own ways.
package struct SHA256: Sendable {
    private var state = support_sha256()

    package init() { support_sha256_begin(&state) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        support_sha256_update(&state, bytes.baseAddress, bytes.count)
    }

    /// The digest's 32 bytes; what follows begins a new one.
    package mutating func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        support_sha256_finish(&state, &digest)
        return digest
    }
}
