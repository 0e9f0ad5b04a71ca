import CUnsay
import Support
import Testing
import Tokenizers

/// Equality of Swift strings ignores how characters are composed; these tests may not.
private func same(_ bytes: [UInt8], _ text: String) -> Bool { bytes == Array(text.utf8) }

@Suite("SentencePiece against transformers")
struct SentencePieceParityTests {
    private func compare(
        _ tokenizer: any Tokenizer, _ cases: [Case]
    ) throws {
        try #require(!cases.isEmpty)
        for row in cases {
            let found = ids(try tokenizer.encode(row.text))
            #expect(found == row.ids, "\(row.text.debugDescription)")
        }
    }

    private func compareDecoding(_ tokenizer: any Tokenizer, _ cases: [Case]) throws {
        try #require(!cases.isEmpty)
        for row in cases {
            let found = try tokenizer.decode(row.ids)
            #expect(same(found, row.decoded), "\(row.ids): \(string(found)) against \(row.decoded)")
        }
    }

    @Test("200 real inputs give the ids of the slow tokenizer")
    func reference() throws {
        let tokenizer = try Goldens.tokenizer()
        for row in try Goldens.cases("reference") {
            // They were cut to 128 ids, the end of the sequence among them.
            let found = ids(try tokenizer.encode(row.text)).prefix(127) + [1]
            #expect(Array(found) == row.ids, "\(row.text.debugDescription)")
        }
    }

    @Test("odd texts give the ids of the slow tokenizer, and decode alike")
    func legacy() throws {
        let tokenizer = try Goldens.tokenizer(), cases = try Goldens.cases("legacy")
        try compare(tokenizer, cases)
        try compareDecoding(tokenizer, cases)
    }

    @Test("legacy: false gives its ids too")
    func modern() throws {
        let tokenizer = try Goldens.tokenizer(legacy: false), cases = try Goldens.cases("modern")
        try compare(tokenizer, cases)
        try compareDecoding(tokenizer, cases)
    }

    @Test("unknown characters are split into bytes where the model says so")
    func bytes() throws {
        let tokenizer = try Goldens.tokenizer(tail: Goldens.byteFallback, extraIDs: 0)
        try compare(tokenizer, Goldens.cases("bytes"))
        try compareDecoding(tokenizer, Goldens.cases("bytes"))
        try compareDecoding(tokenizer, Goldens.cases("bytes_random_ids"))
    }

    @Test("user-defined pieces stay whole, unused ones are never chosen")
    func userDefined() throws {
        let tokenizer = try Goldens.tokenizer(tail: Goldens.userDefined, extraIDs: 0)
        try compare(tokenizer, Goldens.cases("user"))
        try compareDecoding(tokenizer, Goldens.cases("user"))
    }

    @Test("any ids decode to the same text")
    func randomIDs() throws {
        try compareDecoding(Goldens.tokenizer(), Goldens.cases("random_ids"))
    }
}

@Suite("SentencePiece")
struct SentencePieceTokenizerTests {
    /// The text behind each id.
    private func spans(_ text: String, tail: [UInt8] = []) throws -> [String] {
        let bytes = Array(text.utf8)
        return try Goldens.tokenizer(tail: tail).encode(text).map { string(Array(bytes[$0.bytes])) }
    }

    @Test("every id knows the bytes of the original text behind it")
    func spans() throws {
        #expect(try spans("a package") == ["a", " package"])
        #expect(try spans("  a    package  ") == ["a", "    package"])
        #expect(try spans("the café").joined() == "the café")
        #expect(try spans("ＧＮＵ Ｒ").joined() == "ＧＮＵ Ｒ")
        #expect(try spans("x ☃☃ y").contains("☃☃"))
    }

