import CUnsay
import Support

/// What a loss does at one kind of position. z are the logits of the trained model p, z° of
/// the reference q, x the written token, N the ids to avoid there.
///
/// q' is q with the probability of N multiplied by `retain` and the whole rescaled to 1.
package enum LossTerm: Sendable {
    /// Nothing: the position is not trained on and not counted.
    case none
    /// KL(q' ‖ p) where something is avoided, else KL(q ‖ p).
    case forwardKL
    /// -log p(x).
    case likelihood
}

/// The losses as a table of two columns: the term at avoided positions, which is multiplied
/// by alpha, and the term at kept positions.
package struct LossColumns: Sendable {
    package let avoided: LossTerm
    package let kept: LossTerm

    package static let table: [(loss: unsay_loss, columns: LossColumns)] = [
        (UNSAY_LOSS_LIKELIHOOD, LossColumns(avoided: .none, kept: .likelihood)),
        (UNSAY_LOSS_FF, LossColumns(avoided: .forwardKL, kept: .forwardKL)),
    ]

    /// - Throws: `UNSAY_E_ARGUMENT` for a number that is no loss, `UNSAY_E_UNSUPPORTED` for
    ///   one that this release lacks.
    package init(_ loss: unsay_loss, _ form: unsay_loss_form) throws {
        guard loss.rawValue <= UNSAY_LOSS_NL.rawValue else {
            throw Failure(UNSAY_E_ARGUMENT, "loss is \(loss.rawValue), not one of unsay_loss")
        }
        guard form.rawValue <= UNSAY_LOSS_PUBLISHED.rawValue else {
            throw Failure(UNSAY_E_ARGUMENT, "form is \(form.rawValue), not one of unsay_loss_form")
        }
        guard let row = Self.table.first(where: { $0.loss == loss }), form == UNSAY_LOSS_EXACT
        else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "loss \(loss.rawValue) in form \(form.rawValue) is not in this release: use "
                    + "UNSAY_LOSS_FF or UNSAY_LOSS_LIKELIHOOD in form UNSAY_LOSS_EXACT")
        }
        self = row.columns
    }

    private init(avoided: LossTerm, kept: LossTerm) {
        self.avoided = avoided
        self.kept = kept
    }

    /// Whether the reference's logits are read at all.
    package var needsReference: Bool { avoided == .forwardKL || kept == .forwardKL }

    package subscript(mark: Int8) -> LossTerm {
        mark < 0 ? avoided : mark > 0 ? kept : .none
    }
}
