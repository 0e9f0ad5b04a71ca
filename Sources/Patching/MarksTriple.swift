import CUnsay
import Support

/// How an output that should not have been written, and a corrected one, become one example:
/// the converters of T5Patches (Google, 2023), aligned by a shortest edit instead of position
/// by position, so that one token more or less does not count as everything after it.
package struct TripleConverter: Sendable, Equatable {
    package enum Side: Sendable {
        /// The output, what is wrong in it avoided and the rest kept.
        case negative
        /// The corrected output, what is right in it kept and the rest ignored.
        case corrective
        /// Negative, or the whole corrected output where that is longer.
        case mixed
    }

    package enum Amount: Sendable {
        /// The first token that differs.
        case first
        /// Every token that differs.
        case diff
        /// Every token.
        case full
    }

    package let side: Side
    package let amount: Amount

    package init(side: Side, amount: Amount) {
        self.side = side
        self.amount = amount
    }

    /// Whether the example's output is the corrected one, and one mark for each of its ids.
    ///
    /// - Throws: as `markDifference`.
    package func marks(
        negative: [Int32], corrected: [Int32]
    ) throws -> (usesCorrected: Bool, marks: [Int8]) {
        switch side {
        case .negative:
            return (false, try differing(negative, corrected).map { $0 ? -1 : 1 })
        case .corrective:
            return (true, try differing(corrected, negative).map { $0 ? 1 : 0 })
        case .mixed where negative.count >= corrected.count:
            return try TripleConverter(side: .negative, amount: amount).marks(
                negative: negative, corrected: corrected)
        case .mixed:
            return (true, [Int8](repeating: 1, count: corrected.count))
        }
    }

    /// Which tokens of one output count as different from the other.
    private func differing(_ output: [Int32], _ other: [Int32]) throws -> [Bool] {
        if amount == .full { return output.map { _ in true } }
        let all = try markDifference(output: output, corrected: other, extent: .all)
        let first = all.firstIndex(of: -1)
        return all.indices.map { amount == .first ? $0 == first : all[$0] < 0 }
    }
}
