import CUnsay
import Support

/// The tokenizer of a `spiece.model`: SentencePiece's unigram model, as T5 and its kin use it.
///
/// The reference is transformers' slow T5Tokenizer, made from the same file. Special tokens
/// written literally in a text (`</s>`, `<pad>`, `<unk>`, `<extra_id_0>`) become their ids,
/// as there; `<extra_id_N>` takes the white space around it along.
package final class SentencePieceTokenizer: Tokenizer {
    private let pieces: PieceTable
    private let kinds: [SentencePieceModel.Kind]
    private let normalizer: Normalizer
    private let segmenter: UnigramSegmenter<Float>
    /// Of "<unk>", which transformers puts before a text that goes on, and takes away again.
    private let scoreBefore: Float
    private let special: SpecialTokens
    /// The ids that decoding leaves out: the special tokens.
    private let skipped: Set<Int32>
    /// The ids of the 256 bytes, if unknown characters are split into bytes; else empty.
    private let byteIDs: [Int32]
    private let isLegacy: Bool

    package let eosTokenID: Int32?
    package let padTokenID: Int32?
    package let unkTokenID: Int32
    package var vocabularySize: Int { pieces.count }

    /// - Parameters:
    ///   - bytes: the model file. Copied.
    ///   - name: names the file in error sentences.
    ///   - extraIDs: how many `<extra_id_N>` follow the file's own pieces; 0 has the highest
    ///     id. `extra_ids` of tokenizer_config.json: 100 for T5, 0 for mT5.
    ///   - legacy: `legacy` of tokenizer_config.json, true where it is not set. It decides how
    ///     the text after a literal special token is split.
    /// - Throws: `UNSAY_E_FORMAT`, `UNSAY_E_UNSUPPORTED` (see `SentencePieceModel`),
    ///   `UNSAY_E_ARGUMENT` if `extraIDs` is not in `0...100_000`; `UNSAY_E_MEMORY`.
    package init(
        model bytes: UnsafeRawBufferPointer, named name: String, extraIDs: Int = 0,
        legacy: Bool = true
    ) throws {
        guard (0...100_000).contains(extraIDs) else {
            throw Failure(UNSAY_E_ARGUMENT, "\(name): \(extraIDs) extra ids; expected 0 to 100000")
        }
        guard bytes.count <= 1 << 30 else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name): has \(bytes.count) bytes; expected 2^30 at most")
        }
        var model = try SentencePieceModel(parsing: bytes, named: name)
        // Without it, transformers takes the dummy prefix away and adds it itself.
        if !legacy { model.addsDummyPrefix = false }
        let index = try PieceIndex(model, named: name)
        let extras = (0..<extraIDs).map { Array("<extra_id_\(extraIDs - 1 - $0)>".utf8) }

        pieces = try PieceTable(model.pieces.map(\.text) + extras)
        kinds = model.pieces.map(\.kind)
        normalizer = try Normalizer(model, protected: index.userDefined, named: name)
        segmenter = UnigramSegmenter(model, trie: index.text, unknownID: index.unknownID)
        scoreBefore = segmenter.score(of: Array("<unk>".utf8))
        byteIDs = index.byteIDs
        isLegacy = legacy
        unkTokenID = index.unknownID
        eosTokenID = index.id(of: "</s>")
        padTokenID = index.id(of: "<pad>")

        var special: [[UInt8]: SpecialTokens.Entry] = [:]
        for (spelling, id) in [("</s>", eosTokenID), ("<pad>", padTokenID), ("<unk>", unkTokenID)] {
            if let id { special[Array(spelling.utf8)] = SpecialTokens.Entry(id: id, strips: false) }
        }
        for (offset, extra) in extras.enumerated() {
            special[extra] = SpecialTokens.Entry(
                id: Int32(model.pieces.count + offset), strips: true)
        }
        self.special = SpecialTokens(special)
        skipped = Set(special.values.map(\.id))
    }

    // MARK: Text to ids

    package func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token] {
        try checkText(text)
        guard isLegacy else { return encodeAfterPrefix(text) }
        return split(text, origins: nil)
    }

    /// Splits text at its special tokens, and what is between them into pieces.
    ///
    /// - Parameter origins: where each byte of `text`, and its end, stands in the caller's
    ///   text; nil if they are the same.
    private func split(_ text: UnsafeBufferPointer<UInt8>, origins: [Int]?) -> [Token] {
        func origin(_ offset: Int) -> Int { origins.map { $0[offset] } ?? offset }
        var tokens: [Token] = []
        for segment in special.split(text) {
            let bytes = segment.bytes
            if let id = segment.id {
                tokens.append(
                    Token(id: id, begin: origin(bytes.lowerBound), end: origin(bytes.upperBound)))
                continue
            }
            for token in pieces(of: UnsafeBufferPointer(rebasing: text[bytes])) {
                tokens.append(
                    Token(
                        id: token.id, begin: origin(bytes.lowerBound + token.begin),
                        end: origin(bytes.lowerBound + token.end)))
            }
        }
        return tokens
    }

    /// The way of `legacy: false`: every U+2581 is a space, and one of it goes in front.
    private func encodeAfterPrefix(_ text: UnsafeBufferPointer<UInt8>) -> [Token] {
        guard !text.isEmpty else { return [] }
        var changed = Normalizer.space
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
        if tokens.count > 1, skipped.contains(tokens[1].id),
            pieces.bytes(of: tokens[0].id)?.elementsEqual(Normalizer.space) == true,
            pieces.bytes(of: tokens[1].id)?.elementsEqual(text[tokens[1].bytes]) == true
        {
            tokens.removeFirst()
        }
        return tokens
    }

    private func pieces(of text: UnsafeBufferPointer<UInt8>) -> [Token] {
        let beginsWithSpace =
            text.first == UInt8(ascii: " ") || text.starts(with: Normalizer.space)
        let continues = !isLegacy && beginsWithSpace
        let normal = normalizer.normalize(text, continues: continues)
        var tokens: [Token] = []
        var isAfterUnknown = false
        for part in segmenter.split(normal.bytes, from: continues ? scoreBefore : 0) {
            let begin = normal.origins[part.begin], end = normal.origins[part.end]
            let isUnknown = part.id == unkTokenID
            if isUnknown && !byteIDs.isEmpty {
                addBytes(of: part, normal, to: &tokens)
            } else if isUnknown && isAfterUnknown {
                // A run of unknown characters is one unknown token.
                tokens[tokens.count - 1].end = end
            } else {
                tokens.append(Token(id: part.id, begin: begin, end: end))
            }
            isAfterUnknown = isUnknown
        }
        return tokens
    }

    /// An unknown character byte by byte. Where normalising kept its length, every id has its
    /// own byte of the text; else each has the whole character.
    private func addBytes(
        of part: UnigramSegmenter<Float>.Part, _ normal: NormalizedText, to tokens: inout [Token]
    ) {
        let begin = normal.origins[part.begin], end = normal.origins[part.end]
        let isSameLength = end - begin == part.end - part.begin
        for (index, byte) in normal.bytes[part.begin..<part.end].enumerated() {
            let bytes = isSameLength ? (begin + index)..<(begin + index + 1) : begin..<end
            tokens.append(
                Token(id: byteIDs[Int(byte)], begin: bytes.lowerBound, end: bytes.upperBound))
        }
    }

    // MARK: Ids to text

    /// As the reference decodes with `skip_special_tokens`: the unknown token is special too,
    /// and the white space around the text is left out.
    package func spell(_ ids: [Int32]) throws -> Spelling {
        try checkIDs(ids)
        var text = SpellingBuilder(badBytes: .replaced)
        for id in ids {
            guard !skipped.contains(id), Int(id) < kinds.count, let piece = pieces.bytes(of: id)
            else {
                text.append([], id: id)
                continue
            }
            switch kinds[Int(id)] {
            case .control, .unknown: text.append([], id: id)
            case .byte:
                if let byte = byteIDs.firstIndex(of: id) {
                    text.append(byte: UInt8(byte), id: id)
                } else {
                    text.append(Array(piece), id: id)
                }
            case .normal, .userDefined, .unused: text.append(withSpaces(piece), id: id)
            }
        }
        return text.finish().stripped()
    }

    package func piece(_ id: Int32) -> UnsafePointer<CChar>? { pieces[id] }
}
