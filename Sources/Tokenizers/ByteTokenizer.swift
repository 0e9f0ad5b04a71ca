import Support

/// ByT5's vocabulary: byte `b` is id `b + 3`; 0 is pad, 1 ends a sequence, 2 is unknown; 125
/// extra ids follow the bytes, `<extra_id_0>` first, unless tokenizer_config.json has others.
///
/// The reference is transformers' ByT5Tokenizer.
package final class ByteTokenizer: Tokenizer {
    private static let firstByte = 3
    private static let byteCount = 256
    private let pieces: PieceTable
    private let added: AddedVocabulary
    private let spellings: AddedSpellings
    /// The ids of bytes 0 to 255: others where an added token is spelled like one.
    private let byteIDs: [Int32]
    private let joinsWithSpaces: Bool

    package let eosTokenID: Int32?
    package let padTokenID: Int32?
    package let unkTokenID: Int32
    package let vocabularySize: Int
    package let cleansUp: Bool
    package var frame: InputFrame { InputFrame(end: eosTokenID) }

    /// - Throws: `UNSAY_E_FORMAT` where the settings contradict themselves; `UNSAY_E_MEMORY`.
    package init(settings: TokenizerSettings = TokenizerSettings()) throws {
        func token(_ spelling: String) -> SpecialToken {
            SpecialToken(
                AddedToken(
                    Array(spelling.utf8), isSpecial: false, stripsLeft: true, stripsRight: true))
        }
        var roles: [String: SpecialToken] = [:]
        var first: [(id: Int32, token: AddedToken)] = []
        for (role, spelling, id) in [
            ("pad_token", "<pad>", Int32(0)), ("eos_token", "</s>", 1), ("unk_token", "<unk>", 2),
        ] {
            // A spelling alone strips white space, too.
            let stated = settings.token(role, else: token(spelling))
            guard var stated else { continue }
            if stated.isPlain { stated = token(String(decoding: stated.content, as: UTF8.self)) }
            roles[role] = stated
            first.append((id, stated.token))
        }
        // One character of Latin-1 is a byte's name; ids 0 to 2 have none of their own.
        let names =
            (0..<Self.firstByte).map { Array("<\($0)>".utf8) }
            + (0..<Self.byteCount).map { Array(String(UnicodeScalar(UInt8($0))).utf8) }
        let bytes =
            (0..<Self.firstByte).map { Array("<\($0)>".utf8) }
            + (0..<Self.byteCount).map { [UInt8($0)] }
        pieces = try PieceTable(bytes)
        let firstByte = Self.firstByte
        func byte(named content: [UInt8]) -> Int32? {
            let scalars = String(decoding: content, as: UTF8.self).unicodeScalars
            guard scalars.count == 1, let scalar = scalars.first, scalar.value < 256 else {
                return nil
            }
            return Int32(scalar.value) + Int32(firstByte)
        }
        for (id, token) in settings.added {
            // Roles stand first; of all that follow, no two have one id.
            if let index = first.prefix(roles.count).firstIndex(where: { $0.id == id }) {
                first[index].token = token
            } else {
                first.append((id, token))
            }
        }
        added = try AddedVocabulary(
            first: first,
            special: settings.specialTokens(roles, additional: settings.byT5Additional()),
            pieces: pieces, idOfPiece: byte, splits: !settings.splitsSpecialTokens)
        spellings = try AddedSpellings(added.tokens)
        let added = added
        byteIDs = (0..<Self.byteCount).map {
            added.ids[names[firstByte + $0]] ?? Int32(firstByte + $0)
        }
        eosTokenID = added.id(roles["eos_token"])
        padTokenID = added.id(roles["pad_token"])
        unkTokenID = added.id(roles["unk_token"]) ?? 2
        vocabularySize = added.count(with: pieces.count)
        cleansUp = settings.cleansUp
        joinsWithSpaces = !settings.isFromVersion5
    }

    package func isByte(_ id: Int32) -> Bool {
        (Self.firstByte..<Self.firstByte + Self.byteCount).contains(Int(id))
            && added.roles[id] == nil
    }

    package func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        try checkText(text)
        var tokens: [Token] = []
        tokens.reserveCapacity(text.count)
        let segments =
            added.splitter?.split(text) ?? [TextSegment(parts: [text.indices], id: nil)]
        for segment in segments {
            if let id = segment.id {
                tokens.append(
                    Token(id: id, begin: segment.bytes.lowerBound, end: segment.bytes.upperBound))
                continue
            }
            for index in segment.parts.joined() {
                tokens.append(
                    Token(id: byteIDs[Int(text[index])], begin: index, end: index + 1))
            }
        }
        return tokens
    }

    /// Bytes that form no character are left out, as the reference does.
    package func spellAsIs(_ ids: [Int32]) throws -> Spelling {
        try checkIDs(ids)
        var joined = JoinedSpelling(joinsWithSpaces: joinsWithSpaces)
        var part = SpellingBuilder(badBytes: .dropped)
        var isKept = false
        for id in ids {
            let byte = Int(id) - Self.firstByte
            switch added.roles[id] {
            case .skipped: part.append([], id: id)
            case .apart where !joinsWithSpaces:
                part.append(spelling(of: id), id: id)
                isKept = true
            case .apart:
                joined.append(part.finish(), isKept: false)
                part = SpellingBuilder(badBytes: .dropped)
                isKept = false
                joined.append(spelling(of: id), id: id)
            case nil where (0..<Self.byteCount).contains(byte):
                part.append(byte: UInt8(byte), id: id)
                isKept = true
            case nil: part.append([], id: id)
            }
        }
        joined.append(part.finish(), isKept: isKept)
        return joined.finish()
    }

    /// An added token's spelling; a byte that is named like one has its name.
    private func spelling(of id: Int32) -> [UInt8] {
        if let bytes = spellings.bytes(of: id) { return Array(bytes) }
        return Array(
            String(UnicodeScalar(UInt8(truncatingIfNeeded: Int(id) - Self.firstByte))).utf8)
    }

    package func piece(_ id: Int32) -> UnsafePointer<CChar>? { spellings[id] ?? pieces[id] }
}
