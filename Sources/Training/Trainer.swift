import CUnsay
import Support
import T5
import Tensors

/// The trained weights of a session, their gradients, and the step that moves them.
package final class Trainer {
    package let configuration: T5Configuration
    package let weights: TrainedWeights
    package private(set) var gradients: Gradients
    package let workers: Workers
    private let arena = Arena()
    /// Changed between steps only.
    package var settings: LossSettings
    let options: TrainerOptions
    let head: TrainedHead
    private let snapshot: WeightsSnapshot

    /// - Parameters:
    ///   - reference: q.
    ///   - holdsGradients: whether gradients of all blocks are there at once; without, a batch
    ///     that is a whole step leaves them to `taker`.
    package init(
        _ snapshot: WeightsSnapshot, layout: TrainedLayout, reference: WeightsSnapshot,
        settings: LossSettings, options: TrainerOptions, holdsGradients: Bool = true,
        workers: Workers
    ) throws {
        configuration = snapshot.configuration
        self.settings = settings
        self.options = options
        self.workers = workers
        weights = try TrainedWeights(layout, snapshot, seed: options.seed)
        gradients = try Gradients(layout, snapshot, isWhole: holdsGradients)
        self.snapshot = snapshot
        // Rows alone are multiplied where they lie, and all logits once, exactly.
        let isExact = weights.network.head.chosen != nil && options.dropout == 0
        head = try TrainedHead(
            weights.network.head, isAlone: layout.trainsHeadAlone,
            reference: reference.network.head,
            needsReference: settings.columns.needsReference, configuration,
            precision: isExact ? .float32 : options.precision, workers: workers)
    }

    package var pass: Pass { Pass(configuration, arena: arena, workers: workers) }

    /// What one batch added to the loss; sums over marked tokens, weights included.
    package struct Sums: Sendable {
        package var loss = 0.0
        package var avoidedTerm = 0.0
        package var avoidedWeight = 0.0
        package var keptTerm = 0.0
        package var keptWeight = 0.0
        package var avoidedProbability = 0.0
        package var avoidedCount = 0

        package init() {}

        package static func += (sums: inout Sums, more: Sums) {
            sums.loss += more.loss
            sums.avoidedTerm += more.avoidedTerm
            sums.avoidedWeight += more.avoidedWeight
            sums.keptTerm += more.keptTerm
            sums.keptWeight += more.keptWeight
            sums.avoidedProbability += more.avoidedProbability
            sums.avoidedCount += more.avoidedCount
        }
    }

    /// What a step divides by: the weight of the marked tokens that have a loss; 1 for losses
    /// that are summed, 0 if there is nothing to train on.
    package func normaliser(of examples: [Example]) -> Double {
        let weight = weight(of: examples)
        return settings.columns.isSummed && weight > 0 ? 1 : weight
    }

    private func weight(of examples: [Example]) -> Double {
        examples.reduce(0) { sum, example in
            sum
                + example.marked.reduce(0) {
                    let target = example.targets[$1]
                    return settings.columns[target.mark].kind == .none
                        ? $0 : $0 + Double(target.weight)
                }
        }
    }

    /// Makes the weights as they are now those that batches run on. Call after every change.
    package func publish() {
        head.pack(weights.network.head, workers: workers)
    }

    /// From now on gradients of all blocks are there at once.
    package func holdGradients() throws {
        if !gradients.isWhole { gradients = try Gradients(weights.layout, snapshot) }
    }

    /// Makes room for passes of so many bytes.
    package func reserve(bytes: Int) throws { try arena.reserve(bytes: bytes) }

    /// The most memory that passes have needed at once, bytes.
    package var peakBytes: Int { arena.peakBytes }

    /// Takes the gradients of a block when they are whole, with the sums of the batch; may move
    /// the weights that they are of. May throw to stop.
    package typealias Taker = (Gradients.Part, Sums) throws -> Void

    /// Adds the gradients of a batch: forward, loss, backward.
    ///
    /// - Parameters:
    ///   - normaliser: the weight of all marked tokens of the step, not just of this batch.
    ///   - keys: of dropout, one an example; see `dropoutKeys`.
    ///   - taker: called for every block that the backward pass reaches, last block first, where
    ///     gradients are not held; those of the others are zero, those outside of blocks there
    ///     at the end.
    ///   - between: called between phases, but no more once `taker` was; may throw to stop,
    ///     leaving gradients undefined.
    package func accumulate(
        _ batch: Batch, normaliser: Double, keys: [UInt64], taker: Taker? = nil,
        between: () throws -> Void
    ) throws -> Sums {
        let network = weights.network
        guard let decoder = network.decoder, let decoderGradients = gradients.network.decoder else {
            throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
        }
        arena.reset()
        let dropout = options.dropout > 0 ? Dropout(rate: options.dropout, keys: keys) : nil
        let pass = Pass(
            configuration, arena: arena, workers: workers, precision: options.precision,
            dropout: dropout)
        if let rows, dropout == nil {
            return try rowLosses(
                batch, rows, gradient: gradients.network.head, normaliser: normaliser, pass,
                between: between)
        }
        if keepsStates, dropout == nil {
            return try headAndLoss(
                batch, trainedStates(batch, pass), gradient: gradients.network.head,
                normaliser: normaliser, pass, between: between)
        }
        let reach = BackwardReach(gradients.network)
        let encoded = try runStack(
            batch.inputs, batch.sources, network.encoder, embedding: network.embedding,
            encoder: nil, keeps: BackwardReach.keeps(reach.encoder, recomputes: options.recomputes),
            pass)
        try between()
        let decoded = try runStack(
            batch.decoderInputs, batch.targets, decoder, embedding: network.embedding,
            encoder: EncoderOutput(states: encoded.states, sources: batch.sources),
            keeps: BackwardReach.keeps(reach.decoder, recomputes: options.recomputes), pass)
        try between()
        let dstates =
            decoded.tape == nil
            ? nil : try arena.rows(decoded.states.count, decoded.states.width, zeroed: true)
        let sums = try headAndLoss(
            batch, of: decoded.states, dstates: dstates, gradient: gradients.network.head,
            normaliser: normaliser, pass, between: between)
        guard let decoderTape = decoded.tape, let dstates, let lowest = reach.decoder else {
            return sums
        }
        let dencoder =
            encoded.tape == nil
            ? nil : try arena.rows(encoded.states.count, encoded.states.width, zeroed: true)
        try between()
        try runStackBackward(
            dstates: dstates, decoderTape, decoder, gradients: decoderGradients,
            embeddingGradient: gradients.network.embedding, lowest: lowest, dencoder: dencoder, pass
        ) { try hand(BlockPlace(isDecoder: true, index: $0), to: taker, sums) }
        guard let encoderTape = encoded.tape, let dencoder, let lowest = reach.encoder else {
            return sums
        }
        if gradients.isWhole { try between() }
        try runStackBackward(
            dstates: dencoder, encoderTape, network.encoder, gradients: gradients.network.encoder,
            embeddingGradient: gradients.network.embedding, lowest: lowest, dencoder: nil, pass
        ) { try hand(BlockPlace(isDecoder: false, index: $0), to: taker, sums) }
        return sums
    }

    /// Gives away the gradients of a block, whose memory the next one uses.
    private func hand(_ block: BlockPlace, to taker: Taker?, _ sums: Sums) throws {
        guard !gradients.isWhole, let part = gradients.parts.first(where: { $0.block == block })
        else { return }
        try taker?(part, sums)
        gradients.zero(part)
    }
}

