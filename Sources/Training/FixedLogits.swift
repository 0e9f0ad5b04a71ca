import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// What the loss of a position needs of the logits that never change, where a few rows of the
/// head are all that is trained: sums over the ids that have none of those rows, the others.
///
/// With z the logits, d the distribution to move towards, and L the logarithm of the sum of exp z
/// over the others, log sum exp z of all ids is that of L and of the rows' own logits, and the
/// sums of d log d, d z and p (log p - log d) fall apart likewise. So a step multiplies the rows
/// alone, and its loss and gradients are those of all logits but for rounding.
struct FixedLogits {
    private let target: TokenTarget
    private let term: LossTerm
    private let count: Int
    /// Of the rows: which is the written id's, if any, and which are avoided here.
    private let writtenRow: Int?
    private let isAvoided: [Bool]
    /// Over the others: log sum exp z of all, of those that are avoided here, and of the rest.
    private let logSum: Double
    private let avoidedLogSum: Double
    private let keptLogSum: Double
    /// The sum of z over the others.
    private let total: Double
    /// z of the written id, if it is one of the others.
    private let writtenLogit: Double
    /// nil for a term without d, and where nothing is left of it.
    private let goal: Goal?

    /// The distribution d to move towards.
    private struct Goal {
        /// Over the others: the sum of d (log d - z), without log d for a cross-entropy; of a
        /// term that turns p into d, the sum of exp(z - L) (z - L - log d).
        let constant: Double
        /// d and log d of each row.
        let rows: [Double]
        let logarithms: [Double]
    }

    /// - Parameters:
    ///   - rows: the ids of the rows that are trained.
    ///   - logits: z, [vocab_size]; changed.
    ///   - reference: z°, [vocab_size]; changed. Not read by terms that need no reference.
    ///   - scratch: [vocab_size].
    init(
        _ target: TokenTarget, _ settings: LossSettings, rows: [Int32],
        logits: UnsafeMutableBufferPointer<Float>,
        reference: UnsafeMutableBufferPointer<Float>?, scratch: UnsafeMutablePointer<Float>
    ) {
        let avoided = target.avoided
        self.target = target
        term = settings.columns[target.mark]
        count = logits.count
        writtenRow = rows.firstIndex(of: target.id)
        isAvoided = rows.map { avoided.contains($0) }
        writtenLogit = Double(logits[Int(target.id)])
        for id in rows { logits[Int(id)] = 0 }
        total = term.smoothing > 0 ? logits.reduce(0.0) { $0 + Double($1) } : 0
        for id in rows { logits[Int(id)] = -.infinity }
        logSum = logSumExp(logits, into: scratch).value
        let others = avoided.filter { !rows.contains($0) }
        avoidedLogSum = Self.logSum(others.map { Double(logits[Int($0)]) })
        let values = others.map { logits[Int($0)] }
        for id in others { logits[Int(id)] = -.infinity }
        keptLogSum = others.isEmpty ? logSum : logSumExp(logits, into: scratch).value
        for (id, value) in zip(others, values) { logits[Int(id)] = value }
        goal = Self.goal(target, term, settings, rows, logits, logSum, reference, scratch)
    }

    /// - Parameter logits: -infinity for the rows.
    private static func goal(
        _ target: TokenTarget, _ term: LossTerm, _ settings: LossSettings, _ rows: [Int32],
        _ logits: UnsafeMutableBufferPointer<Float>, _ logSum: Double,
        _ reference: UnsafeMutableBufferPointer<Float>?, _ scratch: UnsafeMutablePointer<Float>
    ) -> Goal? {
        guard term.needsReference, let reference else { return nil }
        let position = PositionLoss(
            target: target, term: term, settings: settings, logits: logits, scratch: scratch,
            factor: 1)
        guard let d = position.fillTarget(reference) else { return nil }
        let isReverse = term.kind == .reverseKL
        let lowest = log(Double(LossTerm.lowestProbability))
        let floored = Set(isReverse && term.smoothing == 0 ? target.avoided : [])
        func logarithm(_ id: Int) -> Double {
            let own = Double(reference[id]) - d.logSum
            return floored.contains(Int32(id)) ? max(own, lowest) : own
        }
        let ofRows = rows.map { Double(scratch[Int($0)]) / Double(d.sum) }
        var constant = 0.0
        for i in logits.indices where logits[i] > -.infinity {
            let own = Double(scratch[i])
            guard !isReverse, own > 0 else { continue }
            let difference = term.kind == .forwardKL ? Double(reference[i]) - d.logSum : 0
            constant += own * (difference - Double(logits[i]))
        }
        constant /= Double(d.sum)
        if isReverse {
            let sum = Double(logSumExp(logits, into: scratch).sum)
            for i in logits.indices where scratch[i] > 0 {
                constant += Double(scratch[i]) * (Double(logits[i]) - logSum - logarithm(i))
            }
            constant /= sum > 0 ? sum : 1
        }
        return Goal(
            constant: constant, rows: ofRows,
            logarithms: rows.map { logarithm(Int($0)) })
    }

    /// log sum exp, -infinity of nothing.
    static func logSum(_ values: [Double]) -> Double {
        guard let largest = values.max(), largest > -.infinity else { return -.infinity }
        return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
    }

