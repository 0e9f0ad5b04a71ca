import CUnsay
import Glibc
import Support
import Testing

private let format = SealedFile(word: "UNSAYTST", noun: "test", latest: 2)

/// The bytes of a file that `body` fills, without its digest.
private func content(version: UInt32 = 1, _ body: (inout SealedWriter) -> Void) throws -> [UInt8] {
    let path = "/tmp/unsay-sealed-\(UInt64.random(in: .min ... .max))"
    defer { unlink(path) }
    var file = format.writer(version: version)
    body(&file)
    try file.write(to: path)
    return try Files.read(path, limit: 1 << 20).withBytes { Array($0.dropLast(32)) }
}

private func block(_ bytes: [UInt8]) throws -> Bytes {
    try Bytes(capacity: bytes.count, purpose: "a test") { out in
        out.copyBytes(from: bytes)
        return bytes.count
    }
}

private func reader(_ content: [UInt8]) throws -> SealedReader {
    var digest = SHA256()
    content.withUnsafeBytes { digest.update($0) }
    return try format.reader(of: block(content + digest.finish()), named: "file")
}

/// What `body` throws about a file of those bytes.
private func refusal(
    _ bytes: [UInt8], _ body: (inout SealedReader) throws -> Void = { _ in }
) -> (unsay_status?, String) {
    do {
        var reader = try reader(bytes)
        try body(&reader)
    } catch let failure as Failure {
        return (failure.status, failure.sentence)
    } catch {}
    return (nil, "")
}

@Suite("Sealed files")
struct SealedFileTests {
    @Test("every kind of field comes back in its order, borrowed bytes among them")
    func fields() throws {
        let borrowed: [UInt8] = [7, 8, 9]
        let json = JSON.object(["a": .number(1)])
        let bytes = try borrowed.withUnsafeBytes { borrowed in
            try content(version: 2) { file in
                file.append(UInt16(258))
                file.append(borrowing: borrowed)
                file.append(json)
                file.append([1.5, -0.0] as [Float])
                file.append(borrowing: borrowed)
                file.append("end".utf8)
            }
        }
        #expect(Array(bytes[..<17]) == Array("UNSAYTST".utf8) + [2, 0, 0, 0, 2, 1, 7, 8, 9])
        var file = try reader(bytes)
        #expect(file.version == 2)
        #expect(try file.number("number", UInt16.self) == 258)
        #expect(try file.slice(3, "borrowed").bytes == borrowed)
        #expect(try file.json("json") == json)
        #expect(
            try file.floats([1, 2], "floats").floats.map(\.bitPattern) == [0x3FC0_0000, 1 << 31])
        #expect(try file.slice(3, "borrowed").bytes == borrowed)
        #expect(try file.slice(3, "text").bytes == Array("end".utf8))
        try file.finish()
    }

    @Test("word, version and digest are looked at first")
    func frame() throws {
        let bytes = try content { $0.append(UInt64(1)) }
        let foreign = refusal(Array("UNSAYXXX".utf8) + bytes[8...])
        #expect(foreign == (UNSAY_E_FORMAT, "file: expected a test, which begins with UNSAYTST"))
        for version: UInt8 in [0, 3, 255] {
            let later = refusal(bytes[..<8] + [version] + bytes[9...])
            #expect(
                later == (
                    UNSAY_E_UNSUPPORTED,
                    "file: a test of version \(version); this library reads 1 to 2"
                ))
        }
        for size in 0..<44 {
            #expect(throws: Failure.self, "\(size) bytes") {
                try format.reader(
                    of: block(Array((bytes + [UInt8](repeating: 0, count: 32))[..<size])),
                    named: "file")
            }
        }
        let damaged = #expect(throws: Failure.self) {
            _ = try format.reader(
                of: block(bytes + [UInt8](repeating: 0, count: 32)), named: "file")
        }
        #expect(
            damaged?.sentence == "file: damaged: its checksum does not match its content")
    }

    @Test("sizes that no file has are refused without arithmetic that traps")
    func sizes() throws {
        let bytes = try content { $0.append(UInt64.max) }
        let cases: [(String, (inout SealedReader) throws -> Void)] = [
            ("n is 18446744073709551615; it must be in 0...", { _ = try $0.count("n") }),
            ("n is 255; it must be in 1...254", { _ = try $0.count("n", UInt8.self, in: 1...254) }),
            (
                "size of text is 18446744073709551615; it must be in 0...",
                { _ = try $0.json("text") }
            ),
            ("f takes 9223372036854775807 bytes; 8 are left", { _ = try $0.floats([.max], "f") }),
            (
                "f takes 9223372036854775807 bytes; 8 are left",
                { _ = try $0.floats([1 << 14, 1 << 48], "f") }
            ),
            ("f takes 12 bytes; 8 are left", { _ = try $0.floats([3, 1], "f") }),
            (
                "f is not finite; it must be finite numbers", { _ = try $0.floats([2], "f") }
            ),
            ("s takes 9 bytes; 8 are left", { _ = try $0.slice(9, "s") }),
            ("8 bytes follow its end", { try $0.finish() }),
        ]
        for (sentence, body) in cases {
            let found = refusal(bytes, body)
            #expect(
                found.0 == UNSAY_E_FORMAT && found.1.hasPrefix("file: damaged: \(sentence)"),
                "\(found) instead of \(sentence)")
        }
    }
}