extension Trainer {
    /// The loss of examples as a step would report it, without training on them.
    package func loss(of examples: [Example], between: () throws -> Void) throws -> Sums {
        var sums = Sums()
        let normaliser = normaliser(of: examples)
        guard normaliser > 0 else { return sums }
        let start = configuration.decoderStartTokenID
        for batch in batches(of: examples, tokens: measuringTokens, decoderStart: start) {
            try between()
            let pass = pass
            pass.arena.reset()
            if let rows {
                sums += try rowLosses(
                    batch, rows, gradient: nil, normaliser: normaliser, pass, between: between)
                continue
            }
            sums += try headAndLoss(
                batch, trainedStates(batch, pass), gradient: nil, normaliser: normaliser, pass,
                between: between)
        }
        return sums
    }
}

/// How a trainer computes, besides its losses.
package struct TrainerOptions: Sendable {
    /// The share of values that training drops; below 1.
    package let dropout: Float
    /// Whether layers are run again for the backward pass, to save memory.
    package let recomputes: Bool
    /// Of products with what is trained, in training steps.
    package let precision: Precision
    package let seed: UInt64

    package init(
        dropout: Float, recomputes: Bool, precision: Precision = .float32, seed: UInt64
    ) {
        self.dropout = dropout
        self.recomputes = recomputes
        self.precision = precision
        self.seed = seed
    }

    /// What decides which values a step drops: the seed, the step, and which example of the
    /// step it is, however the step is split.
    package func dropoutKeys(step: Int, examples: Range<Int>) -> [UInt64] {
        let key = mixed(mixed(seed, 0x64726f70), UInt64(truncatingIfNeeded: step))
        return examples.map { mixed(key, UInt64($0)) }
    }
}
