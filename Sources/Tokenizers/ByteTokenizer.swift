import Support

/// ByT5's vocabulary: byte `b` is id `b + 3`; 0 is pad, 1 ends a sequence, 2 is unknown; 125
/// extra ids follow the bytes, `<extra_id_0>` first.
///
/// The reference is transformers' ByT5Tokenizer.
package final class ByteTokenizer: Tokenizer {
    private static let firstByte = 3
    private static let byteCount = 256
    private let pieces: PieceTable
    private let special: SpecialTokens

    package let eosTokenID: Int32? = 1
    package let padTokenID: Int32? = 0
    package let unkTokenID: Int32 = 2
    package var vocabularySize: Int { pieces.count }

    /// - Throws: `UNSAY_E_MEMORY`.
    package init(extraIDs: Int = 125) throws {
        var names = ["<pad>", "</s>", "<unk>"].map { Array($0.utf8) }
        names += (0..<Self.byteCount).map { [UInt8($0)] }
        names += (0..<max(extraIDs, 0)).map { Array("<extra_id_\($0)>".utf8) }
        pieces = try PieceTable(names)
        var special: [[UInt8]: SpecialTokens.Entry] = [:]
        for id in names.indices where id < Self.firstByte || id >= Self.firstByte + Self.byteCount {
            special[names[id]] = SpecialTokens.Entry(id: Int32(id), strips: id < Self.firstByte)
        }
        self.special = SpecialTokens(special)
    }

    package func isByte(_ id: Int32) -> Bool {
        (Self.firstByte..<Self.firstByte + Self.byteCount).contains(Int(id))
    }

    package func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        try checkText(text)
        var tokens: [Token] = []
        for segment in special.split(text) {
            if let id = segment.id {
                tokens.append(
                    Token(id: id, begin: segment.bytes.lowerBound, end: segment.bytes.upperBound))
                continue
            }
            for index in segment.bytes {
                tokens.append(
                    Token(
                        id: Int32(text[index]) + Int32(Self.firstByte), begin: index, end: index + 1
                    ))
            }
        }
        return tokens
    }

    /// Bytes that form no character are left out, as the reference does.
    package func spell(_ ids: [Int32]) throws -> Spelling {
        try checkIDs(ids)
        var text = SpellingBuilder(badBytes: .dropped)
        for id in ids {
            let byte = Int(id) - Self.firstByte
            if (0..<Self.byteCount).contains(byte) {
                text.append(byte: UInt8(byte), id: id)
            } else {
                text.append([], id: id)
            }
        }
        return text.finish()
    }

    package func piece(_ id: Int32) -> UnsafePointer<CChar>? { pieces[id] }
}
