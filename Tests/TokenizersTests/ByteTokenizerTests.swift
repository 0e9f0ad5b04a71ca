import Testing
import Tokenizers

@Suite("ByT5's bytes")
struct ByteTokenizerTests {
    @Test("texts give the ids of transformers' ByT5Tokenizer, and decode alike")
    func parity() throws {
        let tokenizer = try ByteTokenizer()
        let cases = try Goldens.cases("byt5")
        try #require(!cases.isEmpty)
        for row in cases {
            #expect(ids(try tokenizer.encode(row.text)) == row.ids, "\(row.text.debugDescription)")
            let decoded = try tokenizer.decode(row.ids)
            #expect(decoded == Array(row.decoded.utf8), "\(row.text.debugDescription)")
        }
    }

    @Test("each id stands for one byte, and bytes that form no character are left out")
    func spans() throws {
        let tokenizer = try ByteTokenizer()
        #expect(tokenizer.vocabularySize == 384)
        let tokens = try tokenizer.encode("é</s>a")
        #expect(ids(tokens) == [198, 172, 1, 100])
        #expect(tokens.map(\.bytes) == [0..<1, 1..<2, 2..<6, 6..<7])
        let spelling = try tokenizer.spell([198, 100, 198, 172, 1])
        #expect(string(spelling.text) == "aé")
        #expect(spelling.tokens.map(\.bytes) == [0..<0, 0..<1, 1..<2, 2..<3, 3..<3])
    }
}
