/// Ids that a text can name literally, such as `</s>` and `<extra_id_0>`.
struct SpecialTokens: Sendable {
    /// A stretch of text: the bytes of a special token, or text between two of them.
    struct Segment: Equatable {
        var bytes: Range<Int>
        /// nil for text.
        var id: Int32?
    }

    struct Entry: Sendable {
        let id: Int32
        /// Takes the white space around it out of the text.
        let strips: Bool
    }

    private let entries: [[UInt8]: Entry]
    private let lengths: [Int]

    /// - Parameter entries: by spelling, each of which begins with `<`.
    init(_ entries: [[UInt8]: Entry]) {
        self.entries = entries
        lengths = Set(entries.keys.map(\.count)).sorted(by: >)
    }

    /// Cuts a text at its special tokens, longest first; empty stretches are left out.
    func split(_ text: UnsafeBufferPointer<UInt8>) -> [Segment] {
        var segments: [Segment] = []
        var begin = 0, at = 0
        func addText(upTo end: Int) {
            if begin < end { segments.append(Segment(bytes: begin..<end, id: nil)) }
        }
        while at < text.count {
            guard text[at] == UInt8(ascii: "<"), let (length, entry) = match(text, at: at) else {
                at += 1
                continue
            }
            let found = at..<(at + length)
            addText(upTo: entry.strips ? trimEnd(begin..<at, of: text).upperBound : at)
            segments.append(Segment(bytes: found, id: entry.id))
            at = found.upperBound
            begin = at
            if entry.strips { begin = trimStart(at..<text.count, of: text).lowerBound }
            at = begin
        }
        addText(upTo: text.count)
        return segments
    }

    private func match(_ text: UnsafeBufferPointer<UInt8>, at: Int) -> (Int, Entry)? {
        for length in lengths where length <= text.count - at {
            if let entry = entries[Array(text[at..<(at + length)])] { return (length, entry) }
        }
        return nil
    }
}

/// What is left of `range` without the white space it begins with.
func trimStart(_ range: Range<Int>, of text: UnsafeBufferPointer<UInt8>) -> Range<Int> {
    var begin = range.lowerBound
    while begin < range.upperBound {
        let length = characterLength(text[begin])
        guard begin + length <= range.upperBound, isSpace(text, begin, length) else { break }
        begin += length
    }
    return begin..<range.upperBound
}

/// What is left of `range` without the white space it ends with.
func trimEnd(_ range: Range<Int>, of text: UnsafeBufferPointer<UInt8>) -> Range<Int> {
    var end = range.upperBound
    while end > range.lowerBound {
        var begin = end - 1
        while begin > range.lowerBound && text[begin] & 0xC0 == 0x80 { begin -= 1 }
        guard isSpace(text, begin, end - begin) else { break }
        end = begin
    }
    return range.lowerBound..<end
}

/// The bytes of a UTF-8 character, by its first.
func characterLength(_ lead: UInt8) -> Int {
    lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
}

/// White space as Unicode has it, the property White_Space.
func isWhiteSpace(_ character: Unicode.Scalar) -> Bool { character.properties.isWhitespace }

/// White space as Python's `str.isspace` has it: Unicode's, and U+001C to U+001F.
private func isSpace(_ text: UnsafeBufferPointer<UInt8>, _ begin: Int, _ length: Int) -> Bool {
    let first = text[begin]
    if length == 1 {
        return first == 0x20 || (0x09...0x0D).contains(first) || (0x1C...0x1F).contains(first)
    }
    let second = text[begin + 1]
    if length == 2 { return first == 0xC2 && (second == 0x85 || second == 0xA0) }
    guard length == 3 else { return false }
    let third = text[begin + 2]
    switch (first, second) {
    case (0xE1, 0x9A): return third == 0x80
    case (0xE2, 0x80): return (0x80...0x8A).contains(third) || [0xA8, 0xA9, 0xAF].contains(third)
    case (0xE2, 0x81): return third == 0x9F
    case (0xE3, 0x80): return third == 0x80
    default: return false
    }
}
