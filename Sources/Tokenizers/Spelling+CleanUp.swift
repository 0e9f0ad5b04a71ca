extension Spelling {
    /// What is written on the left without the space or spaces in it, in this order:
    /// transformers' clean_up_tokenization.
    private static let patterns = [
        " .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're",
    ]
    .map { Array($0.utf8) }

    /// The bytes that the end of a text can have in common with a pattern that goes on.
    private static let open = Set(" 'nvr".utf8)

    /// Without the spaces before English punctuation and abbreviations.
    func cleanedUp() -> Spelling {
        var spelling = self
        for pattern in Self.patterns { spelling.remove(pattern) }
        return spelling
    }

    /// How many bytes of a cleaned text stay as they are, whatever comes after it.
    static func settledCount(of text: [UInt8]) -> Int {
        let tail = text.reversed().prefix { open.contains($0) }.count
        let start = text.count - tail
        return text[start...].firstIndex(of: UInt8(ascii: " ")) ?? text.count
    }

    /// Takes the spaces out of every place where a pattern stands, from left to right.
    private mutating func remove(_ pattern: [UInt8]) {
        let space = UInt8(ascii: " ")
        guard text.contains(space) else { return }
        // Where each byte lands, and one more for the end.
        var places: [Int] = []
        var cleaned: [UInt8] = []
        cleaned.reserveCapacity(text.count)
        places.reserveCapacity(text.count + 1)
        var at = 0
        while at < text.count {
            let isMatch = text[at] == space && text[at...].starts(with: pattern)
            for byte in text[at..<(at + (isMatch ? pattern.count : 1))] {
                places.append(cleaned.count)
                if !isMatch || byte != space { cleaned.append(byte) }
            }
            at += isMatch ? pattern.count : 1
        }
        guard cleaned.count < text.count else { return }
        places.append(cleaned.count)
        text = cleaned
        for index in tokens.indices {
            tokens[index].begin = places[tokens[index].begin]
            tokens[index].end = places[tokens[index].end]
        }
    }
}