    /// The loss of the position.
    ///
    /// - Parameter logits: z of the rows; overwritten by `factor` times the gradient.
    func loss(
        _ logits: UnsafeMutableBufferPointer<Float>, _ settings: LossSettings, factor: Float
    ) -> TokenLoss {
        let z = logits.map(Double.init)
        let whole = Self.logSum(z + [logSum])
        let rows = RowLogits(
            z: z, logSum: whole, p: z.map { exp($0 - whole) },
            written: writtenRow.map { z[$0] } ?? writtenLogit)
        guard let (value, isLevel, gradient) = self.value(rows) else {
            // No distribution is left to move towards.
            logits.update(repeating: 0)
            return TokenLoss()
        }
        let settled = SettledTerm(
            value, target, term, settings, logSum: whole, probability: exp(rows.written - whole),
            factor: factor, isLevel: isLevel)
        for row in z.indices {
            logits[row] = Float(
                Double(settled.pull) * gradient(row) + Double(settled.normaliser) * rows.p[row])
        }
        return settled.loss
    }

    /// The logits of the rows in a step, and what follows from them.
    private struct RowLogits {
        let z: [Double]
        /// log sum exp of all logits, those of the others included.
        let logSum: Double
        let p: [Double]
        /// z of the written id.
        let written: Double
    }

    /// A term, whether it stands still where it is, and its gradient by z of a row; nil where no
    /// distribution is left to move towards.
    private typealias Value = (term: Double, isLevel: Bool, gradient: (_ row: Int) -> Double)

    private func value(_ rows: RowLogits) -> Value? {
        switch term.kind {
        case .none: nil
        case .unlikelihood: unlikelihood(rows)
        case .negativeLikelihood: negativeLikelihood(rows)
        case .forwardKL, .crossEntropy, .reverseKL:
            if term.target == .written {
                towardsWritten(rows)
            } else {
                goal.map { term.kind == .reverseKL ? reverse(rows, $0) : forward(rows, $0) }
            }
        }
    }

    /// KL(d ‖ p), or its part that depends on p; the gradient is p - d.
    private func forward(_ rows: RowLogits, _ goal: Goal) -> Value {
        let isKL = term.kind == .forwardKL
        var value = goal.constant + rows.logSum
        for row in rows.z.indices where goal.rows[row] > 0 {
            value += goal.rows[row] * ((isKL ? goal.logarithms[row] : 0) - rows.z[row])
        }
        return (isKL ? max(value, 0) : value, false, { rows.p[$0] - goal.rows[$0] })
    }

    /// -sum d log p with d at the written id; the gradient is p - d.
    private func towardsWritten(_ rows: RowLogits) -> Value {
        let smoothing = Double(term.smoothing)
        let there = 1 / (1 + smoothing * Double(count))
        let elsewhere = smoothing * there
        let sum = elsewhere > 0 ? elsewhere * (total + rows.z.reduce(0, +)) : 0
        let written = writtenRow
        return (
            rows.logSum - there * rows.written - sum, false,
            { rows.p[$0] - elsewhere - ($0 == written ? there : 0) }
        )
    }

    /// KL(p ‖ d); the gradient is p (log p - log d - KL).
    private func reverse(_ rows: RowLogits, _ goal: Goal) -> Value {
        func difference(_ row: Int) -> Double {
            rows.z[row] - rows.logSum - goal.logarithms[row]
        }
        let share = logSum - rows.logSum
        var value = share > -.infinity ? exp(share) * (goal.constant + share) : 0
        for row in rows.z.indices where rows.p[row] > 0 { value += rows.p[row] * difference(row) }
        let mean = value
        // Floored ids make d more than 1 in all: only without them is it a divergence.
        return (
            target.avoided.isEmpty ? max(value, 0) : value, false,
            { rows.p[$0] > 0 ? rows.p[$0] * (difference($0) - mean) : 0 }
        )
    }

    /// -log(1 - p(N)); the gradient is p - p without N, rescaled.
    private func unlikelihood(_ rows: RowLogits) -> Value? {
        let others = Self.logSum(
            [keptLogSum] + rows.z.indices.filter { !isAvoided[$0] }.map { rows.z[$0] })
        guard others > -.infinity else { return nil }
        let isClipped = term.limit == .clipped && exp(others - rows.logSum) < LossTerm.clip
        let avoided = isAvoided
        return (
            isClipped ? -log(LossTerm.clip) : max(rows.logSum - others, 0), isClipped,
            { rows.p[$0] - (avoided[$0] ? 0 : exp(rows.z[$0] - others)) }
        )
    }

    /// log p(N); the gradient is p within N, rescaled, less p.
    private func negativeLikelihood(_ rows: RowLogits) -> Value? {
        let own = Self.logSum(
            [avoidedLogSum] + rows.z.indices.filter { isAvoided[$0] }.map { rows.z[$0] })
        guard own > -.infinity else { return nil }
        let value = own - rows.logSum
        let isLevel = term.limit == .floor && value < -LossTerm.limitOfLikelihood
        let avoided = isAvoided
        return (
            isLevel ? -LossTerm.limitOfLikelihood : value, isLevel,
            { (avoided[$0] ? exp(rows.z[$0] - own) : 0) - rows.p[$0] }
        )
    }
}
