import CUnsay
import Models
import Support
import Testing

@testable import Classifying

private func trained(_ model: Model) throws -> Classifier {
    var options = ClassifierOptions()
    options.passes = 2
    return try Classifier(model, learning: labelledTexts(6), options)
}

private func write(_ bytes: [UInt8], _ path: String) throws {
    try bytes.withUnsafeBytes { try Files.write([$0], to: path) }
}

/// What a file holds, with its digest.
private func withDigest(_ content: [UInt8]) -> [UInt8] {
    var digest = SHA256()
    content.withUnsafeBytes { digest.update($0) }
    return content + digest.finish()
}

/// The status and sentence with which the bytes are refused; nil if they are taken.
private func refusal(_ bytes: [UInt8]) -> (status: unsay_status?, sentence: String) {
    do {
        _ = try ClassifierFile(
            parsing: Bytes(capacity: bytes.count, purpose: "a file") { out in
                out.copyBytes(from: bytes)
                return bytes.count
            }, named: "head")
    } catch let failure as Failure {
        return (failure.status, failure.sentence)
    } catch {}
    return (nil, "")
}

/// A small file without its digest, and what makes others of it.
private let small: [UInt8] = {
    let file = ClassifierFile(
        LinearHead(mean: [1, -2], weights: [0.5, 3], bias: -0.25),
        ClassifierFacts(
            encoder: (0..<32).map { $0 }, tokenCount: 30, markedCount: 7, loss: 0.125))
    var content: [UInt8] = []
    do {
        try withPath { path in
            try file.save(path)
            content = try Files.read(path, limit: 1 << 10).withBytes { Array($0.dropLast(32)) }
        }
    } catch { Issue.record(error) }
    return content
}()

private func changed(_ at: Int, _ bytes: [UInt8]) -> [UInt8] {
    var content = small
    content.replaceSubrange(at..<at + bytes.count, with: bytes)
    return withDigest(content)
}

@Suite("Classifiers as files")
struct ClassifierFileTests {
    @Test("a classifier comes back as it was saved")
    func exact() throws {
        let model = try tinyModel()
        let classifier = try trained(model)
        let again = try withPath { path in
            try classifier.save(path)
            return try Classifier(model, opening: path)
        }
        #expect(again.head == classifier.head && again.facts == classifier.facts)
        let ids: [Int32] = [5, 9, 12, 1]
        #expect(try again.probabilities(ids) == classifier.probabilities(ids))
    }

    @Test("the bytes are those that docs/classifier.md describes")
    func format() {
        #expect(Array(small[..<16]) == Array("UNSAYCLS".utf8) + [1, 0, 0, 0, 2, 0, 0, 0])
        #expect(small[16..<48].elementsEqual(0..<32))
        #expect(Array(small[48..<64]) == littleEndian(UInt64(30)) + littleEndian(UInt64(7)))
        #expect(Array(small[64..<72]) == littleEndian((0.125).bitPattern))
        let floats: [Float] = [-0.25, 1, -2, 0.5, 3]
        #expect(Array(small[72...]) == floats.flatMap { littleEndian($0.bitPattern) })
        #expect(refusal(withDigest(small)).status == nil)
    }

    @Test("a file that is cut short or longer is refused")
    func torn() {
        let whole = withDigest(small)
        for size in 0..<whole.count {
            #expect(refusal(Array(whole[..<size])).status == UNSAY_E_FORMAT, "\(size) bytes")
        }
        #expect(refusal(whole + [0]).status == UNSAY_E_FORMAT)
        for size in stride(from: 0, to: small.count, by: 3) {
            let found = refusal(withDigest(Array(small[..<size])))
            #expect(found.status == UNSAY_E_FORMAT, "\(size) bytes and their digest")
        }
    }

    @Test("a file with any bit changed is refused")
    func damaged() {
        let whole = withDigest(small)
        for at in whole.indices {
            var bytes = whole
            bytes[at] ^= 1 << (at % 8)
            let wanted = (8..<12).contains(at) ? UNSAY_E_UNSUPPORTED : UNSAY_E_FORMAT
            #expect(refusal(bytes).status == wanted, "byte \(at)")
        }
    }

    @Test("a file that lies, with a digest that is right, is refused by name")
    func lies() {
        let infinity = littleEndian(Float.infinity.bitPattern)
        let cases: [(Int, [UInt8], String)] = [
            (0, Array("UNSAYDLT".utf8), "UNSAYCLS"),
            (8, [2], "version 2"),
            (12, [0], "d_model is 0; it must be in 1...1048576"),
            (12, [255, 255, 255, 255], "d_model is 4294967295"),
            (12, [1], "8 bytes follow its end"),
            (12, [3], "w takes 12 bytes; 4 are left"),
            (48, littleEndian(UInt64.max), "number of tokens is 18446744073709551615"),
            (56, littleEndian(UInt64(31)), "number of marked tokens is 31; it must be in 0...30"),
            (64, littleEndian(Double.nan.bitPattern), "loss is nan; it must be finite"),
            (72, infinity, "b is not finite"), (76, infinity, "mean is not finite"),
            (88, infinity, "w is not finite; it must be finite numbers"),
        ]
        for (at, bytes, word) in cases {
            let found = refusal(changed(at, bytes))
            #expect(
                found.status == (at == 8 ? UNSAY_E_UNSUPPORTED : UNSAY_E_FORMAT)
                    && found.sentence.hasPrefix("head: ") && found.sentence.contains(word),
                "byte \(at): \(found)")
        }
    }

    @Test("a file of another width or another encoder is refused, one of another decoder is not")
    func mismatch() throws {
        let model = try tinyModel()
        let classifier = try trained(model)
        try withPath { path in
            func refused(_ word: String, _ line: Int = #line) {
                do {
                    _ = try Classifier(model, opening: path)
                    Issue.record("line \(line): opened")
                } catch {
                    let failure = error as? Failure
                    #expect(failure?.status == UNSAY_E_MISMATCH, "line \(line)")
                    #expect(failure?.sentence.contains(word) == true, "line \(line): \(error)")
                }
            }
            try write(withDigest(small), path)
            refused("states of 2 numbers")
            try classifier.save(path)
            try patch(model, "decoder.")
            #expect(try Classifier(model, opening: path).head == classifier.head)
            try patch(model, "encoder.block.1.")
            refused("encoder")
        }
    }

    @Test("a missing file, a folder and one beyond all sizes are refused by name")
    func files() throws {
        let model = try tinyModel()
        func status(_ path: String, _ word: String = "") -> unsay_status? {
            do {
                _ = try Classifier(model, opening: path)
            } catch let failure as Failure where failure.sentence.contains(path) {
                return word.isEmpty || failure.sentence.contains(word) ? failure.status : nil
            } catch {}
            return nil
        }
        #expect(status("/nowhere/head") == UNSAY_E_NOT_FOUND)
        #expect(status("/tmp") == UNSAY_E_IO)
        try withPath { path in
            try write([UInt8](repeating: 0, count: ClassifierFile.largest + 1), path)
            #expect(status(path, "at most") == UNSAY_E_FORMAT)
        }
    }
}
