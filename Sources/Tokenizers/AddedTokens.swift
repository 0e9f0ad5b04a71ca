/// The added tokens of a tokenizer.json: spellings that are ids of their own wherever a text
/// holds them.
struct AddedTokens: Sendable {
    struct Segment {
        var bytes: Range<Int>
        /// nil for text.
        var id: Int32?
    }

    private let tokens: [FastTokenizerFile.AddedToken]
    /// The tokens that begin with a byte, the longest first.
    private var starts: [UInt8: [Int]] = [:]

    init(_ tokens: [FastTokenizerFile.AddedToken]) {
        self.tokens = tokens
        for (index, token) in tokens.enumerated() {
            if let first = token.content.first { starts[first, default: []].append(index) }
        }
        for first in starts.keys {
            starts[first]?.sort { tokens[$0].content.count > tokens[$1].content.count }
        }
    }

    /// Cuts a text at its added tokens, the longest at each place; a token's bytes are its own,
    /// without the white space that it strips. Empty stretches are left out.
    func split(_ text: UnsafeBufferPointer<UInt8>) -> [Segment] {
        var segments: [Segment] = []
        var begin = 0, at = 0
        while at < text.count {
            guard let token = match(text, at) else {
                at += 1
                continue
            }
            let end = at + token.content.count
            defer { at = end }
            if token.isSingleWord,
                isWord(text[..<at], last: true) || isWord(text[end...], last: false)
            {
                continue
            }
            var (left, right) = (at, end)
            if token.stripsLeft {
                left = max(begin, at - spaces(text[..<at].reversed(), isReversed: true))
            }
            if token.stripsRight { right = end + spaces(text[end...], isReversed: false) }
            if begin < left { segments.append(Segment(bytes: begin..<left, id: nil)) }
            segments.append(Segment(bytes: at..<end, id: token.id))
            begin = right
        }
        if begin < text.count { segments.append(Segment(bytes: begin..<text.count, id: nil)) }
        return segments
    }

    private func match(
        _ text: UnsafeBufferPointer<UInt8>, _ at: Int
    ) -> FastTokenizerFile.AddedToken? {
        for index in starts[text[at]] ?? [] where text[at...].starts(with: tokens[index].content) {
            return tokens[index]
        }
        return nil
    }

    /// How many bytes of white space a text begins with; or ends with, if it is given backwards.
    private func spaces(_ bytes: some Sequence<UInt8>, isReversed: Bool) -> Int {
        var count = 0
        var pending: [UInt8] = []
        for byte in bytes {
            pending.append(byte)
            let isWhole =
                isReversed
                ? byte & 0xC0 != 0x80 : pending.count == characterLength(pending[0])
            guard isWhole || pending.count < 4 else { break }
            guard isWhole else { continue }
            let text = String(decoding: isReversed ? pending.reversed() : pending, as: UTF8.self)
            guard let scalar = text.unicodeScalars.first, isWhiteSpace(scalar) else { break }
            count += pending.count
            pending.removeAll(keepingCapacity: true)
        }
        return count
    }

    /// True if the character next to a token is one of a word: `\w` of regular expressions.
    private func isWord(_ text: Slice<UnsafeBufferPointer<UInt8>>, last: Bool) -> Bool {
        var begin = text.startIndex
        if last {
            guard !text.isEmpty else { return false }
            begin = text.endIndex - 1
            while begin > text.startIndex, text[begin] & 0xC0 == 0x80 { begin -= 1 }
        }
        let rest = String(decoding: text[begin...].prefix(4), as: UTF8.self)
        guard let scalar = rest.unicodeScalars.first else { return false }
        let properties = scalar.properties
        return properties.isAlphabetic || properties.numericType == .decimal
            || properties.generalCategory == .connectorPunctuation
            || [.nonspacingMark, .spacingMark, .enclosingMark].contains(properties.generalCategory)
    }
}
