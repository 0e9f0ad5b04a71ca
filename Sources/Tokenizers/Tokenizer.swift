import CSupport
import CUnsay
import Support

/// One id and the bytes of the text behind it.
package struct Token: Sendable, Equatable {
    package var id: Int32
    /// Byte offsets, `begin <= end`; equal where an id has no text of its own.
    package var begin: Int
    package var end: Int

    package init(id: Int32, begin: Int, end: Int) {
        self.id = id
        self.begin = begin
        self.end = end
    }

    package var bytes: Range<Int> { begin..<end }
}

/// Spans of the bytes that tokens are of, checked.
///
/// - Parameter name: of the spans in what is thrown.
/// - Throws: `UNSAY_E_ARGUMENT` for a span that is empty or ends outside the text.
package func checkedSpans(
    _ spans: [(begin: Int, end: Int)], of tokens: [Token], named name: String
) throws -> [Range<Int>] {
    let size = tokens.map(\.end).max() ?? 0
    return try spans.enumerated().map { index, span in
        guard span.begin >= 0, span.begin < span.end, span.end <= size else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name)[\(index)] runs from \(span.begin) to \(span.end); it must be of at least "
                    + "one of the text's \(size) bytes")
        }
        return span.begin..<span.end
    }
}

/// A text put together from ids, with the bytes that each of them contributed.
package struct Spelling: Sendable, Equatable {
    /// UTF-8.
    package var text: [UInt8]
    /// One for each id, in order; offsets into `text`.
    package var tokens: [Token]

    package init(text: [UInt8], tokens: [Token]) {
        self.text = text
        self.tokens = tokens
    }
}

/// Text to ids and back. Safe to use from any threads at once.
package protocol Tokenizer: AnyObject, Sendable {
    /// The ids there are, added ones included. A model's `vocab_size` may be larger: its
    /// table is padded to a round number.
    var vocabularySize: Int { get }
    /// As the vocabulary says; nil if it has none.
    var eosTokenID: Int32? { get }
    var padTokenID: Int32? { get }
    var unkTokenID: Int32 { get }
    /// What an input has around the ids of its text.
    var frame: InputFrame { get }
    /// Whether decoding leaves the spaces before English punctuation out, as
    /// `clean_up_tokenization_spaces` of tokenizer_config.json says.
    var cleansUp: Bool { get }

    /// Splits `text` into ids; no end-of-sequence id is appended.
    ///
    /// - Returns: offsets are bytes of `text` as given, whatever normalising changed.
    /// - Throws: `UNSAY_E_TEXT` at the first byte that is not UTF-8; `UNSAY_E_ARGUMENT` for a
    ///   text of more than `longestText` bytes.
    func encode(_ text: UnsafeBufferPointer<UInt8>) throws -> [Token]

    /// Joins ids into text, special ids left out and no space cleaned up.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` for a negative id. Ids beyond the vocabulary, which a
    ///   padded model can write, give no text.
    func spellAsIs(_ ids: [Int32]) throws -> Spelling

    /// The vocabulary's spelling of an id, NUL-terminated; nil if there is no such id.
    /// Borrowed: it lives as long as the tokenizer.
    func piece(_ id: Int32) -> UnsafePointer<CChar>?
}

/// The longest text that is encoded, in bytes: 16 MiB, many times what any model reads.
package let longestText = 16 << 20

/// The ids around those of an input's text.
package struct InputFrame: Sendable, Equatable {
    package var before: [Int32] = []
    /// nil where the vocabulary names none: the model's own id ends an input.
    package var after: [Int32]?
    /// Whether `after` follows even a text that ends with it already.
    package var isRepeated = false

    /// The end of slow tokenizers.
    package init(end: Int32?) { after = end.map { [$0] } }

    /// The frame that a tokenizer.json states.
    init(before: [Int32], after: [Int32]) {
        self.before = before
        self.after = after
        isRepeated = true
    }
}

extension Tokenizer {
    /// Joins ids into text, special ids left out: what a user reads.
    ///
    /// - Throws: as `spellAsIs`.
    package func spell(_ ids: [Int32]) throws -> Spelling {
        let spelling = try spellAsIs(ids)
        return cleansUp ? spelling.cleanedUp() : spelling
    }

    /// How many bytes of the text that ids make stay as they are, whatever ids follow; a
    /// character that is spelled byte by byte is not counted until it is whole.
    package func settledCount(of text: [UInt8]) -> Int {
        cleansUp ? Spelling.settledCount(of: text) : text.count
    }

    /// Joins ids into UTF-8 text; see `spell`.
    package func decode(_ ids: [Int32]) throws -> [UInt8] { try spell(ids).text }

    /// Splits a string into ids; see `encode`.
    package func encode(_ text: String) throws -> [Token] {
        try Array(text.utf8).withUnsafeBufferPointer { try encode($0) }
    }

    func checkText(_ text: UnsafeBufferPointer<UInt8>) throws {
        guard text.count <= longestText else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "the text has \(text.count) bytes; at most \(longestText) are read")
        }
        let valid = support_utf8_prefix(text.baseAddress, text.count)
        guard valid == text.count else {
            throw Failure(
                UNSAY_E_TEXT, "the text is not UTF-8: byte \(valid) (of \(text.count)) is not valid"
            )
        }
    }

    func checkIDs(_ ids: [Int32]) throws {
        guard let position = ids.firstIndex(where: { $0 < 0 }) else { return }
        throw Failure(
            UNSAY_E_ARGUMENT,
            "id \(position) is \(ids[position]); expected 0 to \(vocabularySize - 1)")
    }
}
