import Support
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

    /// The tokens that a tokenizer_config.json defines beside the tiny model's pieces and for
    /// bytes; one that is refused is left alone, so that the rest of its folder is tried.
    static func tokenize(tokenizerConfig bytes: UnsafeRawBufferPointer) {
        func attempt(_ make: (TokenizerSettings) throws -> any Tokenizer) {
            do {
                let settings = try TokenizerSettings { name in
                    name == "tokenizer_config.json" ? bytes : nil
                }
                try use(make(settings))
            } catch let failure as Failure {
                if failure.sentence.isEmpty { preconditionFailure("a refusal without a reason") }
            } catch {
                preconditionFailure("an error that is no Failure")
            }
        }
        attempt { settings in
            try (tinyModel["spiece.model"] ?? []).withUnsafeBytes {
                try SentencePieceTokenizer(model: $0, named: "spiece.model", settings: settings)
            }
        }
        attempt { try ByteTokenizer(settings: $0) }
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
