/// Text as SentencePiece splits it, with the way back to the text it was made from.
struct NormalizedText {
    var bytes: [UInt8] = []
    /// Where in the original each byte comes from; one more for the end.
    var origins: [Int] = []
}

/// SentencePiece's normaliser: characters replaced by rule, white space made regular and
/// written as U+2581, one of it put in front.
struct Normalizer: Sendable {
    static let space = Array("\u{2581}".utf8)

    private let map: CharacterMap
    /// Spellings that no rule may change.
    private let protected: PieceTrie?
    private let addsDummyPrefix: Bool
    private let removesExtraWhitespaces: Bool
    private let escapesWhitespaces: Bool

    init(_ model: SentencePieceModel, protected: PieceTrie?, named name: String) throws {
        map = try CharacterMap(model.characterMap, named: name)
        self.protected = protected
        addsDummyPrefix = model.addsDummyPrefix
        removesExtraWhitespaces = model.removesExtraWhitespaces
        escapesWhitespaces = model.escapesWhitespaces
    }

    /// What the next character becomes.
    private enum Piece {
        /// Bytes of the text as they are.
        case same
        case replaced(ArraySlice<UInt8>)
    }

    /// - Parameter text: valid UTF-8. Origins are offsets into it.
    func normalize(_ text: UnsafeBufferPointer<UInt8>) -> NormalizedText {
        var out = NormalizedText()
        out.bytes.reserveCapacity(text.count + 16)
        out.origins.reserveCapacity(text.count + 16)
        var at = 0
        if removesExtraWhitespaces {
            while at < text.count {
                let (length, piece) = next(text, at)
                guard isSpace(piece, text[at]) else { break }
                at += length
            }
        }
        guard at < text.count else { return out }
        if addsDummyPrefix { append(UInt8(ascii: " "), from: at, to: &out) }

        var isAfterSpace = removesExtraWhitespaces
        while at < text.count {
            let (length, piece) = next(text, at)
            switch piece {
            case .same: append(text[at..<(at + length)], from: at, &isAfterSpace, to: &out)
            case .replaced(let bytes): append(bytes, from: at, &isAfterSpace, to: &out)
            }
            at += length
            if !removesExtraWhitespaces { isAfterSpace = false }
        }
        if removesExtraWhitespaces { at = removeSpaceAtEnd(of: &out, end: at) }
        out.origins.append(at)
        return out
    }

    private func next(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> (Int, Piece) {
        if let length = protectedLength(text, at) { return (length, .same) }
        if let (length, place) = map.match(text[at...]) {
            return (length, .replaced(map.replacement(at: place)))
        }
        return (characterLength(text[at]), .same)
    }

    private func protectedLength(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> Int? {
        guard let protected else { return nil }
        var node = PieceTrie.root
        var longest: Int?
        for index in at..<text.count {
            node = protected.step(node, text[index])
            if node == PieceTrie.none { break }
            if protected.id(at: node) >= 0 { longest = index + 1 - at }
        }
        return longest
    }

    private func isSpace(_ piece: Piece, _ byte: UInt8) -> Bool {
        switch piece {
        case .same: byte == UInt8(ascii: " ")
        case .replaced(let bytes): bytes.count == 1 && bytes.first == UInt8(ascii: " ")
        }
    }

    /// Appends a character; of white space after white space only the rest.
    private func append<Bytes: Collection<UInt8>>(
        _ bytes: Bytes, from origin: Int, _ isAfterSpace: inout Bool, to out: inout NormalizedText
    ) {
        var rest = bytes[...]
        if isAfterSpace { rest = rest.drop { $0 == UInt8(ascii: " ") } }
        for byte in rest {
            append(byte, from: origin, to: &out)
            isAfterSpace = byte == UInt8(ascii: " ")
        }
    }

    private func append(_ byte: UInt8, from origin: Int, to out: inout NormalizedText) {
        guard byte == UInt8(ascii: " ") && escapesWhitespaces else {
            out.bytes.append(byte)
            out.origins.append(origin)
            return
        }
        out.bytes += Self.space
        for _ in Self.space { out.origins.append(origin) }
    }

    /// Returns where in the original the text now ends.
    private func removeSpaceAtEnd(of out: inout NormalizedText, end: Int) -> Int {
        let space = escapesWhitespaces ? Self.space : [UInt8(ascii: " ")]
        var end = end
        while out.bytes.suffix(space.count).elementsEqual(space) {
            end = out.origins[out.bytes.count - space.count]
            out.bytes.removeLast(space.count)
            out.origins.removeLast(space.count)
        }
        return end
    }
}
