import CUnsay
import Support
import Tokenizers

/// Marks: one for each token of an output, -1 to avoid it and 1 to keep it. Whoever wants a
/// token ignored writes a 0 over its mark.

/// Which tokens of a matched run to avoid. Avoiding the first one also lowers every other
/// continuation that starts alike; avoiding the last is narrowest.
package enum Extent: Sendable {
    case all, first, last
}

/// The text that an output's ids make, and the bytes of it that each contributed.
///
/// Ids have no source text, so spans and phrases are found in what they decode to.
/// - Throws: `UNSAY_E_ARGUMENT` for a negative id.
package func spans(
    of ids: [Int32], tokenizer: any Tokenizer
) throws -> (text: [UInt8], tokens: [Token]) {
    let spelling = try tokenizer.spell(ids)
    return (spelling.text, spelling.tokens)
}

/// Avoids the tokens whose bytes overlap a span; `extent` holds for each span by itself.
///
/// Tokens without bytes, such as the end of the sequence, overlap nothing, and an empty span
/// marks nothing. Spans may overlap each other and reach beyond the text.
package func markSpans(_ tokens: [Token], spans: [Range<Int>], extent: Extent) -> [Int8] {
    var marks = [Int8](repeating: 1, count: tokens.count)
    for span in spans {
        avoid(tokens.indices.filter { tokens[$0].bytes.overlaps(span) }, extent, &marks)
    }
    return marks
}

/// Avoids every occurrence of each phrase as whole words, however it is cased and however the
/// ids split it; `extent` holds for each occurrence by itself.
///
/// - Throws: `UNSAY_E_ARGUMENT` for a phrase without a character, or a negative id.
package func markPhrases(
    ids: [Int32], phrases: [String], extent: Extent, tokenizer: any Tokenizer
) throws -> [Int8] {
    let (text, tokens) = try spans(of: ids, tokenizer: tokenizer)
    let searched = FoldedText(text)
    var found: Set<Range<Int>> = []
    for (index, phrase) in phrases.enumerated() {
        let spellings = try spellings(of: phrase, tokenizer: tokenizer)
        guard !spellings.isEmpty else {
            throw Failure(UNSAY_E_ARGUMENT, "phrase \(index) is empty: nothing would match it")
        }
        for spelling in spellings { found.formUnion(searched.occurrences(of: spelling)) }
    }
    return markSpans(tokens, spans: Array(found), extent: extent)
}

/// Avoids the tokens of a run that `extent` asks for.
func avoid(_ run: [Int], _ extent: Extent, _ marks: inout [Int8]) {
    let chosen: [Int] =
        switch extent {
        case .all: run
        case .first: Array(run.prefix(1))
        case .last: Array(run.suffix(1))
        }
    for index in chosen { marks[index] = -1 }
}
