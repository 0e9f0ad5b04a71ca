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
