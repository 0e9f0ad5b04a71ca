import Tokenizers

/// Keeps phrases out of outputs as whole words, however they are cased, spaced and split into
/// tokens: looks at the text that each token would make.
///
/// A token is refused if it completes a phrase. Where tokens are bytes, every longer word that
/// begins with the phrase passes through it, so there what would end the word is refused.
final class BannedPhrases: Sendable {
    private let tokenizer: any Tokenizer
    private let phrases: [FoldedText]
    private let spellings: [[Unicode.Scalar]]
    /// The text that every id adds, and the id; in order.
    private let tokens: [(text: [Unicode.Scalar], id: Int32)]
    /// Ids whose own text may hold a phrase.
    private let whole: [Int32]
    /// Ids without text of their own: bytes of longer characters, control ids.
    private let unfinished: [Int32]
    private let ends: [Int32]
    /// nil if tokens are more than bytes.
    private let bytes: ByteTokenizer?
    /// Ids that can matter to what a phrase meets.
    private let reach: Int

    /// - Parameters:
    ///   - phrases: each with a character other than white space.
    ///   - ends: the ids that end an output.
    init(_ phrases: [String], ends: [Int32], vocabSize: Int, tokenizer: any Tokenizer) throws {
        var folded: [FoldedText] = []
        for phrase in phrases {
            folded.append(FoldedText(Array(phrase.utf8)).trimmed())
            // As the model would write it: its vocabulary may know only normalised characters.
            let written = try tokenizer.encode(phrase).map(\.id)
            guard !written.contains(tokenizer.unkTokenID) else { continue }
            let respelled = FoldedText(try tokenizer.decode(written)).trimmed()
            if !respelled.isEmpty, !folded.contains(respelled) { folded.append(respelled) }
        }
        var tokens: [(text: [Unicode.Scalar], id: Int32)] = []
        var whole: [Int32] = []
        var unfinished: [Int32] = []
        for id in 0..<Int32(min(vocabSize, tokenizer.vocabularySize)) {
            // What it adds behind itself: a space before the first word is not written.
            let once = try tokenizer.decode([id]).count
            let added = Array(try tokenizer.decode([id, id]).dropFirst(once))
            let text = FoldedText(added)
            if added.isEmpty || text.scalars.contains("\u{FFFD}") {
                unfinished.append(id)
                continue
            }
            tokens.append((text.scalars, id))
            let apart = FoldedText([0x20] + added + [0x20])
            if folded.contains(where: { !apart.occurrences(of: $0).isEmpty }) { whole.append(id) }
        }
        self.tokens = tokens.sorted { Self.isBefore($0.text, $1.text) }
        self.whole = whole
        self.unfinished = unfinished
        self.phrases = folded
        self.ends = ends
        self.tokenizer = tokenizer
        spellings = folded.map(\.scalars)
        bytes = tokenizer as? ByteTokenizer
        reach = max(64, 4 * (spellings.map(\.count).max() ?? 0))
    }

    /// The ids that must not follow `written`.
    ///
    /// - Parameter isLast: whether the output ends with the next id, whatever it is.
    func refused(after written: ArraySlice<Int32>, isLast: Bool) -> [Int32] {
        let tail = Array(written.suffix(reach))
        let before = text(tail)
        let folded = FoldedText(before)
        let isWaiting = bytes != nil && ending(in: folded, before.count...before.count)
        var candidates = completing(folded.scalars)
        if isWaiting { candidates.formUnion(tokens.map(\.id) + unfinished) }
        let refused = candidates.filter { id in
            let after = text(tail + [id])
            let found = FoldedText(after)
            let first = isWaiting ? before.count : before.count + 1
            guard let bytes, !isLast else {
                return ending(in: found, first...max(after.count, first))
            }
            if isWaiting, after.count == before.count { return !bytes.isByte(id) }
            return first < after.count && ending(in: found, first...after.count - 1)
        }
        return Array(isWaiting ? refused.union(ends) : refused)
    }

    /// Ids that may complete a phrase behind a text.
    private func completing(_ before: [Unicode.Scalar]) -> Set<Int32> {
        var candidates = Set(whole)
        for phrase in spellings {
            for size in 1..<max(phrase.count, 1)
            where before.count >= size && before.suffix(size).elementsEqual(phrase[..<size]) {
                let rest = Array(phrase[size...])
                candidates.formUnion(ids(beginningWith: rest))
                // White space of any length counts as one.
                if phrase[size - 1] == " " {
                    candidates.formUnion(ids(beginningWith: [" "] + rest))
                }
            }
            if phrase.contains(where: { !$0.isASCII }) { candidates.formUnion(unfinished) }
        }
        return candidates
    }

    private func text(_ ids: [Int32]) -> [UInt8] { (try? tokenizer.decode(ids)) ?? [] }

    /// Whether a phrase stands in `text` with its end at one of these bytes.
    private func ending(in text: FoldedText, _ places: ClosedRange<Int>) -> Bool {
        phrases.contains { phrase in
            text.occurrences(of: phrase).contains { places.contains($0.upperBound) }
        }
    }

    private func ids(beginningWith start: [Unicode.Scalar]) -> [Int32] {
        var low = 0
        var high = tokens.count
        while low < high {
            let middle = (low + high) / 2
            if Self.isBefore(tokens[middle].text, start) { low = middle + 1 } else { high = middle }
        }
        var found: [Int32] = []
        while low < tokens.count, tokens[low].text.starts(with: start) {
            found.append(tokens[low].id)
            low += 1
        }
        return found
    }

    private static func isBefore(_ one: [Unicode.Scalar], _ other: [Unicode.Scalar]) -> Bool {
        one.lexicographicallyPrecedes(other) { $0.value < $1.value }
    }
}