    @Test("the bytes behind ids follow each other and stay inside the text")
    func order() throws {
        let tokenizer = try Goldens.tokenizer()
        for row in try Goldens.cases("legacy") {
            let tokens = try tokenizer.encode(row.text)
            var end = 0
            for token in tokens {
                #expect(
                    end <= token.begin && token.begin <= token.end, "\(row.text.debugDescription)")
                end = token.end
            }
            #expect(end <= row.text.utf8.count)
        }
    }

    @Test("special ids and pieces are found in the model file")
    func specials() throws {
        let tokenizer = try Goldens.tokenizer()
        #expect(tokenizer.vocabularySize == 8100)
        #expect(tokenizer.padTokenID == 0)
        #expect(tokenizer.eosTokenID == 1)
        #expect(tokenizer.unkTokenID == 2)
        #expect(tokenizer.piece(1).map { String(cString: $0) } == "</s>")
        #expect(tokenizer.piece(8099).map { String(cString: $0) } == "<extra_id_0>")
        #expect(tokenizer.piece(8000).map { String(cString: $0) } == "<extra_id_99>")
        #expect(tokenizer.piece(8100) == nil)
        #expect(tokenizer.piece(-1) == nil)
    }

    @Test("spelling keeps what each id contributed, and is stripped as a whole")
    func spelling() throws {
        let tokenizer = try Goldens.tokenizer()
        let ids = ids(try tokenizer.encode("a package"))
        let spelling = try tokenizer.spell([0] + ids + [1, 20_000])
        #expect(string(spelling.text) == "a package")
        #expect(spelling.tokens.map(\.begin) == [0, 0, 1, 9, 9])
        #expect(spelling.tokens.map(\.end) == [0, 1, 9, 9, 9])
    }

    @Test("bytes of one character are shared out among their ids; bad ones are replaced")
    func byteSpelling() throws {
        let tokenizer = try Goldens.tokenizer(tail: Goldens.byteFallback, extraIDs: 0)
        func id(_ byte: Int32) -> Int32 { 8000 + byte }
        let spelling = try tokenizer.spell([id(0xC3), 0, id(0xA9), id(0xFF), id(0x41), 1])
        #expect(string(spelling.text) == "é\u{FFFD}A")
        #expect(spelling.tokens.map(\.begin) == [0, 1, 1, 2, 5, 6])
        #expect(spelling.tokens.map(\.end) == [1, 1, 2, 5, 6, 6])
    }

    @Test("text that is not UTF-8 is refused at its first bad byte")
    func invalidText() throws {
        let tokenizer = try Goldens.tokenizer()
        let failure = #expect(throws: Failure.self) {
            try [0x61, 0xC3, 0xA9, 0xFF].withUnsafeBufferPointer { try tokenizer.encode($0) }
        }
        #expect(failure?.status == UNSAY_E_TEXT)
        #expect(failure?.sentence == "the text is not UTF-8: byte 3 (of 4) is not valid")
    }

    @Test("negative ids are refused")
    func negative() throws {
        let tokenizer = try Goldens.tokenizer()
        let failure = #expect(throws: Failure.self) { try tokenizer.decode([3, -1]) }
        #expect(failure?.status == UNSAY_E_ARGUMENT)
    }

    @Test("a model file that is torn or changed anywhere is refused or works, but never ends us")
    func hostile() throws {
        let file = try Goldens.modelFile()
        func open(_ bytes: [UInt8]) throws {
            let tokenizer = try bytes.withUnsafeBytes {
                try SentencePieceTokenizer(
                    model: $0, named: "x", settings: TokenizerSettings(extraIDs: 0))
            }
            let tokens = try tokenizer.encode("ﬁne ＧＮＵ ½ é text")
            _ = try tokenizer.decode(ids(tokens))
        }
        func check(_ bytes: [UInt8]) {
            do {
                try open(bytes)
            } catch let failure as Failure {
                #expect([UNSAY_E_FORMAT, UNSAY_E_UNSUPPORTED].contains(failure.status))
            } catch {
                Issue.record("\(error)")
            }
        }
        check([])
        check(Array("not a model".utf8))
        for size in stride(from: 1, to: file.count, by: file.count / 10) {
            check(Array(file[..<size]))
        }
        var random = SplitMix(state: 1)
        for _ in 0..<10 {
            var bytes = file
            for _ in 0..<20 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: .min ... .max, using: &random)
            }
            check(bytes)
        }
    }
}

/// A small generator with a seed, so that failures come again.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
