import CUnsay
import Patching
import Support
import Testing
import Tokenizers

/// A tokenizer whose pieces are given: ids from 3 on; 0 pads, 1 ends, 2 is unknown. It
/// encodes a text as the longest pieces from the left.
private final class TinyTokenizer: Tokenizer {
    let pieces: [String]
    let eosTokenID: Int32? = 1
    let padTokenID: Int32? = 0
    let unkTokenID: Int32 = 2
    let cleansUp = false
    let frame = InputFrame(end: 1)
    var vocabularySize: Int { pieces.count + 3 }

    init(_ pieces: [String]) { self.pieces = pieces }

    func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        var tokens: [Token] = []
        var at = 0
        while at < text.count {
            let fits = pieces.indices.filter { text[at...].starts(with: pieces[$0].utf8) }
            let best = fits.max { pieces[$0].utf8.count < pieces[$1].utf8.count }
            let end = at + (best.map { pieces[$0].utf8.count } ?? 1)
            tokens.append(Token(id: best.map { Int32($0) + 3 } ?? 2, begin: at, end: end))
            at = end
        }
        return tokens
    }

    func spellAsIs(_ ids: [Int32]) throws -> Spelling {
        var text: [UInt8] = []
        let tokens = ids.map { id in
            let begin = text.count
            if id >= 3 { text += Array(pieces[Int(id) - 3].utf8) }
            return Token(id: id, begin: begin, end: text.count)
        }
        return Spelling(text: text, tokens: tokens)
    }

    func piece(_ id: Int32) -> UnsafePointer<CChar>? { nil }
}

@Suite("Marks from spans")
struct MarkSpansTests {
    private let tokens = [
        Token(id: 5, begin: 0, end: 3), Token(id: 6, begin: 3, end: 5),
        Token(id: 7, begin: 5, end: 9), Token(id: 1, begin: 9, end: 9),
    ]

    @Test("the tokens whose bytes overlap a span are avoided")
    func overlap() {
        #expect(markSpans(tokens, spans: [2..<4], extent: .all) == [-1, -1, 1, 1])
        #expect(markSpans(tokens, spans: [3..<5], extent: .all) == [1, -1, 1, 1])
        #expect(markSpans(tokens, spans: [0..<1, 8..<99], extent: .all) == [-1, 1, -1, 1])
    }

    @Test("an empty span, and the end of the sequence, are left alone")
    func nothing() {
        #expect(markSpans(tokens, spans: [4..<4, 9..<20], extent: .all) == [1, 1, 1, 1])
        #expect(markSpans(tokens, spans: [], extent: .all) == [1, 1, 1, 1])
        #expect(markSpans([], spans: [0..<4], extent: .all) == [])
    }

    @Test("the extent holds for each span")
    func extent() {
        let spans = [0..<5, 4..<9]
        #expect(markSpans(tokens, spans: spans, extent: .first) == [-1, -1, 1, 1])
        #expect(markSpans(tokens, spans: spans, extent: .last) == [1, -1, -1, 1])
    }
}

@Suite("Marks from phrases")
struct MarkPhrasesTests {
    private let tokenizer = TinyTokenizer([
        "a", " sim", "ple", " simple", " Simple", "r", " tool", " ", "s", "É", "é", "日", "本",
    ])

    private func marks(
        _ text: String, _ phrases: [String], _ extent: Extent = .all
    ) throws -> [Int8] {
        let ids = try tokenizer.encode(text).map(\.id) + [1]
        return try markPhrases(ids: ids, phrases: phrases, extent: extent, tokenizer: tokenizer)
    }

    @Test("a phrase is found however it is cased")
    func cased() throws {
        #expect(try marks("a Simple tool", ["simple"]) == [1, -1, 1, 1])
        #expect(try marks("a simple tool", ["SIMPLE TOOL"]) == [1, -1, -1, 1])
        #expect(try marks("a É", ["é"]) == [1, 1, -1, 1])
    }

