import Classifying
import Models

/// How likely each token of a text is to be marked: a head on a model's encoder, learnt from texts
/// with marked spans. What it finds is what ``Patch`` takes to avoid.
///
/// It keeps the encoder that the model had when it was trained or opened, whatever is patched
/// later, and may be used from any threads and tasks at once.
public final class Classifier: Sendable {
    private let classifier: Classifying.Classifier

    private init(_ classifier: Classifying.Classifier) { self.classifier = classifier }

    /// Learns which tokens are marked. The same bits for any number of threads.
    ///
    /// - Parameters:
    ///   - model: whose encoder the classifier reads, and keeps.
    ///   - texts: with the ranges of bytes that are marked in each.
    ///   - options: passes, rate, seed and the like.
    ///   - onProgress: how many texts, then passes, are done, of how many together.
    /// - Throws: `.argument` for a span outside its text, or if no token or every one is marked;
    ///   `.cancelled` if `onProgress` answers `.stop`.
    public static func train(
        _ model: Model, _ texts: [MarkedText], _ options: ClassifierOptions = ClassifierOptions(),
        onProgress: ((_ done: Int, _ total: Int) -> Action)? = nil
    ) throws(Failure) -> Classifier {
        try boundary {
            let labelled = try texts.enumerated().compactMap { index, given in
                try LabelledText(
                    model.model.tokens(given.text, "texts[\(index)].text", spans: true),
                    spans: given.spans.map { ($0.lowerBound, $0.upperBound) },
                    named: "texts[\(index)].spans")
            }
            return Classifier(
                try Classifying.Classifier(
                    model.model, learning: labelled, options.options
                ) { done, total in
                    onProgress.map { $0(done, total) == .continue } ?? true
                })
        }
    }

    /// Reads a classifier for use with a model.
    ///
    /// - Throws: `.mismatch` if it was trained on another encoder: on another model, or on this
    ///   one before a patch that changed the encoder or its embedding.
    public static func open(_ path: any PathSpelling, for model: Model) throws(Failure)
        -> Classifier
    {
        try boundary { Classifier(try Classifying.Classifier(model.model, opening: path.path)) }
    }

    /// Writes it to a file, whole or not at all.
    public func save(_ path: any PathSpelling) throws(Failure) {
        try boundary { try classifier.save(path.path) }
    }

    public var info: ClassifierInfo {
        ClassifierInfo(
            encoder: classifier.facts.encoder, tokenCount: classifier.facts.tokenCount,
            markedCount: classifier.facts.markedCount, loss: classifier.facts.loss,
            dModel: classifier.head.weights.count)
    }

    /// The probability of each id to be marked, the end included.
    public func probabilities(_ text: some TokenSequence) throws(Failure) -> [Float] {
        try boundary {
            try classifier.probabilities(classifier.model.ids(text, "text"))
        }
    }

    /// Runs of tokens at or above the threshold, as bytes of the text's UTF-8; for ids, of what
    /// they decode to.
    ///
    /// They are in order and apart, of whole characters and without whitespace at either end.
    public func spans(
        _ text: some TokenSequence, threshold: Float = 0.5
    ) throws(Failure) -> [Range<Int>] {
        try boundary {
            try classifier.spans(
                classifier.model.spelling(text, "text"), threshold: threshold)
        }
    }
}

/// A text and the bytes of its UTF-8 that are marked; for ids, of what they decode to.
public struct MarkedText: Sendable {
    public var text: any TokenSequence
    public var spans: [Range<Int>]

    public init(_ text: some TokenSequence, spans: [Range<Int>] = []) {
        self.text = text
        self.spans = spans
    }
}

/// How a classifier is trained; docs/classifier.md has the formulas.
public struct ClassifierOptions: Sendable {
    var options = Classifying.ClassifierOptions()

    /// The defaults, changed by `change`.
    public init(_ change: (inout ClassifierOptions) -> Void = { _ in }) { change(&self) }

    /// Over all tokens.
    public var passes: Int {
        get { options.passes }
        set { options.passes = newValue }
    }

    /// Tokens per step of Adam.
    public var batchSize: Int {
        get { options.batchSize }
        set { options.batchSize = newValue }
    }

    /// Ids of a text that are learnt from.
    public var maxIDs: Int {
        get { options.maxIDs }
        set { options.maxIDs = newValue }
    }

    public var learningRate: Float {
        get { options.learningRate }
        set { options.learningRate = newValue }
    }

    /// Half of it times the squared weights joins the loss.
    public var weightDecay: Float {
        get { options.weightDecay }
        set { options.weightDecay = newValue }
    }

    /// Of the order of the tokens.
    public var seed: UInt64 {
        get { options.seed }
        set { options.seed = newValue }
    }
}

/// What a classifier was trained with, and how well it learnt.
public struct ClassifierInfo: Sendable, Equatable {
    /// The fingerprint of the encoder's weights.
    public let encoder: [UInt8]
    public let tokenCount: Int
    /// How many of the tokens were marked.
    public let markedCount: Int
    /// Cross entropy on them at the end, in nats, marked and others weighing alike.
    public let loss: Double
    public let dModel: Int
}
