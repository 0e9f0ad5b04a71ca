import CUnsay
import Classifying
import Support
import Testing
import Tokenizers

/// "ab cd" in three tokens and an end.
private let tokens = [
    Token(id: 5, begin: 0, end: 1), Token(id: 6, begin: 1, end: 2),
    Token(id: 7, begin: 2, end: 5), Token(id: 1, begin: 5, end: 5),
]

@Suite("Texts to learn from")
struct LabelledTextTests {
    @Test("tokens that share a byte with a span are marked, the end never")
    func labels() throws {
        func labels(_ spans: [(begin: Int, end: Int)]) throws -> [Bool]? {
            try LabelledText(tokens, spans: spans, named: "spans")?.isMarked
        }
        #expect(try labels([]) == [false, false, false, false])
        #expect(try labels([(0, 1)]) == [true, false, false, false])
        #expect(try labels([(1, 3)]) == [false, true, true, false])
        #expect(try labels([(4, 5), (0, 1)]) == [true, false, true, false])
        #expect(try labels([(0, 5), (2, 3)]) == [true, true, true, false])
    }

    @Test("a text without a character is none to learn from")
    func blank() throws {
        let text = try LabelledText([Token(id: 1, begin: 0, end: 0)], spans: [], named: "spans")
        #expect(text == nil)
    }

    @Test(
        "a span that is empty or outside the text is named",
        arguments: [(2, 2), (3, 2), (4, 6), (-1, 2), (Int.max, Int.min)])
    func outside(begin: Int, end: Int) {
        #expect {
            try LabelledText(tokens, spans: [(0, 1), (begin, end)], named: "texts[3].spans")
        } throws: { error in
            let failure = error as? Failure
            return failure?.status == UNSAY_E_ARGUMENT
                && failure?.sentence.hasPrefix("texts[3].spans[1] runs from \(begin)") == true
        }
    }
}
