import CSupport
import CUnsay
import Support

/// The tokenizer of a tokenizer.json: ids as transformers' T5TokenizerFast gives them.
package final class FastTokenizer: Tokenizer {
    package let vocabularySize: Int
    package let eosTokenID: Int32?
    package let padTokenID: Int32?
    package let unkTokenID: Int32

    package let cleansUp: Bool
    package let frame: InputFrame

    private let pieces: PieceTable
    private let spellings: AddedSpellings
    private let segmenter: UnigramSegmenter<Double>
    private let normalizations: [FastTokenizerFile.Normalization]
    private let preTokenizations: [FastTokenizerFile.PreTokenization]
    /// Matched in the text as given, and those matched after normalising.
    private let added: FastTokenFinder
    private let normalizedAdded: FastTokenFinder
    /// The ids that decoding leaves out.
    private let skipped: Set<Int32>
    /// Ids of bytes 0 to 255, where unknown characters are split into bytes; else empty.
    private let byteIDs: [Int32]
    private let byteValues: [Int32: UInt8]
    private let dropsFirstSpace: Bool
    private let hasDecoder: Bool

    /// - Parameters:
    ///   - json: the file. Copied.
    ///   - name: names the file in error sentences.
    ///   - settings: what the files beside it say.
    /// - Throws: as `FastTokenizerFile`; `UNSAY_E_MEMORY`.
    package init(
        json bytes: UnsafeRawBufferPointer, named name: String,
        settings: TokenizerSettings = TokenizerSettings()
    ) throws {
        let file = try FastTokenizerFile(parsing: bytes, named: name)
        pieces = try PieceTable(file.pieces)
        var trie = PieceTrie()
        // Of two pieces spelled alike the later one counts.
        for id in file.pieces.indices.reversed() where !file.pieces[id].isEmpty {
            _ = trie.insert(file.pieces[id], id: Int32(id))
        }
        let roles = settings.fastRoles
        let tokens = try Self.addedTokens(file, settings, roles) { [trie] in trie.id(of: $0) }
        spellings = try AddedSpellings(tokens.tokens)
        func id(of role: String, else spelling: String) -> Int32? {
            let content = roles[role]?.content ?? Array(spelling.utf8)
            return tokens.ids[content] ?? trie.id(of: content)
        }
        eosTokenID = id(of: "eos_token", else: "</s>")
        padTokenID = id(of: "pad_token", else: "<pad>")
        unkTokenID = file.unknownID
        vocabularySize = max(pieces.count, Int(tokens.tokens.keys.max() ?? -1) + 1)
        cleansUp = settings.cleansUp
        // transformers 5 makes T5's anew from the role, whatever the file says.
        frame =
            settings.isFromVersion5 && settings.isT5
            ? InputFrame(before: [], after: eosTokenID.map { [$0] } ?? [])
            : InputFrame(before: file.frame.before, after: file.frame.after)
        segmenter = UnigramSegmenter(scores: file.scores, trie: trie, unknownID: file.unknownID)
        normalizations = file.normalizations
        preTokenizations = file.preTokenizations
        func finder(isNormalized: Bool) throws -> FastTokenFinder {
            let searched = tokens.searched.filter { $0.isNormalized == isNormalized }
            let spellings = try searched.compactMap { token in
                try tokens.ids[token.content].map { id in
                    let content =
                        isNormalized
                        ? try Self.normalized(token.content, file.normalizations) : token.content
                    // The library that transformers calls cuts at every character there, or ends.
                    guard !content.isEmpty else {
                        let spelling = String(decoding: token.content, as: UTF8.self)
                        throw Failure(
                            UNSAY_E_UNSUPPORTED,
                            "\(name): the added token \"\(spelling)\" normalises to nothing")
                    }
                    return (content: content, id: id)
                }
            }
            return FastTokenFinder(
                spellings, added: tokens, passesSpecial: settings.splitsSpecialTokens)
        }
        added = try finder(isNormalized: false)
        normalizedAdded = try finder(isNormalized: true)
        var skipped = Set(tokens.tokens.filter { tokens.special.contains($1.content) }.keys)
        for id in file.pieces.indices
        where tokens.special.contains(file.pieces[id]) && tokens.tokens[Int32(id)] == nil {
            skipped.insert(Int32(id))
        }
        self.skipped = skipped
        let bytes = (0..<256).compactMap { byte -> Int32? in
            let digits = String(byte, radix: 16, uppercase: true)
            return trie.id(of: "<0x\(digits.count < 2 ? "0" : "")\(digits)>".utf8)
        }
        byteIDs = file.hasByteFallback && bytes.count == 256 ? bytes : []
        byteValues =
            file.decodesBytes && bytes.count == 256
            ? Dictionary(zip(bytes, UInt8.min...UInt8.max)) { first, _ in first } : [:]
        dropsFirstSpace = file.dropsFirstSpace
        hasDecoder = file.hasDecoder
    }

    /// The file's added tokens, then those that the files beside it add or change, as
    /// transformers' PreTrainedTokenizerFast does.
    private static func addedTokens(
        _ file: FastTokenizerFile, _ settings: TokenizerSettings, _ roles: [String: SpecialToken],
        idOfPiece: ([UInt8]) -> Int32?
    ) throws -> FastAddedTokens {
        var tokens = FastAddedTokens(pieceCount: file.pieces.count)
        for token in file.addedTokens { tokens.add(token, idOfPiece: idOfPiece) }
        let additional = try settings.fastAdditional()
        let special = settings.specialTokens(roles, additional: additional)
        let names = Set(special.map(\.content))
        // transformers 4 adds those again that the file has already: a named one is special then.
        let known = settings.isFromVersion5 ? Set(tokens.tokens.values) : []
        var new = settings.added.sorted { $0.id < $1.id }.map(\.token)
            .filter { !known.contains($0) }
        let contents = Set(tokens.ids.keys).union(new.map(\.content))
        new += special.filter { !($0.isPlain && contents.contains($0.content)) }.map(\.token)
        for var token in new {
            token.isSpecial = token.isSpecial || names.contains(token.content)
            tokens.add(token, idOfPiece: idOfPiece)
        }
        return tokens
    }

    private static func normalized(
        _ content: [UInt8], _ steps: [FastTokenizerFile.Normalization]
    ) throws -> [UInt8] {
        try content.withUnsafeBufferPointer {
            var text = FastText($0[...])
            try text.normalize(steps)
            return text.text.bytes
        }
    }

    // MARK: Text to ids

    package func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        try checkText(text)
        var tokens: [Token] = []
        for segment in added.split(text) {
            if let id = segment.id {
                tokens.append(
                    Token(id: id, begin: segment.bytes.lowerBound, end: segment.bytes.upperBound))
                continue
            }
            var part = FastText(text[segment.bytes])
            try part.normalize(normalizations)
            if normalizedAdded.isEmpty {
                try add(part, to: &tokens)
                continue
            }
            try part.text.bytes.withUnsafeBufferPointer { bytes in
                for inner in normalizedAdded.split(bytes) {
                    let stretch = part[inner.bytes]
                    if let id = inner.id {
                        let origins = stretch.text.origins
                        tokens.append(
                            Token(id: id, begin: origins[0], end: origins[origins.count - 1]))
                    } else {
                        try add(stretch, to: &tokens)
                    }
                }
            }
        }
        return tokens
    }

    private func add(_ text: FastText, to tokens: inout [Token]) throws {
        for word in try text.split(preTokenizations) {
            let (bytes, origins) = (word.text.bytes, word.text.origins)
            var unknown: Range<Int>?
            func endUnknown() {
                guard let run = unknown else { return }
                unknown = nil
                if byteIDs.isEmpty {
                    tokens.append(
                        Token(
                            id: unkTokenID, begin: origins[run.lowerBound],
                            end: origins[run.upperBound]))
                } else {
                    for at in run {
                        tokens.append(
                            Token(
                                id: byteIDs[Int(bytes[at])], begin: origins[at],
                                end: origins[at + 1]))
                    }
                }
            }
            for part in segmenter.split(bytes) {
                if part.id == unkTokenID {
                    // A run of unknown characters is one unknown token.
                    unknown = (unknown?.lowerBound ?? part.begin)..<part.end
                } else {
                    endUnknown()
                    tokens.append(
                        Token(id: part.id, begin: origins[part.begin], end: origins[part.end]))
                }
            }
            endUnknown()
        }
    }

    // MARK: Ids to text

    /// As transformers decodes with `skip_special_tokens`.
    package func spellAsIs(_ ids: [Int32]) throws -> Spelling {
        try checkIDs(ids)
        var text = SpellingBuilder(badBytes: .replaced)
        var isFirst = true
        for id in ids {
            guard !skipped.contains(id), let piece = spellings.bytes(of: id) ?? pieces.bytes(of: id)
            else {
                text.append([], id: id)
                continue
            }
            if let byte = byteValues[id] {
                text.append(byte: byte, id: id)
            } else if hasDecoder {
                text.append(withSpaces(piece, dropsSpaces: isFirst && dropsFirstSpace), id: id)
            } else {
                text.append((isFirst ? [] : [UInt8(ascii: " ")]) + piece, id: id)
            }
            isFirst = false
        }
        return text.finish()
    }

    package func piece(_ id: Int32) -> UnsafePointer<CChar>? { spellings[id] ?? pieces[id] }
}

/// A piece as text: U+2581 is a space, or nothing.
func withSpaces(_ piece: UnsafeRawBufferPointer, dropsSpaces: Bool = false) -> [UInt8] {
    var out: [UInt8] = []
    var at = 0
    while at < piece.count {
        let isSpace = piece[at...].starts(with: Normalizer.space)
        if isSpace {
            if !dropsSpaces { out.append(UInt8(ascii: " ")) }
        } else {
            out.append(piece[at])
        }
        at += isSpace ? Normalizer.space.count : 1
    }
    return out
}
