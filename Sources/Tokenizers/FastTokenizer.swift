import CSupport
import CUnsay
import Support

/// The tokenizer of a tokenizer.json: ids as transformers' T5TokenizerFast gives them.
package final class FastTokenizer: Tokenizer {
    package var vocabularySize: Int { pieces.count }
    package let eosTokenID: Int32?
    package let padTokenID: Int32?
    package let unkTokenID: Int32

    private let pieces: PieceTable
    private let trie: PieceTrie
    private let segmenter: UnigramSegmenter<Double>
    private let normalizations: [FastTokenizerFile.Normalization]
    private let preTokenizations: [FastTokenizerFile.PreTokenization]
    /// Matched in the text as given, and those matched after normalising.
    private let added: AddedTokens
    private let normalizedAdded: AddedTokens?
    private let special: Set<Int32>
    /// Ids of bytes 0 to 255, where unknown characters are split into bytes; else empty.
    private let byteIDs: [Int32]
    private let byteValues: [Int32: UInt8]
    private let dropsFirstSpace: Bool

    /// - Parameters:
    ///   - json: the file. Copied.
    ///   - name: names the file in error sentences.
    /// - Throws: as `FastTokenizerFile`; `UNSAY_E_MEMORY`.
    package init(json bytes: UnsafeRawBufferPointer, named name: String) throws {
        let file = try FastTokenizerFile(parsing: bytes, named: name)
        var spellings = file.pieces
        for token in file.addedTokens.sorted(by: { $0.id < $1.id }) {
            if Int(token.id) >= spellings.count {
                spellings += [[UInt8]](repeating: [], count: Int(token.id) - spellings.count)
                spellings.append(token.content)
            }
        }
        pieces = try PieceTable(spellings)
        var trie = PieceTrie()
        // Of two pieces spelled alike the later one counts.
        for id in file.pieces.indices.reversed() where !file.pieces[id].isEmpty {
            _ = trie.insert(file.pieces[id], id: Int32(id))
        }
        self.trie = trie
        func id(of text: String) -> Int32? {
            file.addedTokens.first { $0.content.elementsEqual(text.utf8) }?.id
                ?? trie.id(of: text.utf8)
        }
        eosTokenID = id(of: "</s>")
        padTokenID = id(of: "<pad>")
        unkTokenID = file.unknownID
        segmenter = UnigramSegmenter(scores: file.scores, trie: trie, unknownID: file.unknownID)
        normalizations = file.normalizations
        preTokenizations = file.preTokenizations
        added = AddedTokens(file.addedTokens.filter { !$0.isNormalized })
        let normalized = try file.addedTokens.filter(\.isNormalized).map { token in
            var token = token
            token.content = try token.content.withUnsafeBufferPointer {
                var text = FastText($0[...])
                try text.normalize(file.normalizations)
                return text.text.bytes
            }
            return token
        }
        normalizedAdded = normalized.isEmpty ? nil : AddedTokens(normalized)
        special = Set(file.addedTokens.filter(\.isSpecial).map(\.id))
        let bytes = (0..<256).compactMap { byte -> Int32? in
            let digits = String(byte, radix: 16, uppercase: true)
            return trie.id(of: "<0x\(digits.count < 2 ? "0" : "")\(digits)>".utf8)
        }
        byteIDs = file.hasByteFallback && bytes.count == 256 ? bytes : []
        byteValues =
            file.decodesBytes && bytes.count == 256
            ? Dictionary(zip(bytes, UInt8.min...UInt8.max)) { first, _ in first } : [:]
        dropsFirstSpace = file.dropsFirstSpace
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
            guard let normalizedAdded else {
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
    package func spell(_ ids: [Int32]) throws -> Spelling {
        try checkIDs(ids)
        var text = SpellingBuilder(badBytes: .replaced)
        var isFirst = true
        for id in ids {
            guard !special.contains(id), let piece = pieces.bytes(of: id) else {
                text.append([], id: id)
                continue
            }
            if let byte = byteValues[id] {
                text.append(byte: byte, id: id)
            } else {
                text.append(withSpaces(piece, dropsSpaces: isFirst && dropsFirstSpace), id: id)
            }
            isFirst = false
        }
        return text.finish()
    }

    package func piece(_ id: Int32) -> UnsafePointer<CChar>? { pieces[id] }
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
