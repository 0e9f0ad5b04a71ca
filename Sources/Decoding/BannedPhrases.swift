import Tokenizers

/// Keeps phrases out of outputs as whole words, however they are cased, spaced and split into
/// tokens: looks at the text that each token would make.
///
/// A token is refused if it completes a phrase. Where tokens are bytes, every longer word that
/// begins with the phrase passes through it, so there what would end the word is refused.
final class BannedPhrases: Sendable {
    private let tokenizer: any Tokenizer
    private let phrases: [FoldedText]
    /// The phrases as ids may write them, before anything is cleaned up.
    private let spellings: [[Unicode.Scalar]]
    /// Whether a phrase has too many spellings to go through, so that every id is tried.
    private let triesAll: Bool
    private let texts: TokenTexts
    /// Ids whose own text may hold a phrase.
    private let whole: [Int32]
    private let ends: [Int32]
    /// nil if tokens are more than bytes.
    private let bytes: ByteTokenizer?
    /// Ids that can matter to what a phrase meets.
    private let reach: Int

    /// - Parameters:
    ///   - phrases: each with a character other than white space.
    ///   - ends: the ids that end an output.
    ///   - texts: of this tokenizer.
    init(
        _ phrases: [String], ends: [Int32], texts: TokenTexts, tokenizer: any Tokenizer
    ) throws {
        self.phrases = try phrases.flatMap {
            try Tokenizers.spellings(of: $0, tokenizer: tokenizer)
        }
        self.texts = texts
        self.ends = ends
        self.tokenizer = tokenizer
        let written = self.phrases.map { phrase in
            tokenizer.cleansUp ? uncleanedSpellings(of: phrase.scalars) : [phrase.scalars]
        }
        triesAll = written.contains { $0 == nil }
        spellings = written.flatMap { $0 ?? [] }
        whole = spellings.flatMap { texts.ids(holding: $0) }
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
        var candidates = completing(
            tokenizer.cleansUp
                ? FoldedText((try? tokenizer.spellAsIs(tail).text) ?? []).scalars : folded.scalars)
        if isWaiting || triesAll { candidates.formUnion(texts.tokens.map(\.id) + texts.unfinished) }
        let refused = candidates.filter { id in
            let after = text(tail + [id])
            let found = FoldedText(after)
            // Cleaning up the new text may change the end of the text before it.
            let same = commonPrefix(before, after)
            let first = isWaiting ? same : same + 1
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
                candidates.formUnion(texts.ids(beginningWith: rest))
                // Behind an added token a word needs no space of its own.
                if rest.first == " ", rest.count > 1 {
                    candidates.formUnion(texts.ids(beginningWith: Array(rest[1...])))
                }
                // White space of any length counts as one.
                if phrase[size - 1] == " " {
                    candidates.formUnion(texts.ids(beginningWith: [" "] + rest))
                }
            }
            if phrase.contains(where: { !$0.isASCII }) { candidates.formUnion(texts.unfinished) }
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
}

/// How many bytes two texts begin with alike.
func commonPrefix(_ one: [UInt8], _ other: [UInt8]) -> Int {
    var count = 0
    while count < min(one.count, other.count), one[count] == other[count] { count += 1 }
    return count
}