    @Test("a phrase is found however it is split")
    func split() throws {
        let marks = try markPhrases(
            ids: [3, 4, 5, 9, 1], phrases: ["simple"], extent: .all, tokenizer: tokenizer)
        #expect(marks == [1, -1, -1, 1, 1])
        let last = try markPhrases(
            ids: [3, 4, 5, 9, 1], phrases: ["simple"], extent: .last, tokenizer: tokenizer)
        #expect(last == [1, 1, -1, 1, 1])
    }

    @Test("a phrase inside a longer word is not found")
    func words() throws {
        #expect(try marks("a simpler tools", ["simple", "tool"]) == [1, 1, 1, 1, 1, 1])
    }

    @Test("any white space matches any other, and runs of it")
    func whiteSpace() throws {
        #expect(try marks("a simple   tool", [" simple\ntool "]) == [1, -1, -1, -1, -1, 1])
    }

    @Test("in scripts without spaces a phrase needs none around it")
    func ideographs() throws {
        #expect(try marks("日本", ["本"]) == [1, -1, 1])
    }

    @Test("an empty phrase is refused")
    func empty() {
        let failure = #expect(throws: Failure.self) { try marks("a", ["a", " \n"]) }
        #expect(failure?.status == UNSAY_E_ARGUMENT)
        #expect(failure?.sentence == "phrase 1 is empty: nothing would match it")
    }
}

@Suite("Marks from a correction")
struct MarkDifferenceTests {
    private func marks(
        _ output: [Int32], _ corrected: [Int32], _ extent: Extent = .all
    ) throws -> [Int8] {
        try markDifference(output: output, corrected: corrected, extent: extent)
    }

    @Test("replaced and deleted tokens are avoided")
    func replaced() throws {
        #expect(try marks([5, 6, 7, 1], [5, 8, 7, 1]) == [1, -1, 1, 1])
        #expect(try marks([5, 6, 7, 1], [5, 7, 1]) == [1, -1, 1, 1])
        #expect(try marks([5, 6, 7, 1], [1]) == [-1, -1, -1, 1])
        #expect(try marks([5, 6, 1], [5, 6, 1]) == [1, 1, 1])
    }

    @Test("an insertion marks the token before which it belongs, the end included")
    func inserted() throws {
        #expect(try marks([5, 7, 1], [5, 6, 7, 1]) == [1, -1, 1])
        #expect(try marks([5, 1], [5, 6, 7, 1]) == [1, -1])
        #expect(try marks([5], [5, 6]) == [1])
        #expect(try marks([5, 6, 7, 1], [5, 8, 9, 7, 1]) == [1, -1, 1, 1])
    }

    @Test("the output and its correction agree as long as they can from the start")
    func earliest() throws {
        #expect(try marks([5, 5, 6, 1], [5, 6, 1]) == [1, -1, 1, 1])
        #expect(try marks([5, 6, 1], [5, 6, 6, 1]) == [1, 1, -1])
    }

    @Test("the extent holds for each run")
    func runs() throws {
        let output: [Int32] = [5, 6, 7, 8, 9, 10, 1],
            corrected: [Int32] = [15, 16, 7, 8, 19, 20, 1]
        #expect(try marks(output, corrected, .all) == [-1, -1, 1, 1, -1, -1, 1])
        #expect(try marks(output, corrected, .first) == [-1, 1, 1, 1, -1, 1, 1])
        #expect(try marks(output, corrected, .last) == [1, -1, 1, 1, 1, -1, 1])
    }

    @Test("nothing against nothing marks nothing")
    func empty() throws {
        #expect(try marks([], []) == [])
        #expect(try marks([], [5]) == [])
        #expect(try marks([5], []) == [-1])
    }

    @Test("texts too long to compare are refused")
    func long() {
        let failure = #expect(throws: Failure.self) {
            try marks(Array(repeating: 5, count: 9000), Array(repeating: 6, count: 9000))
        }
        #expect(failure?.status == UNSAY_E_ARGUMENT)
    }
}
