import CSupport
import CUnsay
import Support
import Testing

private func hex(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

@Suite("Digests and compression")
struct DigestTests {
    // The vectors of FIPS 180-4.
    @Test(
        "SHA-256 gives the published digests",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ])
    func vectors(text: String, digest: String) {
        var sha = SHA256()
        for byte in text.utf8 { withUnsafeBytes(of: byte) { sha.update($0) } }
        #expect(hex(sha.finish()) == digest)
    }

    @Test("a copy of a digest goes its own way, and finish begins anew")
    func copies() {
        var one = SHA256()
        Array("ab".utf8).withUnsafeBytes { one.update($0) }
        var other = one
        Array("c".utf8).withUnsafeBytes { other.update($0) }
        #expect(one.finish() != other.finish())
        #expect(one.finish() == other.finish())
    }

    @Test("compressed bytes come back, and only into a buffer of their size")
    func compression() throws {
        let original = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 / 100) }
        let small = try original.withUnsafeBytes { try Zstandard.compress($0) }
        #expect(small.count < 5000)
        var back = [UInt8](repeating: 0, count: original.count)
        try back.withUnsafeMutableBytes { out in
            try small.withBytes { try Zstandard.decompress($0, into: out, named: "a") }
        }
        #expect(back == original)
        for count in [original.count - 1, original.count + 1] {
            var wrong = [UInt8](repeating: 0, count: count)
            let failure = #expect(throws: Failure.self) {
                try wrong.withUnsafeMutableBytes { out in
                    try small.withBytes { try Zstandard.decompress($0, into: out, named: "a") }
                }
            }
            #expect(failure?.status == UNSAY_E_FORMAT)
        }
    }
}

@Suite("C support")
struct CSupportTests {
    private func lastError(after message: [UInt8]) -> String {
        message.withUnsafeBytes {
            support_set_last_error($0.bindMemory(to: CChar.self).baseAddress, $0.count)
        }
        return String(cString: support_last_error())
    }

    @Test("the last error is kept as given, and cut on a whole character when too long")
    func lastError() {
        #expect(lastError(after: Array("é: no such tensor".utf8)) == "é: no such tensor")
        #expect(lastError(after: []) == "")
        let long = "a" + String(repeating: "é", count: 2000)
        #expect(lastError(after: Array(long.utf8)) == "a" + String(repeating: "é", count: 1023))
        let longer = String(repeating: "𝄞", count: 2000)
        #expect(lastError(after: Array(longer.utf8)) == String(repeating: "𝄞", count: 512))
    }

    @Test(
        "the well-formed prefix of a text ends at its first bad byte",
        arguments: [
            ([0x61, 0xC3, 0xA9], 3), ([0x61, 0xC3], 1), ([0xC0, 0x80], 0), ([0xED, 0xA0, 0x80], 0),
            ([0xE0, 0x80, 0x80], 0), ([0xF4, 0x8F, 0xBF, 0xBF], 4), ([0xF4, 0x90, 0x80, 0x80], 0),
            ([0xF0, 0x80, 0x80, 0x80], 0), ([0xE2, 0x82, 0xAC, 0xFF], 3), ([], 0), ([0x80], 0),
        ] as [([UInt8], Int)])
    func utf8(bytes: [UInt8], valid: Int) {
        #expect(bytes.withUnsafeBytes { support_utf8_prefix($0.baseAddress, $0.count) } == valid)
    }

    @Test("memory that cannot be had is reported")
    func memory() {
        #expect(support_allocate(1 << 62, 64) == nil)
        let none = support_allocate(0, 64)
        #expect(none != nil)
        support_free(none)
        let failure = #expect(throws: Failure.self) {
            try Bytes(capacity: 1 << 62, purpose: "weights") { _ in 0 }
        }
        #expect(failure?.status == UNSAY_E_MEMORY)
        #expect(failure?.sentence == "no memory for 4611686018427387904 bytes of weights")
    }
}
