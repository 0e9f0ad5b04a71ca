import Tokenizers

private let texts = [
    "", " ", "a small library  for reading files\n",
    "<extra_id_0> caf\u{e9} \u{fb01} \u{1F469}\u{200D}\u{1F4BB}",
    "\u{0}\u{7f}\u{FEFF}!!!!!!", "Ⅷ ｆｕｌｌ　width\u{301}",
]

extension FuzzTarget {
    static func tokenize(spiece bytes: UnsafeRawBufferPointer) throws {
        // The last byte, whatever it is in the model, chooses the options.
        let choice = bytes.last ?? 0
        try use(
            SentencePieceTokenizer(
                model: bytes, named: "spiece.model",
                settings: TokenizerSettings(
                    extraIDs: Int(choice >> 1), isLegacy: choice & 1 == 0)))
    }

    static func tokenize(json bytes: UnsafeRawBufferPointer) throws {
        try use(FastTokenizer(json: bytes, named: "tokenizer.json"))
    }

    static func use(_ tokenizer: any Tokenizer) throws {
        for text in texts {
            let tokens = try tokenizer.encode(text)
            let size = text.utf8.count
            var end = 0
            for token in tokens {
                guard token.begin >= 0, token.begin <= token.end, token.end <= size,
                    token.end >= end
                else { preconditionFailure("a span outside its text") }
                end = token.end
            }
            _ = try tokenizer.decode(tokens.map(\.id))
        }
        _ = try tokenizer.decode([-1, 0, 1, 2, 3, 31, 32, .max, .min])
    }
}
