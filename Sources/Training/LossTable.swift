import CUnsay
import Support

/// What a loss does at one kind of position. z are the logits of the trained model p, z° of
/// the reference q, x the written token, N the ids to avoid there.
///
/// q' is q with the probability of N multiplied by `retain` and the whole rescaled to 1; where
/// nothing is avoided it is q.
package struct LossTerm: Sendable, Equatable {
    package enum Kind: Sendable {
        /// Nothing: the position is not trained on and not counted.
        case none
        /// KL(d ‖ p) = sum d (log d - log p).
        case forwardKL
        /// -sum d log p: differs from the former by a constant.
        case crossEntropy
        /// KL(p ‖ d) = sum p (log p - log d).
        case reverseKL
        /// -log(1 - p(N)).
        case unlikelihood
        /// log p(N).
        case negativeLikelihood
    }

    /// The distribution d to move towards.
    package enum Target: Sendable {
        case reference
        case written
    }

    package let kind: Kind
    package var target = Target.reference
    /// Added to every entry of d, which is then rescaled to 1. Without it, a term that takes
    /// log d takes no less than `lowestProbability` of an avoided id.
    package var smoothing: Float = 0
    /// Where a term stops being pulled at, if it does.
    package var limit = Limit.none

    package enum Limit: Sendable {
        case none
        /// log p(N) stops at -10.3: about the probability of any one token of T5's 32,000.
        case floor
        /// The published code's: a loss above 10.3, alpha included, becomes 10.3.
        case ceiling
        /// The published code's: 1 - p(N) is at least 1e-7.
        case clipped
    }

    /// The figure of the published code for NL.
    static let limitOfLikelihood = 10.3
    static let clip = 1e-7
    static let lowestProbability: Float = 1e-6

    static let none = LossTerm(kind: .none)
    static let likelihood = LossTerm(kind: .crossEntropy, target: .written)

    var needsReference: Bool {
        target == .reference && [.forwardKL, .crossEntropy, .reverseKL].contains(kind)
    }
}

/// The losses as a table of two columns: the term at avoided positions, which is multiplied
/// by alpha, and the term at kept positions.
package struct LossColumns: Sendable {
    package let avoided: LossTerm
    package let kept: LossTerm
    /// Whether a step adds its positions up, as the published code does, or takes their mean.
    package let isSummed: Bool

    private struct Row {
        let loss: unsay_loss, avoided: LossTerm, kept: LossTerm

        init(_ loss: unsay_loss, _ avoided: LossTerm, _ kept: LossTerm) {
            (self.loss, self.avoided, self.kept) = (loss, avoided, kept)
        }
    }

    private static let exact: [Row] = {
        let forward = LossTerm(kind: .forwardKL)
        let reverse = LossTerm(kind: .reverseKL)
        return [
            Row(UNSAY_LOSS_LIKELIHOOD, .none, .likelihood),
            Row(UNSAY_LOSS_FF, forward, forward),
            Row(UNSAY_LOSS_RR, reverse, reverse),
            Row(UNSAY_LOSS_RF, reverse, forward),
            Row(UNSAY_LOSS_FLL, forward, .likelihood),
            Row(UNSAY_LOSS_RLL, reverse, .likelihood),
            Row(UNSAY_LOSS_UL, LossTerm(kind: .unlikelihood), .likelihood),
            Row(UNSAY_LOSS_NL, LossTerm(kind: .negativeLikelihood, limit: .floor), .likelihood),
        ]
    }()

    /// To the digit of the code that was published with the method.
    private static let published: [Row] = {
        let smoothing: Float = 1e-6
        let forward = LossTerm(kind: .crossEntropy)
        let reverse = LossTerm(kind: .reverseKL, smoothing: smoothing)
        let smooth = LossTerm(kind: .crossEntropy, smoothing: smoothing)
        let written = LossTerm(kind: .crossEntropy, target: .written, smoothing: smoothing)
        let limited = LossTerm(kind: .crossEntropy, target: .written, limit: .ceiling)
        return [
            Row(UNSAY_LOSS_LIKELIHOOD, .none, .likelihood),
            Row(UNSAY_LOSS_FF, forward, forward),
            Row(UNSAY_LOSS_RR, reverse, reverse),
            Row(UNSAY_LOSS_RF, reverse, smooth),
            Row(UNSAY_LOSS_FLL, forward, .likelihood),
            Row(UNSAY_LOSS_RLL, reverse, written),
            Row(UNSAY_LOSS_UL, LossTerm(kind: .unlikelihood, limit: .clipped), .likelihood),
            Row(UNSAY_LOSS_NL, LossTerm(kind: .negativeLikelihood, limit: .ceiling), limited),
        ]
    }()

    /// - Throws: `UNSAY_E_ARGUMENT` for a number that is no loss or no form.
    package init(_ loss: unsay_loss, _ form: unsay_loss_form) throws {
        guard form.rawValue <= UNSAY_LOSS_PUBLISHED.rawValue else {
            throw Failure(UNSAY_E_ARGUMENT, "form is \(form.rawValue), not one of unsay_loss_form")
        }
        isSummed = form == UNSAY_LOSS_PUBLISHED
        guard let row = (isSummed ? Self.published : Self.exact).first(where: { $0.loss == loss })
        else { throw Failure(UNSAY_E_ARGUMENT, "loss is \(loss.rawValue), not one of unsay_loss") }
        (avoided, kept) = (row.avoided, row.kept)
    }

    /// Whether the reference's logits are read at all.
    package var needsReference: Bool { avoided.needsReference || kept.needsReference }

    package subscript(mark: Int8) -> LossTerm {
        mark < 0 ? avoided : mark > 0 ? kept : .none
    }
}
