import CUnsay
import Glibc
import Models
import Patching
import Support
import T5
import Tensors
import Testing
import Training

private func begun() throws -> Session {
    let folder =
        #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(2).joined(separator: "/") + "/Models/tiny-v10"
    let model = try Model(
        Checkpoint.open(folder: folder, allowLinks: false), tokenizerPath: nil,
        workers: Workers(threads: 1))
    var options = SessionOptions()
    options.scope = UNSAY_SCOPE_TENSORS
    options.tensors = ["decoder.final_layer_norm.weight"]
    options.batchSize = 2
    let session = try Session(model, reference: nil, options: options)
    try session.add(
        [[5, 9, 1], [7, 8, 1], [21, 22, 1]].map {
            try Example(
                model, input: $0, output: [12, 30, 1], marks: [-1, 1, 0], named: "example")
        })
    return session
}

/// A session's file with text in its JSON replaced and sizes and digest made right.
private func forged(_ file: Bytes, _ text: String, by other: String) throws -> Bytes {
    let bytes = file.withBytes(Array.init)
    let size = bytes[12..<20].reversed().reduce(0) { $0 << 8 | Int($1) }
    var json = String(decoding: bytes[20..<20 + size], as: UTF8.self)
    let place = try #require(json.firstRange(of: text), "\(text) in \(json)")
    json.replaceSubrange(place, with: other)
    let content = bytes[..<12] + littleEndian(UInt64(json.utf8.count)) + json.utf8
    let whole = Array(content + bytes[(20 + size)..<(bytes.count - 32)])
    var digest = SHA256()
    whole.withUnsafeBytes { digest.update($0) }
    let sealed = whole + digest.finish()
    return try Bytes(capacity: sealed.count, purpose: "a test") { out in
        out.copyBytes(from: sealed)
        return sealed.count
    }
}

private func saved(_ session: Session) throws -> Bytes {
    let path = "/tmp/unsay-session-\(UInt64.random(in: .min ... .max))"
    defer { unlink(path) }
    try session.save(to: path)
    return try Files.read(path, limit: 1 << 20)
}

@Suite("Sessions as files")
struct SessionStateTests {
    @Test("a session comes back to the bit, and goes on with the same steps")
    func exact() throws {
        let session = try begun()
        for _ in 0..<3 { _ = try session.step() }
        let state = try saved(session)
        let next = try session.step()
        let after = try session.fingerprint()
        try session.rollback()
        try session.load(state, named: "state")
        #expect(session.steps == 3)
        #expect(try saved(session).withBytes(Array.init) == state.withBytes(Array.init))
        let again = try session.step()
        #expect(again.step == 4 && again.loss == next.loss, "\(again.loss) and \(next.loss)")
        #expect(try session.fingerprint() == after)
    }

    @Test(
        "a number that no session has is refused by name, and nothing has changed",
        arguments: [
            ("\"steps\":3", "\"steps\":-5", "steps is -5; it must be a whole number in 0..."),
            ("\"steps\":3", "\"steps\":1e300", "steps is 1e+300"),
            ("\"optimizer_steps\":3", "\"optimizer_steps\":-1", "optimizer_steps is -1"),
            ("\"optimizer_steps\":3", "\"optimizer_steps\":4", "optimizer_steps is 4"),
            ("\"epoch\":\"2\"", "\"epoch\":\"18446744073709551615\"", "order.epoch is"),
            ("\"pending\":[", "\"pending\":[3", "order.pending is [3]"),
            ("\"buffers\":[32", "\"buffers\":[-32", "buffers is [-32"),
            ("\"history\":[", "\"history\":[{\"step\":-1,\"evaluation\":{}}", "history is"),
        ])
    func forgery(text: String, other: String, sentence: String) throws {
        let session = try begun()
        for _ in 0..<3 { _ = try session.step() }
        let state = try saved(session)
        let before = try session.fingerprint()
        let failure = #expect(throws: Failure.self) {
            try session.load(forged(state, text, by: other), named: "state")
        }
        #expect(failure?.status == UNSAY_E_FORMAT)
        #expect(
            failure?.sentence.hasPrefix("state: damaged: \(sentence)") == true,
            "\(failure?.sentence ?? "") instead of \(sentence)")
        #expect(session.steps == 3)
        #expect(try session.fingerprint() == before)
        #expect(try saved(session).withBytes(Array.init) == state.withBytes(Array.init))
    }
}
