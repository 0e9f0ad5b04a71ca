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

/// Bytes as people read a digest: two digits each.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}
