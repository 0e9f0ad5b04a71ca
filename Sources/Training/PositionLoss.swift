import CKernels
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// One position's loss while it is computed: each term beside its gradient by z.
///
/// Everything is taken as differences of logarithms of sums, so it stays finite for any finite
/// logits: where p or q of an id is 1 or 0 in float32, and for logits of any size.
struct PositionLoss {
    let target: TokenTarget
    let term: LossTerm
    let settings: LossSettings
    /// z, then the gradient.
    let logits: UnsafeMutableBufferPointer<Float>
    let scratch: UnsafeMutablePointer<Float>
    let factor: Float
    private(set) var result = TokenLoss()

    private var written: Int { Int(target.id) }
    /// The ids that a term about probabilities alone is about.
    private var avoided: [Int32] { target.avoided }

    init(
        target: TokenTarget, term: LossTerm, settings: LossSettings,
        logits: UnsafeMutableBufferPointer<Float>, scratch: UnsafeMutablePointer<Float>,
        factor: Float
    ) {
        self.target = target
        self.term = term
        self.settings = settings
        self.logits = logits
        self.scratch = scratch
        self.factor = factor
    }

    // MARK: Terms with a distribution d

    /// - Returns: false if d has nothing left.
    mutating func moveTowards(_ reference: UnsafeMutableBufferPointer<Float>?) -> Bool {
        guard term.target == .reference else { return towardsWritten() }
        guard let reference, let d = fillTarget(reference) else { return false }
        return term.kind == .reverseKL
            ? reverse(reference, d) : forward(reference, d)
    }

    /// What d is: `scratch` over `sum`; its logarithm is `reference` less `logSum`.
    struct Distribution {
        var sum: Float
        var logSum: Double
    }

    /// Takes the avoided ids out of the reference's logits and sums up.
    func fillTarget(_ reference: UnsafeMutableBufferPointer<Float>) -> Distribution? {
        for id in avoided {
            reference[Int(id)] =
                settings.retain > 0 ? reference[Int(id)] + logf(settings.retain) : -.infinity
        }
        let (value, sum) = logSumExp(reference, into: scratch)
        guard value > -.infinity else { return nil }
        guard term.smoothing > 0 else { return Distribution(sum: sum, logSum: value) }
        let rescaled = 1 / (1 + term.smoothing * Float(logits.count))
        for i in logits.indices {
            scratch[i] = (scratch[i] / sum + term.smoothing) * rescaled
            reference[i] = logf(scratch[i])
        }
        return Distribution(sum: 1, logSum: 0)
    }

    /// KL(d ‖ p), or its part that depends on p; the gradient is p - d.
    private mutating func forward(
        _ reference: UnsafeMutableBufferPointer<Float>, _ d: Distribution
    ) -> Bool {
        var cross = 0.0
        let isKL = term.kind == .forwardKL
        for i in logits.indices where scratch[i] > 0 {
            let difference = (isKL ? Double(reference[i]) : 0) - Double(logits[i])
            cross += Double(scratch[i]) * difference
        }
        cross /= Double(d.sum)
        let (logSum, sum) = exponentiate()
        let value = isKL ? max(cross - d.logSum + logSum, 0) : cross + logSum
        let pull = settle(value, logSum, sum)
        let own = (pull.term + pull.normaliser) / sum
        let scale = pull.term / d.sum
        for i in logits.indices { logits[i] = logits[i] * own - scratch[i] * scale }
        return true
    }

    /// -sum d log p with d at the written id; the gradient is p - d.
    private mutating func towardsWritten() -> Bool {
        let count = Double(logits.count)
        let smoothing = Double(term.smoothing)
        let elsewhere = smoothing / (1 + smoothing * count)
        let there = 1 / (1 + smoothing * count)
        let total = smoothing > 0 ? logits.reduce(0.0) { $0 + Double($1) } : 0
        let writtenLogit = Double(logits[written])
        let (logSum, sum) = exponentiate()
        let pull = settle(logSum - there * writtenLogit - elsewhere * total, logSum, sum)
        let own = (pull.term + pull.normaliser) / sum
        for i in logits.indices { logits[i] = logits[i] * own - pull.term * Float(elsewhere) }
        logits[written] -= pull.term * Float(there)
        return true
    }

