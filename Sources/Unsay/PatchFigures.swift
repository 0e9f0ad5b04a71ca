import Patching

// What a patch tells of itself. Names as in unsay.h.

/// What a patch would do, before anything is trained.
public struct Plan: Sendable, Equatable {
    /// One position that avoids something.
    public struct PlannedMark: Sendable, Equatable {
        /// In the order they were added.
        public let example: Int
        public let position: Int
        /// The written token.
        public let id: Int32
        /// The reference's probability of what is avoided.
        public let q: Double
        /// -log(1 - q): the least that unsaying it costs there, in nats.
        public let price: Double
        /// Whether banned phrases would unsay it exactly, at no price.
        public let isContextFree: Bool
    }

    public let avoidedCount: Int
    public let keptCount: Int
    public let contextFreeCount: Int
    /// Nats, over positions that avoid.
    public let meanPrice: Double
    public let highestPrice: Double
    /// The patch's peak, the model not counted.
    public let memoryBytes: Int
    public let secondsPerStep: Double
    /// Parameters that may change.
    public let trainedCount: Int
    public let marks: [PlannedMark]

    init(_ plan: Patching.Plan) {
        avoidedCount = plan.avoidedCount
        keptCount = plan.keptCount
        contextFreeCount = plan.contextFreeCount
        meanPrice = plan.meanPrice
        highestPrice = plan.highestPrice
        memoryBytes = plan.memoryBytes
        secondsPerStep = plan.secondsPerStep
        trainedCount = plan.trainedCount
        marks = plan.marks.map {
            PlannedMark(
                example: $0.example, position: $0.position, id: $0.id, q: $0.q, price: $0.price,
                isContextFree: $0.isContextFree)
        }
    }
}

/// One training step.
public struct Step: Sendable, Equatable {
    /// 1 for the first.
    public let step: Int
    /// Mean per marked token.
    public let loss: Double
    /// Its two parts, before alpha.
    public let avoidLoss: Double
    public let keepLoss: Double
    /// Mean probability of the avoided tokens.
    public let avoidP: Double
    /// Before clipping.
    public let gradientNorm: Double
    public let seconds: Double

    init(_ report: StepReport) {
        step = report.step
        loss = report.loss
        avoidLoss = report.avoidLoss
        keepLoss = report.keepLoss
        avoidP = report.avoidP
        gradientNorm = report.gradientNorm
        seconds = report.seconds
    }
}

/// How a run ended.
public enum Ending: Sendable {
    /// `maxSteps` were done.
    case steps
    /// Every avoided token is below `maxAvoidP`.
    case goal
    /// The guard was about to break.
    case `guard`
    /// `onStep` stopped it.
    case caller
    /// Nothing better in `patience` evaluations.
    case patience

    init(_ ending: Patching.Ending) {
        self =
            switch ending {
            case .steps: .steps
            case .goal: .goal
            case .guardrail: .guard
            case .caller: .caller
            case .patience: .patience
            }
    }
}

/// How far the trained weights have come.
public struct Evaluation: Sendable, Equatable {
    public let goalMet: Bool
    public let guardHeld: Bool
    /// Means over avoided tokens, and the highest of them.
    public let avoidPBefore: Double
    public let avoidPAfter: Double
    public let avoidPWorst: Double
    /// Nats per kept token.
    public let keepKL: Double
    /// 0 without guard pairs.
    public let guardKL: Double
    public let guardFlips: Double
    /// 0 without held-out examples.
    public let heldOutAvoidPBefore: Double
    public let heldOutAvoidPAfter: Double
    public let heldOutLoss: Double
    /// Guard pairs against the root.
    public let rootKL: Double
    public let rootFlips: Double
    /// Whether a weight differs from the model as it was when the patch began.
    public let changed: Bool
    /// The step whose weights these are; 0 for those that the patch began with.
    public let step: Int
    /// 1; less where a run went back so far from the weights of that step towards its best, for
    /// the guard did not hold there.
    public let fraction: Double

    init(_ evaluation: Patching.Evaluation) {
        goalMet = evaluation.goalMet
        guardHeld = evaluation.guardHeld
        avoidPBefore = evaluation.avoidPBefore
        avoidPAfter = evaluation.avoidPAfter
        avoidPWorst = evaluation.avoidPWorst
        keepKL = evaluation.keepKL
        guardKL = evaluation.guardKL
        guardFlips = evaluation.guardFlips
        heldOutAvoidPBefore = evaluation.heldOutAvoidPBefore
        heldOutAvoidPAfter = evaluation.heldOutAvoidPAfter
        heldOutLoss = evaluation.heldOutLoss
        rootKL = evaluation.rootKL
        rootFlips = evaluation.rootFlips
        changed = evaluation.changed
        step = evaluation.step
        fraction = evaluation.fraction
    }
}

/// One setting of a sweep.
public struct Trial: Sendable, Equatable {
    public let learningRate: Float
    public let alpha: Float
    public let ending: Ending
    public let steps: Int
    /// Whether a loss, measure or weight was no longer finite.
    public let diverged: Bool
    /// Of the best weights of its run.
    public let evaluation: Evaluation

    init(_ trial: Patching.Trial) {
        learningRate = trial.learningRate
        alpha = trial.alpha
        ending = Ending(trial.ending)
        steps = trial.steps
        diverged = trial.diverged
        evaluation = Evaluation(trial.evaluation)
    }
}

/// The gradients of a step, in one flat array, as `unsay_gradients_view` lays them out.
public struct GradientsView {
    /// May be replaced; valid during the call alone.
    public let values: UnsafeMutableBufferPointer<Float>
    /// Of the marked tokens that values and loss are means over; may be replaced.
    public var weight: Double
    /// What the step will report; may be replaced.
    public var loss: Double
    /// Whether they are sums instead.
    public let isSum: Bool
}
