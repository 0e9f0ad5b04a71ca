import Models
import Patching
import Tokenizers

/// What training does to one token of an output.
public enum Mark: Int8, Sendable {
    /// Lower this token's probability here.
    case avoid = -1
    /// No loss here.
    case ignore = 0
    /// Hold the original distribution, or the text, here.
    case keep = 1
}

/// Which tokens of a matched run to avoid.
public enum Extent: Sendable {
    case all
    /// Also lowers every other continuation that starts alike.
    case first
    /// The narrowest.
    case last

    var extent: Patching.Extent {
        switch self {
        case .all: .all
        case .first: .first
        case .last: .last
        }
    }
}

/// How an output and a corrected one become one example: the converters of T5Patches, aligned
/// by a shortest edit.
public struct Converter: Sendable, Equatable {
    public enum Side: Sendable {
        /// The output: avoid what differs, keep the rest.
        case negative
        /// The corrected output: keep what differs, ignore the rest.
        case corrective
        /// Negative, or the whole corrected output where that is longer.
        case mixed
    }

    public enum Amount: Sendable {
        /// The first token that differs.
        case first
        /// Every token that differs.
        case diff
        /// Every token.
        case full
    }

    public var side: Side
    public var amount: Amount

    public init(_ side: Side, _ amount: Amount) {
        self.side = side
        self.amount = amount
    }

    var converter: TripleConverter {
        let side: TripleConverter.Side =
            switch side {
            case .negative: .negative
            case .corrective: .corrective
            case .mixed: .mixed
            }
        let amount: TripleConverter.Amount =
            switch amount {
            case .first: .first
            case .diff: .diff
            case .full: .full
            }
        return TripleConverter(side: side, amount: amount)
    }
}

/// Markers: one mark for each id of `output`, the end included. That nothing matches is no
/// failure here.
extension Model {
    /// Avoids every token that shares a byte with a span of the output's text.
    ///
    /// Spans are of bytes in the UTF-8 of the text; for ids, of what they decode to.
    public func marks(
        of output: some TokenSequence, spans: [Range<Int>], extent: Extent = .all
    ) throws(Failure) -> [Mark] {
        try boundary {
            let tokens = try model.tokens(output, "output", spans: true)
            let spans = try checkedSpans(
                spans.map { ($0.lowerBound, $0.upperBound) }, of: tokens, named: "spans")
            return markSpans(tokens, spans: spans, extent: extent.extent).map(Mark.init)
        }
    }

    /// Avoids every occurrence of each phrase between word boundaries, however it is split into
    /// tokens and whatever its letter case.
    public func marks(
        of output: some TokenSequence, phrases: [String], extent: Extent = .all
    ) throws(Failure) -> [Mark] {
        try boundary {
            try markPhrases(
                ids: model.ids(output, "output"), phrases: phrases, extent: extent.extent,
                tokenizer: model.requireTokenizer()
            ).map(Mark.init)
        }
    }

    /// Avoids the tokens that a shortest edit to `corrected` replaces or deletes.
    public func marks(
        of output: some TokenSequence, better corrected: some TokenSequence,
        extent: Extent = .all
    ) throws(Failure) -> [Mark] {
        try boundary {
            try markDifference(
                output: model.ids(output, "output"), corrected: model.ids(corrected, "corrected"),
                extent: extent.extent
            ).map(Mark.init)
        }
    }

    /// The example that `converter` makes of an output and a corrected one: its marks, and
    /// whether they are of the corrected one.
    public func marks(
        of output: some TokenSequence, corrected: some TokenSequence, _ converter: Converter
    ) throws(Failure) -> (marks: [Mark], usesCorrected: Bool) {
        try boundary {
            let made = try converter.converter.marks(
                negative: model.ids(output, "output"),
                corrected: model.ids(corrected, "corrected"))
            return (made.marks.map(Mark.init), made.usesCorrected)
        }
    }
}

extension Mark {
    /// The markers' numbers are the marks'.
    fileprivate init(_ mark: Int8) { self = mark < 0 ? .avoid : mark > 0 ? .keep : .ignore }
}
