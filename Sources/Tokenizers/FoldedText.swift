/// Text in which phrases are looked up: lower case, white space made regular.
package struct FoldedText: Equatable {
    private struct Character: Equatable {
        var scalar: Unicode.Scalar
        /// The bytes of the text that it came from.
        var bytes: Range<Int>
    }

    private static let space: Unicode.Scalar = " "
    private var characters: [Character] = []

    package var isEmpty: Bool { characters.isEmpty }
    package var scalars: [Unicode.Scalar] { characters.map(\.scalar) }

    /// - Parameter text: UTF-8; what is not becomes U+FFFD.
    package init(_ text: [UInt8]) {
        var begin = 0
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            let bytes = begin..<(begin + UTF8.width(scalar))
            begin = bytes.upperBound
            if scalar.properties.isWhitespace {
                if let last = characters.last, last.scalar == Self.space {
                    characters[characters.count - 1].bytes = last.bytes.lowerBound..<begin
                } else {
                    characters.append(Character(scalar: Self.space, bytes: bytes))
                }
            } else {
                for folded in scalar.properties.lowercaseMapping.unicodeScalars {
                    characters.append(Character(scalar: folded, bytes: bytes))
                }
            }
        }
    }

    /// Without white space at its ends.
    package func trimmed() -> FoldedText {
        var copy = self
        if copy.characters.first?.scalar == Self.space { copy.characters.removeFirst() }
        if copy.characters.last?.scalar == Self.space { copy.characters.removeLast() }
        return copy
    }

    /// The bytes of each place where `phrase` stands as whole words: it does not continue a
    /// word before it, nor does one after it continue it. Occurrences may overlap.
    package func occurrences(of phrase: FoldedText) -> [Range<Int>] {
        let size = phrase.characters.count
        guard size > 0, size <= characters.count else { return [] }
        return (0...(characters.count - size)).compactMap { begin in
            let end = begin + size
            for offset in 0..<size
            where characters[begin + offset].scalar != phrase.characters[offset].scalar {
                return nil
            }
            guard !continuesWord(at: begin), !continuesWord(at: end) else { return nil }
            return characters[begin].bytes.lowerBound..<characters[end - 1].bytes.upperBound
        }
    }

    /// True if the characters before and at `index` belong to one word.
    private func continuesWord(at index: Int) -> Bool {
        guard index > 0, index < characters.count else { return false }
        let before = characters[index - 1].scalar, after = characters[index].scalar
        if Self.isMark(after) && before != Self.space { return true }
        return Self.joinsWords(before) && Self.joinsWords(after)
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: true
        default: false
        }
    }

    /// Letters and digits of scripts that put spaces between words.
    private static func joinsWords(_ scalar: Unicode.Scalar) -> Bool {
        guard
            scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                || isMark(scalar)
        else { return false }
        return !scalar.properties.isIdeographic && !isUnspaced(scalar.value)
    }

    /// Thai and Lao, Myanmar, Khmer, kana: written without spaces between words.
    private static func isUnspaced(_ value: UInt32) -> Bool {
        switch value {
        case 0x0E00...0x0EFF, 0x1000...0x109F, 0x1780...0x17FF, 0x3040...0x30FF: true
        default: false
        }
    }
}
