import CSupport
import CUnsay
import Support

/// The tokenizer of a `spiece.model`: SentencePiece's unigram model, as T5 and its kin use it.
///
/// The reference is transformers' slow T5Tokenizer, made from the same files. Added tokens
/// written literally in a text (`</s>`, `<extra_id_0>`, `<sep>`) become their ids, as there,
/// and take the white space around them along where their flags say so.
package final class SentencePieceTokenizer: Tokenizer {
    private let pieces: PieceTable
    private let kinds: [SentencePieceModel.Kind]
    private let index: PieceIndex
    private let normalizer: Normalizer
    private let segmenter: UnigramSegmenter<Float>
    private let added: AddedVocabulary
    private let spellings: AddedSpellings
    /// The unknown token's spelling, which transformers puts before a text that begins with
    /// white space, and how many pieces it takes away again.
    private let unknown: [UInt8]
    private let unknownCount: Int
    /// The unknown piece as it is decoded where it is no special token.
    private let unknownSurface: [UInt8]
    private let isLegacy: Bool
    private let addsPrefixSpace: Bool

    package let eosTokenID: Int32?
    package let padTokenID: Int32?
    package let unkTokenID: Int32
    package let vocabularySize: Int
    package let cleansUp: Bool
    package var frame: InputFrame { InputFrame(end: eosTokenID) }

    /// - Parameters:
    ///   - bytes: the model file. Copied.
    ///   - name: names the file in error sentences.
    ///   - settings: what the files beside it say. `extra_ids` follow the file's own pieces,
    ///     0 has the highest id: 100 for T5, 0 for mT5. `legacy` decides how the text after a
    ///     literal special token is split.
    /// - Throws: `UNSAY_E_FORMAT`, `UNSAY_E_UNSUPPORTED` (see `SentencePieceModel`);
    ///   `UNSAY_E_MEMORY`.
    package init(
        model bytes: UnsafeRawBufferPointer, named name: String,
        settings: TokenizerSettings = TokenizerSettings()
    ) throws {
        guard bytes.count <= 1 << 30 else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name): has \(bytes.count) bytes; expected 2^30 at most")
        }
        var model = try SentencePieceModel(parsing: bytes, named: name)
        // Without it, transformers takes the dummy prefix away and adds it itself.
        if !settings.isLegacy { model.addsDummyPrefix = false }
        index = try PieceIndex(model, named: name)
        pieces = try PieceTable(model.pieces.map(\.text))
        kinds = model.pieces.map(\.kind)
        normalizer = try Normalizer(model, protected: index.userDefined, named: name)
        segmenter = UnigramSegmenter(model, trie: index.text, unknownID: index.unknownID)
        unknownSurface = model.unknownSurface
        isLegacy = settings.isLegacy
        addsPrefixSpace = settings.addsPrefixSpace
        cleansUp = settings.cleansUp
        unkTokenID = index.unknownID

        let roles = settings.t5Roles(completes: true)
        let (additional, extraCount) = try settings.t5Additional()
        let top = model.pieces.count - 1 + (settings.extraIDs ?? 100)
        var first: [(id: Int32, token: AddedToken)] = []
        for number in 0..<extraCount where top - number >= 0 {
            // A special_tokens_map.json of another tokenizer's would take the last pieces away.
            if settings.hasSpecialTokensMap && top - number < model.pieces.count { continue }
            var token = SpecialToken("<extra_id_\(number)>").token
            token.stripsLeft = true
            token.stripsRight = true
            first.append((Int32(clamping: top - number), token))
        }
        var places = Dictionary(uniqueKeysWithValues: first.enumerated().map { ($1.id, $0) })
        for (id, token) in settings.added {
            if let place = places[id] {
                first[place].token = token
            } else {
                places[id] = first.count
                first.append((id, token))
            }
        }
        let index = index
        added = try AddedVocabulary(
            first: first, special: settings.specialTokens(roles, additional: additional),
            pieces: pieces, idOfPiece: { index.id(of: $0) },
            splits: !settings.splitsSpecialTokens)
        spellings = try AddedSpellings(added.tokens)
        eosTokenID = added.id(roles["eos_token"])
        padTokenID = added.id(roles["pad_token"])
        vocabularySize = added.count(with: pieces.count)
        unknown = roles["unk_token"]?.content ?? Array("None".utf8)
        unknownCount = Self.count(
            segmenter.split(unknown.withUnsafeBufferPointer(normalizer.normalize).bytes), index)
    }

    /// How many tokens parts make: a run of unknown characters is one, unless bytes are.
    private static func count(_ parts: [UnigramSegmenter<Float>.Part], _ index: PieceIndex) -> Int {
        var count = 0
        var isAfterUnknown = false
        for part in parts {
            let isUnknown = part.id == index.unknownID
            if isUnknown && !index.byteIDs.isEmpty {
                count += part.end - part.begin
            } else if !(isUnknown && isAfterUnknown) {
                count += 1
            }
            isAfterUnknown = isUnknown
        }
        return count
    }

    // MARK: Text to ids

    package func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        try checkText(text)
        if isLegacy { return split(text, origins: nil).map(\.token) }
        return text.isEmpty ? [] : encodeAfterPrefix(text)
    }

    /// A token on its way to the caller.
    private struct Found {
        var token: Token
        /// Whether it stands for characters that no piece has.
        var isUnknown: Bool
    }

    /// Splits text at its added tokens, and what is between them into pieces.
    ///
    /// - Parameter origins: where each byte of `text`, and its end, stands in the caller's
    ///   text; nil if they are the same.
    private func split(_ text: UnsafeBufferPointer<UInt8>, origins: [Int]?) -> [Found] {
        var tokens: [Found] = []
        func append(_ found: [Found], at place: (Int) -> Int) {
            for each in found {
                var each = each
                each.token.begin = place(each.token.begin)
                each.token.end = place(each.token.end)
                if let origins {
                    each.token.begin = origins[each.token.begin]
                    each.token.end = origins[each.token.end]
                }
                tokens.append(each)
            }
        }
        let segments =
            added.splitter?.split(text) ?? [TextSegment(parts: [text.indices], id: nil)]
        for segment in segments {
            let bytes = segment.bytes
            if let id = segment.id {
                let token = Token(id: id, begin: bytes.lowerBound, end: bytes.upperBound)
                append([Found(token: token, isUnknown: false)]) { $0 }
            } else if segment.parts.count == 1 {
                let part = pieces(of: UnsafeBufferPointer(rebasing: text[bytes]))
                append(part) { $0 + bytes.lowerBound }
            } else {
                // White space was taken out of the middle.
                let places = segment.parts.flatMap { Array($0) }
                let part = places.map { text[$0] }.withUnsafeBufferPointer(pieces(of:))
                append(part) { $0 < places.count ? places[$0] : bytes.upperBound }
            }
        }
        return tokens
    }

    /// The way of `legacy: false`: every U+2581 is a space, and one of it goes in front.
    private func encodeAfterPrefix(_ text: UnsafeBufferPointer<UInt8>) -> [Token] {
        var changed = addsPrefixSpace ? Normalizer.space : []
        var origins = [Int](repeating: 0, count: changed.count)
        var at = 0
        while at < text.count {
            let isMark = text[at...].starts(with: Normalizer.space)
            changed.append(isMark ? UInt8(ascii: " ") : text[at])
            origins.append(at)
            at += isMark ? Normalizer.space.count : 1
        }
        origins.append(text.count)
        var tokens = changed.withUnsafeBufferPointer { split($0, origins: origins) }
        // A special token written at the start needs no prefix of its own.
        if tokens.count > 1, !tokens[1].isUnknown, added.roles[tokens[1].token.id] == .skipped,
            isSpace(tokens[0])
        {
            tokens.removeFirst()
        }
        return tokens.map(\.token)
    }

    private func isSpace(_ found: Found) -> Bool {
        let id = found.token.id
        if found.isUnknown { return index.id(of: Normalizer.space) == nil }
        return (spellings.bytes(of: id) ?? pieces.bytes(of: id))?.elementsEqual(Normalizer.space)
            == true
    }

    /// The pieces of a text without added tokens; offsets are of it.
    private func pieces(of text: UnsafeBufferPointer<UInt8>) -> [Found] {
        let begins = text.first == UInt8(ascii: " ") || text.starts(with: Normalizer.space)
        guard !isLegacy, begins, !unknown.isEmpty else { return rawPieces(of: text) }
        let all = (unknown + text).withUnsafeBufferPointer(rawPieces(of:))
        return all.dropFirst(all.count >= unknownCount ? unknownCount : 0).map { found in
            var found = found
            found.token.begin = max(found.token.begin - unknown.count, 0)
            found.token.end = max(found.token.end - unknown.count, 0)
            return found
        }
    }

    private func rawPieces(of text: UnsafeBufferPointer<UInt8>) -> [Found] {
        let normal = normalizer.normalize(text)
        var tokens: [Found] = []
        // Where the run of unknown characters begins that the last token stands for.
        var run: Int?
        for part in segmenter.split(normal.bytes) {
            let begin = normal.origins[part.begin], end = normal.origins[part.end]
            guard part.id == unkTokenID else {
                run = nil
                let id = added.respelled.isEmpty ? part.id : added.respelled[part.id] ?? part.id
                tokens.append(
                    Found(token: Token(id: id, begin: begin, end: end), isUnknown: false))
                continue
            }
            if !index.byteIDs.isEmpty {
                addBytes(of: part, normal, to: &tokens)
                continue
            }
            // A run of unknown characters is one unknown token.
            if run != nil { tokens.removeLast() }
            let start = run ?? part.begin
            run = start
            let surface = normal.bytes[start..<part.end]
            tokens.append(
                Found(
                    token: Token(
                        id: id(ofUnknown: surface), begin: normal.origins[start], end: end),
                    isUnknown: true))
        }
        return tokens
    }

    /// transformers looks unknown characters up by their spelling.
    private func id(ofUnknown surface: ArraySlice<UInt8>) -> Int32 {
        added.ids[Array(surface)] ?? index.id(of: surface) ?? unkTokenID
    }

    /// An unknown character byte by byte. Where normalising kept its length, every id has its
    /// own byte of the text; else each has the whole character.
    private func addBytes(
        of part: UnigramSegmenter<Float>.Part, _ normal: NormalizedText, to tokens: inout [Found]
    ) {
        let begin = normal.origins[part.begin], end = normal.origins[part.end]
        let isSameLength = end - begin == part.end - part.begin
        for (offset, byte) in normal.bytes[part.begin..<part.end].enumerated() {
            let bytes = isSameLength ? (begin + offset)..<(begin + offset + 1) : begin..<end
            let id = index.byteIDs[Int(byte)]
            tokens.append(
                Found(
                    token: Token(
                        id: added.respelled[id] ?? id, begin: bytes.lowerBound,
                        end: bytes.upperBound),
                    isUnknown: false))
        }
    }

    // MARK: Ids to text

    /// As the reference decodes with `skip_special_tokens`: pieces between added tokens are
    /// joined without the white space around them.
    package func spellAsIs(_ ids: [Int32]) throws -> Spelling {
        try checkIDs(ids)
        var joined = JoinedSpelling(joinsWithSpaces: true)
        var part = SpellingBuilder(badBytes: .replaced)
        var isKept = false
        for id in ids {
            switch added.roles[id] {
            case .skipped: part.append([], id: id)
            case .apart:
                joined.append(part.finish().stripped(), isKept: false)
                part = SpellingBuilder(badBytes: .replaced)
                isKept = false
                let bytes = spellings.bytes(of: id) ?? pieces.bytes(of: id)
                joined.append(bytes.map { Array($0) } ?? [], id: id)
            case nil:
                isKept = append(id, to: &part) || isKept
            }
        }
        joined.append(part.finish().stripped(), isKept: isKept)
        return joined.finish()
    }

    /// Appends a piece; false if there is none of that id.
    private func append(_ id: Int32, to text: inout SpellingBuilder) -> Bool {
        guard Int(id) < kinds.count, let piece = pieces.bytes(of: id) else {
            text.append([], id: id)
            return false
        }
        switch kinds[Int(id)] {
        case .control: text.appendBreak(id: id)
        case .unknown: text.append(unknownSurface, id: id)
        case .byte:
            if let byte = index.byteIDs.firstIndex(of: id) {
                text.append(byte: UInt8(byte), id: id)
            } else {
                text.append(Array(piece), id: id)
            }
        case .normal, .userDefined, .unused: text.append(withSpaces(piece), id: id)
        }
        return true
    }

    package func piece(_ id: Int32) -> UnsafePointer<CChar>? { spellings[id] ?? pieces[id] }
}
