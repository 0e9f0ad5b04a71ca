/// Puts a text together as slow tokenizers of transformers decode: added tokens and the
/// stretches of pieces between them, with a space between two of those.
struct JoinedSpelling {
    private var text: [UInt8] = []
    private var tokens: [Token] = []
    private var hasPart = false
    private let joinsWithSpaces: Bool

    /// - Parameter joinsWithSpaces: false for transformers 5, which writes one after the other.
    init(joinsWithSpaces: Bool) { self.joinsWithSpaces = joinsWithSpaces }

    /// - Parameter isKept: whether the part counts though it is empty.
    mutating func append(_ part: Spelling, isKept: Bool) {
        guard isKept || !part.text.isEmpty else {
            tokens += part.tokens.map { Token(id: $0.id, begin: text.count, end: text.count) }
            return
        }
        // The space belongs to the first token that has text, as that of a piece does.
        let begin = text.count
        if hasPart && joinsWithSpaces { text.append(UInt8(ascii: " ")) }
        hasPart = true
        let shift = text.count
        text += part.text
        tokens += part.tokens.map { token in
            Token(
                id: token.id, begin: token.begin == 0 ? begin : token.begin + shift,
                end: token.end == 0 ? begin : token.end + shift)
        }
    }

    mutating func append(_ content: [UInt8], id: Int32) {
        append(
            Spelling(text: content, tokens: [Token(id: id, begin: 0, end: content.count)]),
            isKept: true)
    }

    func finish() -> Spelling { Spelling(text: text, tokens: tokens) }
}