    /// KL(p ‖ d); the gradient is p (log p - log d - KL).
    private mutating func reverse(
        _ reference: UnsafeMutableBufferPointer<Float>, _ d: Distribution
    ) -> Bool {
        // Of large logits the differences are taken in double: log p, but for a constant, less
        // log d.
        let largest = Double(logits.max() ?? 0)
        let isFloored = term.smoothing == 0
        let lowest = log(Double(LossTerm.lowestProbability))
        let floored =
            isFloored ? avoided.map { max(Double(reference[Int($0)]) - d.logSum, lowest) } : []
        for i in logits.indices {
            let logD = Double(reference[i]) - d.logSum
            reference[i] = Float(Double(logits[i]) - largest - logD)
        }
        // The logarithm of an avoided id's probability is taken as no less than `lowest`.
        for (id, logD) in zip(avoided, floored) {
            reference[Int(id)] = Float(Double(logits[Int(id)]) - largest - logD)
        }
        let (logSum, sum) = exponentiate()
        var mean = 0.0
        for i in logits.indices where logits[i] > 0 {
            mean += Double(logits[i]) * Double(reference[i])
        }
        mean /= Double(sum)
        var value = mean - (logSum - largest)
        // Floored ids make d more than 1 in all: only without them is it a divergence.
        if avoided.isEmpty { value = max(value, 0) }
        let pull = settle(value, logSum, sum)
        for i in logits.indices where logits[i] > 0 {
            let difference = Float(Double(reference[i]) - mean)
            logits[i] = logits[i] / sum * (pull.term * difference + pull.normaliser)
        }
        return true
    }

    // MARK: Terms with the avoided ids alone

    /// -log(1 - p(N)); the gradient is p - p without N, rescaled.
    mutating func unlikelihood() -> Bool {
        let kept = avoided.map { logits[Int($0)] }
        for id in avoided { logits[Int(id)] = -.infinity }
        let (others, othersSum) = logSumExp(logits, into: scratch)
        for (id, value) in zip(avoided, kept) { logits[Int(id)] = value }
        guard others > -.infinity else { return false }
        let (logSum, sum) = exponentiate()
        let isClipped = term.limit == .clipped && exp(others - logSum) < LossTerm.clip
        let pull = settle(
            isClipped ? -log(LossTerm.clip) : max(logSum - others, 0), logSum, sum,
            isLevel: isClipped)
        let own = (pull.term + pull.normaliser) / sum
        let scale = pull.term / othersSum
        for i in logits.indices { logits[i] = logits[i] * own - scratch[i] * scale }
        return true
    }

    /// log p(N); the gradient is p within N, rescaled, less p.
    mutating func negativeLikelihood() -> Bool {
        let ids = avoided.map(Int.init)
        guard let largest = ids.map({ Double(logits[$0]) }).max() else { return false }
        var shares = ids.map { exp(Double(logits[$0]) - largest) }
        let total = shares.reduce(0, +)
        shares = shares.map { $0 / total }
        let (logSum, sum) = exponentiate()
        var value = largest + log(total) - logSum
        let isLevel = term.limit == .floor && value < -LossTerm.limitOfLikelihood
        if isLevel { value = -LossTerm.limitOfLikelihood }
        let pull = settle(value, logSum, sum, isLevel: isLevel)
        let own = (pull.normaliser - pull.term) / sum
        for i in logits.indices { logits[i] *= own }
        for (id, share) in zip(ids, shares) { logits[id] += pull.term * Float(share) }
        return true
    }

    // MARK: Sums

    /// Turns z into exponentials.
    private func exponentiate() -> (logSum: Double, sum: Float) {
        guard let base = logits.baseAddress else { return (0, 1) }
        let (value, sum) = logSumExp(logits, into: base)
        return (value, sum)
    }

    /// Notes the term, and says what its gradient and that of the z-loss are multiplied by: the
    /// latter is 2 z_loss logSum p. To be called while `logits` holds exponentials.
    ///
    /// - Parameter isLevel: whether the term does not change with z here.
    private mutating func settle(
        _ value: Double, _ logSum: Double, _ sum: Float, isLevel: Bool = false
    ) -> (term: Float, normaliser: Float) {
        let settled = SettledTerm(
            value, target, term, settings, logSum: logSum,
            probability: Double(logits[written] / sum), factor: factor, isLevel: isLevel)
        result = settled.loss
        return (settled.pull, settled.normaliser)
    }
}

/// A position's term with its alpha, limit and z-loss, and what their gradients are multiplied by.
struct SettledTerm {
    private(set) var loss = TokenLoss()
    /// Multiplies the term's gradient by z.
    let pull: Float
    /// Multiplies p: the gradient of the z-loss.
    let normaliser: Float

    /// - Parameters:
    ///   - logSum: log sum exp z.
    ///   - probability: p of the written id.
    ///   - isLevel: whether the term does not change with z here.
    init(
        _ value: Double, _ target: TokenTarget, _ term: LossTerm, _ settings: LossSettings,
        logSum: Double, probability: Double, factor: Float, isLevel: Bool
    ) {
        let alpha = target.mark < 0 ? settings.alpha : 1
        loss.probability = probability
        loss.term = value
        var own = Double(alpha) * value
        let isCut = term.limit == .ceiling && own > LossTerm.limitOfLikelihood
        if isCut { own = LossTerm.limitOfLikelihood }
        loss.loss = own + Double(settings.zLoss) * logSum * logSum
        pull = isLevel || isCut ? 0 : factor * alpha
        normaliser = 2 * settings.zLoss * Float(logSum) * factor
    }
}
