import CUnsay
import Support

/// The rules of a SentencePiece model that replace characters, e.g. by NFKC.
///
/// Compiled as in the file: a 4-byte size, a trie of that many bytes (the double array of
/// Darts-clone, little-endian words), then the replacements, each ended by a NUL.
struct CharacterMap: Sendable {
    private var units: [UInt32] = []
    private var replacements: [UInt8] = []

    /// - Throws: `UNSAY_E_FORMAT` if the parts do not fit together.
    init(_ bytes: [UInt8], named name: String) throws {
        guard !bytes.isEmpty else { return }
        func word(_ index: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[index + $1]) << UInt32(8 * $1) }
        }
        guard bytes.count > 4, let size = Int(exactly: word(0)), size >= 4, size % 4 == 0,
            size < bytes.count - 4, bytes.last == 0
        else {
            throw Failure(UNSAY_E_FORMAT, "\(name): the compiled character map is damaged")
        }
        units = stride(from: 4, to: 4 + size, by: 4).map(word)
        replacements = Array(bytes[(4 + size)...])
    }

    /// The longest rule that matches the start of `text`: how many bytes it replaces, and
    /// where in `replacement(at:)` by what; nil if none does.
    func match(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> (length: Int, place: Int)? {
        guard let first = units.first else { return nil }
        var found: (Int, Int)?
        var node = offset(first)
        for (index, byte) in text.enumerated() {
            node ^= Int(byte)
            guard node < units.count else { break }
            let unit = units[node]
            guard unit & 0x8000_00FF == UInt32(byte) else { break }
            node ^= offset(unit)
            guard unit >> 8 & 1 == 1 else { continue }
            guard node < units.count else { break }
            let place = Int(units[node] & 0x7FFF_FFFF)
            if place < replacements.count { found = (index + 1, place) }
        }
        return found
    }

    /// The shortest rule that matches the start of a text, as the `tokenizers` library looks
    /// rules up: by what it replaces the whole of `text`; nil if none does.
    func shortest<Text: Sequence<UInt8>>(_ text: Text) -> ArraySlice<UInt8>? {
        guard let first = units.first else { return nil }
        var node = offset(first)
        for byte in text where byte != 0 {
            node ^= Int(byte)
            guard node < units.count else { return nil }
            let unit = units[node]
            guard unit & 0x8000_00FF == UInt32(byte) else { return nil }
            node ^= offset(unit)
            guard unit >> 8 & 1 == 1 else { continue }
            guard node < units.count else { return nil }
            let place = Int(units[node] & 0x7FFF_FFFF)
            return place < replacements.count ? replacement(at: place) : nil
        }
        return nil
    }

    /// A replacement: the bytes from `place` up to the next NUL, which the last byte is.
    func replacement(at place: Int) -> ArraySlice<UInt8> {
        replacements[place...].prefix { $0 != 0 }
    }

    private func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 0x200) >> 6)) }
}
