import Testing
import Tokenizers

@testable import Classifying

/// The texts of the runs that tokens with these ends make of a text; those in `marked` have p 0.5.
private func runs(
    _ text: String, ends: [Int], marked: [Int], threshold: Float = 0.5
) -> [String] {
    let bytes = Array(text.utf8)
    let tokens = ends.enumerated().map { index, end in
        Token(id: 0, begin: index == 0 ? 0 : ends[index - 1], end: end)
    }
    let p = tokens.indices.map { marked.contains($0) ? Float(0.5) : 0.25 }
    return markedRuns(Spelling(text: bytes, tokens: tokens), p, threshold: threshold).map {
        "\($0.lowerBound):" + String(decoding: bytes[$0], as: UTF8.self)
    }
}

@Suite("Runs of marked tokens")
struct MarkedRunsTests {
    @Test("a run begins and ends without whitespace")
    func trimmed() {
        #expect(runs("you fool, no", ends: [3, 8, 9, 12, 12], marked: [1]) == ["4:fool"])
        #expect(runs("a b \u{3000}\u{1C}", ends: [1, 8], marked: [1]) == ["2:b"])
    }

    @Test("runs that only whitespace separates are one")
    func joined() {
        #expect(runs("a  bad word", ends: [1, 6, 11], marked: [1, 2]) == ["3:bad word"])
        #expect(runs("no \u{A0}\n no", ends: [2, 7, 9], marked: [0, 2]) == ["0:no \u{A0}\n no"])
    }

    @Test("runs with a character between them are apart")
    func apart() {
        #expect(runs("no, no", ends: [2, 3, 6], marked: [0, 2]) == ["0:no", "4:no"])
    }

    @Test("tokens of whitespace, or of nothing, are no runs")
    func nothing() {
        #expect(runs("a  b", ends: [1, 3, 4, 4], marked: [1, 3]) == [])
        #expect(runs("", ends: [0], marked: [0]) == [])
    }

    @Test("characters that tokens cut are taken whole")
    func characters() {
        // Tokens of one byte, as of ByT5.
        #expect(runs("aé€b", ends: Array(1...7), marked: [2]) == ["1:é"])
        #expect(runs("aé€b", ends: Array(1...7), marked: [2, 3]) == ["1:é€"])
        #expect(runs("a€b", ends: Array(1...5), marked: [1, 2, 3]) == ["1:€"])
    }

    @Test("bytes that are no text are no whitespace, and lead nowhere outside")
    func broken() {
        let bytes: [UInt8] = [0x80, 0xE2, 0x82, 0x20, 0xBF]
        let tokens = bytes.indices.map { Token(id: 0, begin: $0, end: $0 + 1) }
        let found = markedRuns(
            Spelling(text: bytes, tokens: tokens), [0, 0, 0, 0, 1], threshold: 1)
        #expect(found == [3..<5])
    }

    @Test("the threshold itself is enough; 0 takes all and 1 what is certain")
    func threshold() {
        let half = { runs("a,b", ends: [1, 2, 3], marked: [0], threshold: $0) }
        #expect(half(0.5) == ["0:a"])
        #expect(half(0) == ["0:a,b"])
        #expect(half(1) == [])
    }
}
