import CUnsay
import Support
import T5
import Tensors

/// The trained weights of a session, their gradients, and the step that moves them.
package final class Trainer {
    package let configuration: T5Configuration
    package let weights: FlatWeights
    package let gradients: FlatWeights
    package let workers: Workers
    private let arena = Arena()
    private let settings: LossSettings
    private let referenceHead: Projection
    /// The head of the trained weights, packed once a step: for logits, [vocab, d_model], and
    /// for the gradient of the states, [d_model, vocab].
    private let head: PackedMatrix
    private let headTransposed: PackedMatrix

    package init(
        _ snapshot: WeightsSnapshot, reference: WeightsSnapshot, settings: LossSettings,
        workers: Workers
    ) throws {
        configuration = snapshot.configuration
        self.settings = settings
        self.workers = workers
        weights = try FlatWeights(snapshot.layout, configuration)
        gradients = try FlatWeights(snapshot.layout, configuration)
        referenceHead = reference.network.head
        head = try PackedMatrix(outputs: configuration.vocabSize, inputs: configuration.dModel)
        headTransposed = try PackedMatrix(
            outputs: configuration.dModel, inputs: configuration.vocabSize)
        weights.copy(from: snapshot)
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

    /// Prepares the head for a step's batches. Call after every change of the weights.
    package func packHead() {
        guard let plain = weights.network.head.parts.first else { return }
        head.pack(
            plain.base, outputs: 0..<head.outputs, outputStride: plain.stride, workers: workers)
        headTransposed.pack(
            plain.base, outputs: 0..<headTransposed.outputs, outputStride: 1,
            inputStride: plain.stride, workers: workers)
    }

    /// Adds the gradients of a batch: forward, loss, backward.
    ///
    /// - Parameters:
    ///   - normaliser: the weight of all marked tokens of the step, not just of this batch.
    ///   - between: called between phases; may throw to stop, leaving gradients undefined.
    package func accumulate(
        _ batch: Batch, normaliser: Double, between: () throws -> Void
    ) throws -> Sums {
        let network = weights.network
        guard let decoder = network.decoder, let decoderGradients = gradients.network.decoder else {
            throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
        }
        arena.reset()
        let pass = pass
        let encoded = try runStack(
            batch.inputs, batch.sources, network.encoder, embedding: network.embedding,
            encoder: nil, keepsTape: true, pass)
        try between()
        let decoded = try runStack(
            batch.decoderInputs, batch.targets, decoder, embedding: network.embedding,
            encoder: EncoderOutput(states: encoded.states, sources: batch.sources),
            keepsTape: true, pass)
        try between()
        let dstates = try arena.rows(decoded.states.count, decoded.states.width, zeroed: true)
        let sums = try headAndLoss(
            batch, decoded.states, dstates: dstates, normaliser: normaliser, between: between)
        guard let decoderTape = decoded.tape, let encoderTape = encoded.tape else { return sums }
        let dencoder = try arena.rows(encoded.states.count, encoded.states.width, zeroed: true)
        try between()
        try runStackBackward(
            dstates: dstates, decoderTape, decoder, gradients: decoderGradients,
            embeddingGradient: gradients.network.embedding, dencoder: dencoder, pass)
        try between()
        try runStackBackward(
            dstates: dencoder, encoderTape, network.encoder, gradients: gradients.network.encoder,
            embeddingGradient: gradients.network.embedding, dencoder: nil, pass)
        return sums
    }

    /// Head, softmax, loss and gradient in blocks of rows: logits of a whole batch never exist.
    private func headAndLoss(
        _ batch: Batch, _ states: Rows, dstates: Rows, normaliser: Double,
        between: () throws -> Void
    ) throws -> Sums {
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let vocabulary = configuration.vocabSize
        let scaled = try batch.pickMarked(states, arena: arena)
        scaleForHead(scaled, into: scaled, pass)
        let dscaled = try arena.rows(scaled.count, scaled.width)
        let reference = try keptReference(batch)

        let block = max(16, blockFloats / vocabulary)
        let logits = try arena.rows(min(block, scaled.count), vocabulary)
        let referenceLogits = try reference.map { _ in try arena.rows(logits.count, vocabulary) }
        let scratch = try arena.rows(logits.count, vocabulary)
        var sums = Sums()
        var first = 0
        while first < scaled.count {
            try between()
            let range = first..<min(first + block, scaled.count)
            let z = logits.rows(0..<range.count)
            product(scaled.rows(range), head, into: z, workers: workers)
            let q = referenceLogits?.rows(0..<range.count)
            if let q, let reference {
                try project(reference.rows(range), referenceHead, into: q, pass)
            }
            losses(
                Array(batch.markedTargets[range]), z, q, scratch, normaliser: normaliser, &sums)
            product(z, headTransposed, into: dscaled.rows(range), workers: workers)
            if let gradient = gradients.network.head.parts.first {
                try productBackwardWeight(
                    z, scaled.rows(range), into: gradient, arena: arena, workers: workers)
            }
            first = range.upperBound
        }
        scaleForHead(dscaled, into: dscaled, pass)
        for (index, row) in batch.markedRows.enumerated() {
            dstates.rows(row..<row + 1).copy(from: dscaled.rows(index..<index + 1))
        }
        return sums
    }

    /// The reference's states as its head wants them; nil for a loss without reference.
    private func keptReference(_ batch: Batch) throws -> Rows? {
        guard settings.columns.needsReference else { return nil }
        let states = try batch.keptStates(
            \.reference, width: configuration.dModel, arena: arena)
        scaleForHead(states, into: states, pass)
        return states
    }

    /// Compares the trained weights with an original at every marked position.
    ///
    /// - Parameters:
    ///   - key: the original's kept states.
    ///   - body: receives each target of `examples` that is marked, in order.
    package func compareMarked(
        _ examples: [Example], _ key: KeyPath<Example, FloatBuffer?>, head originalHead: Projection,
        between: () throws -> Void, _ body: (TokenTarget, Comparison) -> Void
    ) throws {
        let start = configuration.decoderStartTokenID
        for batch in batches(of: examples, tokens: measuringTokens, decoderStart: start) {
            try between()
            arena.reset()
            let trained = try markedStates(batch, weights.network, pass)
            let original = try batch.keptStates(key, width: configuration.dModel, arena: arena)
            scaleForHead(trained, into: trained, pass)
            scaleForHead(original, into: original, pass)
            let vocabulary = configuration.vocabSize
            let block = min(max(16, blockFloats / vocabulary), trained.count)
            let after = try arena.rows(block, vocabulary)
            let before = try arena.rows(block, vocabulary)
            let scratch = try arena.rows(block, vocabulary)
            var first = 0
            while first < trained.count {
                try between()
                let range = first..<min(first + block, trained.count)
                product(
                    trained.rows(range), head, into: after.rows(0..<range.count), workers: workers)
                try project(
                    original.rows(range), originalHead, into: before.rows(0..<range.count), pass)
                let targets = Array(batch.markedTargets[range])
                var results = [Comparison](repeating: Comparison(), count: range.count)
                results.withUnsafeMutableBufferPointer { results in
                    nonisolated(unsafe) let results = results
                    workers.forEach(range.count) { row in
                        results[row] = compare(
                            original: before[row], trained: after[row], scratch: scratch[row],
                            ids: targets[row].avoided)
                    }
                }
                for (target, result) in zip(targets, results) { body(target, result) }
                first = range.upperBound
            }
        }
    }

    /// The losses of a block of rows; replaces the logits by their gradients.
    private func losses(
        _ targets: [TokenTarget], _ logits: Rows, _ reference: Rows?, _ scratch: Rows,
        normaliser: Double, _ sums: inout Sums
    ) {
        var results = [TokenLoss](repeating: TokenLoss(), count: targets.count)
        results.withUnsafeMutableBufferPointer { results in
            nonisolated(unsafe) let results = results
            workers.forEach(targets.count) { row in
                results[row] = tokenLoss(
                    targets[row], settings, logits: logits[row], reference: reference?[row],
                    scratch: scratch[row].baseAddress ?? scratch.base,
                    factor: Float(Double(targets[row].weight) / normaliser))
            }
        }
        for (target, result) in zip(targets, results)
        where settings.columns[target.mark].kind != .none {
            let weight = Double(target.weight)
            sums.loss += weight * result.loss
            if target.mark < 0 {
                sums.avoidedTerm += weight * result.term
                sums.avoidedWeight += weight
                sums.avoidedProbability += result.probability
                sums.avoidedCount += 1
            } else {
                sums.keptTerm += weight * result.term
                sums.keptWeight += weight
            }
        }
    }
}

/// Logits at a time: 16 MB, so that a block of them stays in the cache of a large processor.
private let blockFloats = 4 << 20
