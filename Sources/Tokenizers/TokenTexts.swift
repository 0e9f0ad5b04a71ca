/// The text that every id of a vocabulary adds behind others, folded as phrases are, in order:
/// for finding the ids that begin with something.
package final class TokenTexts: Sendable {
    package let tokens: [(text: [Unicode.Scalar], id: Int32)]
    /// Ids without text of their own: bytes of longer characters, control ids.
    package let unfinished: [Int32]

    /// - Parameter count: how many ids the model has: others are never written.
    package init(_ tokenizer: any Tokenizer, count: Int) throws {
        var tokens: [(text: [Unicode.Scalar], id: Int32)] = []
        var unfinished: [Int32] = []
        for id in 0..<Int32(clamping: max(min(tokenizer.vocabularySize, count), 0)) {
            // What it adds behind itself: a space before the first word is not written.
            let once = try tokenizer.spellAsIs([id]).text.count
            let added = try tokenizer.spellAsIs([id, id]).text.dropFirst(once)
            let text = FoldedText(Array(added)).scalars
            if added.isEmpty || text.contains("\u{FFFD}") {
                unfinished.append(id)
            } else {
                tokens.append((text, id))
            }
        }
        self.tokens = tokens.sorted { Self.isBefore($0.text, $1.text) }
        self.unfinished = unfinished
    }

    package func ids(beginningWith start: [Unicode.Scalar]) -> [Int32] {
        var low = 0
        var high = tokens.count
        while low < high {
            let middle = (low + high) / 2
            if Self.isBefore(tokens[middle].text, start) { low = middle + 1 } else { high = middle }
        }
        return tokens[low...].prefix { $0.text.starts(with: start) }.map(\.id)
    }

    /// The ids whose own text holds `run`.
    package func ids(holding run: [Unicode.Scalar]) -> [Int32] {
        tokens.filter { token in
            token.text.count >= run.count
                && (0...token.text.count - run.count).contains {
                    token.text[$0..<$0 + run.count].elementsEqual(run)
                }
        }.map(\.id)
    }

    private static func isBefore(_ one: [Unicode.Scalar], _ other: [Unicode.Scalar]) -> Bool {
        one.lexicographicallyPrecedes(other) { $0.value < $1.value }
    }
}
