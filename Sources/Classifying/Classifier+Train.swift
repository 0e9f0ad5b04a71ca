import CUnsay
import Models
import Support
import Tensors

extension Classifier {
    /// Learns which tokens are marked from texts.
    ///
    /// - Parameter onProgress: how many texts, then passes, are done, of how many together;
    ///   answers whether to go on.
    /// - Throws: `UNSAY_E_ARGUMENT` for a bad option, or if no token or every one is marked;
    ///   `UNSAY_E_CANCELLED`; `UNSAY_E_DIVERGED` if a weight is no longer finite;
    ///   `UNSAY_E_MEMORY`.
    package convenience init(
        _ model: Model, learning texts: [LabelledText], _ options: ClassifierOptions,
        onProgress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws {
        try options.validate()
        let total = texts.count + options.passes
        func report(_ done: Int) throws {
            guard onProgress(done, total) else {
                throw Failure(UNSAY_E_CANCELLED, "on_progress stopped the training")
            }
        }
        let lengths = texts.map { min($0.ids.count, options.maxIDs) }
        let count = lengths.reduce(0, +)
        try Memory.require(count, bytes: 32, for: "the labels of \(count) tokens")
        let isMarked = zip(texts, lengths).flatMap { $0.isMarked.prefix($1) }
        let markedCount = isMarked.count(where: { $0 })
        guard markedCount > 0, markedCount < count else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "the texts have \(count) tokens within max_ids, of which \(markedCount) share a "
                    + "byte with a span: nothing to learn from")
        }
        let encoder = try Encoder(of: model)
        let (floats, overflow) = count.multipliedReportingOverflow(by: encoder.dModel)
        let memory = try FloatBuffer(count: overflow ? Int.max : floats)
        try encoder.run(
            texts.map(\.ids), lengths,
            into: Rows(base: memory.base, count: count, width: encoder.dModel), report)
        var trainer = HeadTrainer(
            standardising: memory, isMarked: isMarked, decay: Double(options.weightDecay))
        var done = texts.count
        try trainer.run(options) {
            done += 1
            try report(done)
        }
        let (head, loss) = (trainer.head, trainer.loss(trainer.weights))
        guard head.isFinite, loss.isFinite else {
            throw Failure(
                UNSAY_E_DIVERGED,
                "a state or a weight is no longer finite; learning_rate is \(options.learningRate)")
        }
        self.init(
            model, encoder, head,
            ClassifierFacts(
                encoder: encoder.fingerprint, tokenCount: count, markedCount: markedCount,
                loss: loss))
    }
}

extension Encoder {
    /// Ids that run together, if not of one text alone.
    private static let batchIDs = 4096

    /// The states of the first ids of every text, one text after the other.
    ///
    /// - Parameters:
    ///   - lengths: how many ids of each.
    ///   - out: overwritten, [all of them, d_model].
    ///   - report: called with the number of texts that are done; what it throws ends the run.
    fileprivate func run(
        _ texts: [[Int32]], _ lengths: [Int], into out: Rows, _ report: (Int) throws -> Void
    ) throws {
        let arena = Arena()
        var first = 0, row = 0
        while first < texts.count {
            var end = first, ids = 0
            repeat {
                ids += lengths[end]
                end += 1
            } while end < texts.count && ids + lengths[end] <= Self.batchIDs
            if ids > 0 {
                let batch = (first..<end).map { Array(texts[$0].prefix(lengths[$0])) }
                try withStates(batch, arena: arena) { states in
                    out.rows(row..<row + ids).copy(from: states)
                }
            }
            (first, row) = (end, row + ids)
            try report(end)
        }
    }
}

extension LinearHead {
    var isFinite: Bool { bias.isFinite && (mean + weights).allSatisfy(\.isFinite) }
}
