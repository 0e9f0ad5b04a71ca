import Tokenizers

/// Runs of tokens whose probability is `threshold` or more, as bytes of their text.
///
/// Ranges are in order and apart, begin and end with whole characters that are no whitespace,
/// and have more than whitespace between them.
///
/// - Parameter probabilities: one for each token.
func markedRuns(
    _ text: Spelling, _ probabilities: [Float], threshold: Float
) -> [Range<Int>] {
    let characters = Characters(bytes: text.text)
    var runs: [Range<Int>] = []
    for (token, p) in zip(text.tokens, probabilities) where p >= threshold {
        let range = characters.trimmed(characters.whole(token.bytes))
        guard !range.isEmpty else { continue }
        if let last = runs.last,
            range.lowerBound <= last.upperBound
                || characters.areBlank(last.upperBound..<range.lowerBound)
        {
            let end = max(last.upperBound, range.upperBound)
            runs[runs.count - 1] = min(last.lowerBound, range.lowerBound)..<end
        } else {
            runs.append(range)
        }
    }
    return runs
}

/// The characters of a text in UTF-8.
private struct Characters {
    let bytes: [UInt8]

    /// The range with all bytes of the characters that it cuts.
    func whole(_ range: Range<Int>) -> Range<Int> {
        guard !range.isEmpty else { return range }
        var (begin, end) = (range.lowerBound, range.upperBound)
        while begin > 0, isInner(begin) { begin -= 1 }
        while end < bytes.count, isInner(end) { end += 1 }
        return begin..<end
    }

    /// The range, of whole characters, without whitespace at either end.
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        var (begin, end) = (range.lowerBound, range.upperBound)
        while begin < end {
            let next = whole(begin..<begin + 1)
            guard areBlank(next) else { break }
            begin = next.upperBound
        }
        while begin < end {
            let last = whole(end - 1..<end)
            guard areBlank(last) else { break }
            end = last.lowerBound
        }
        return begin..<end
    }

    /// Whether a range of whole characters holds nothing but whitespace: what Unicode calls so,
    /// and the four separators of ASCII.
    func areBlank(_ range: Range<Int>) -> Bool {
        String(decoding: bytes[range], as: UTF8.self).unicodeScalars.allSatisfy {
            $0.properties.isWhitespace || ("\u{1C}"..."\u{1F}").contains($0)
        }
    }

    private func isInner(_ offset: Int) -> Bool { bytes[offset] & 0xC0 == 0x80 }
}
