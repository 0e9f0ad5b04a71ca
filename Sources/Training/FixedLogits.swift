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
        /// Its sum over the others.
        let share: Double
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
        var share = 0.0, constant = 0.0
        for i in logits.indices where logits[i] > -.infinity {
            let own = Double(scratch[i])
            share += own
            guard !isReverse, own > 0 else { continue }
            let difference = (term.kind == .forwardKL ? Double(reference[i]) - d.logSum : 0)
            constant += own * (difference - Double(logits[i]))
        }
        share /= Double(d.sum)
        constant /= Double(d.sum)
        if isReverse {
            let sum = Double(logSumExp(logits, into: scratch).sum)
            for i in logits.indices where scratch[i] > 0 {
                constant += Double(scratch[i]) * (Double(logits[i]) - logSum - logarithm(i))
            }
            constant /= sum > 0 ? sum : 1
        }
        return Goal(
            share: share, constant: constant, rows: ofRows,
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
        let p = z.map { exp($0 - whole) }
        let written = exp((writtenRow.map { z[$0] } ?? writtenLogit) - whole)
        func settled(_ value: Double, isLevel: Bool = false) -> SettledTerm {
            SettledTerm(
                value, target, term, settings, logSum: whole, probability: written,
                factor: factor, isLevel: isLevel)
        }
        /// The gradient by p, and what is taken from it.
        func fill(_ settled: SettledTerm, less other: (Int) -> Double) -> TokenLoss {
            let (term, normaliser) = (Double(settled.pull), Double(settled.normaliser))
            for row in z.indices {
                logits[row] = Float(p[row] * (term + normaliser) - term * other(row))
            }
            return settled.loss
        }
        switch term.kind {
        case .none: break
        case .forwardKL,
            .crossEntropy where term.target == .reference:
            guard let goal else { break }
            var cross = goal.constant
            for row in z.indices where goal.rows[row] > 0 {
                let own = term.kind == .forwardKL ? goal.logarithms[row] : 0
                cross += goal.rows[row] * (own - z[row])
            }
            let value = cross + whole
            return fill(settled(term.kind == .forwardKL ? max(value, 0) : value)) { goal.rows[$0] }
        case .forwardKL, .crossEntropy:
            let smoothing = Double(term.smoothing)
            let there = 1 / (1 + smoothing * Double(count)), elsewhere = smoothing * there
            let sum = elsewhere > 0 ? total + z.reduce(0, +) : 0
            let logit = writtenRow.map { z[$0] } ?? writtenLogit
            return fill(settled(whole - there * logit - elsewhere * sum)) {
                elsewhere + ($0 == writtenRow ? there : 0)
            }
        case .reverseKL:
            guard let goal else { break }
            var value =
                logSum > -.infinity
                ? exp(logSum - whole) * (goal.constant + logSum - whole) : 0
            for row in z.indices where p[row] > 0 {
                value += p[row] * (z[row] - whole - goal.logarithms[row])
            }
            let settled = settled(target.avoided.isEmpty ? max(value, 0) : value)
            for row in z.indices {
                let difference = z[row] - whole - goal.logarithms[row] - value
                logits[row] =
                    p[row] > 0
                    ? Float(
                        p[row] * (Double(settled.pull) * difference + Double(settled.normaliser)))
                    : 0
            }
            return settled.loss
        case .unlikelihood:
            let others = Self.logSum(
                [keptLogSum] + z.indices.filter { !isAvoided[$0] }.map { z[$0] })
            guard others > -.infinity else { break }
            let isClipped = term.limit == .clipped && exp(others - whole) < LossTerm.clip
            let value = isClipped ? -log(LossTerm.clip) : max(whole - others, 0)
            return fill(settled(value, isLevel: isClipped)) {
                isAvoided[$0] ? 0 : exp(z[$0] - others)
            }
        case .negativeLikelihood:
            let own = Self.logSum(
                [avoidedLogSum] + z.indices.filter { isAvoided[$0] }.map { z[$0] })
            guard own > -.infinity else { break }
            let isLevel = term.limit == .floor && own - whole < -LossTerm.limitOfLikelihood
            let value = isLevel ? -LossTerm.limitOfLikelihood : own - whole
            let settled = settled(value, isLevel: isLevel)
            for row in z.indices {
                let share = isAvoided[row] ? exp(z[row] - own) : 0
                logits[row] = Float(
                    p[row] * Double(settled.normaliser - settled.pull)
                        + Double(settled.pull) * share)
            }
            return settled.loss
        }
        // No distribution is left to move towards.
        logits.update(repeating: 0)
        return TokenLoss()
    }
}
