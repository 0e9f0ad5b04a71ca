import Tokenizers

/// A text to learn from: its ids, and which of them are marked.
package struct LabelledText: Sendable {
    package let ids: [Int32]
    package let isMarked: [Bool]

    /// - Parameter ids: each below vocab_size.
    package init(ids: [Int32], isMarked: [Bool]) {
        assert(ids.count == isMarked.count, "\(ids.count) ids, \(isMarked.count) labels")
        self.ids = ids
        self.isMarked = isMarked
    }

    /// The tokens of a text, those marked that share a byte with a span; nil if the text has no
    /// character to learn from.
    ///
    /// - Parameter name: of the spans in what is thrown.
    /// - Throws: `UNSAY_E_ARGUMENT` for a span that is empty or ends outside the text.
    package init?(
        _ tokens: [Token], spans: [(begin: Int, end: Int)], named name: String
    ) throws {
        let ranges = try checkedSpans(spans, of: tokens, named: name)
        guard tokens.contains(where: { !$0.bytes.isEmpty }) else { return nil }
        self.init(
            ids: tokens.map(\.id),
            isMarked: tokens.map { token in ranges.contains { $0.overlaps(token.bytes) } })
    }
}
