import CUnsay
import Support
import T5
import Tensors

extension Trainer {
    /// Whether the states that the head reads are those that examples keep: nothing below it is
    /// trained.
    var keepsStates: Bool { weights.layout.trainsHeadAlone }

    /// The states of the marked rows, [marked, d_model], without dropout: those that the examples
    /// keep where they never change.
    func trainedStates(_ batch: Batch, _ pass: Pass) throws -> Rows {
        guard keepsStates, batch.examples.allSatisfy({ $0.original != nil }) else {
            return try markedStates(batch, weights.network, pass)
        }
        return try batch.keptStates(\.original, width: configuration.dModel, arena: pass.arena)
    }

    /// The loss of a batch by the states that a pass has just computed.
    ///
    /// - Parameters:
    ///   - states: of every row of the decoder, [target rows, d_model].
    ///   - dstates: their gradient is written to the marked rows.
    func headAndLoss(
        _ batch: Batch, of states: Rows, dstates: Rows?, gradient: Projection,
        normaliser: Double, _ pass: Pass, between: () throws -> Void
    ) throws -> Sums {
        let mark = pass.arena.mark()
        defer { pass.arena.rewind(to: mark) }
        let marked = try batch.pickMarked(states, arena: pass.arena)
        let dmarked = try dstates.map { _ in try pass.arena.rows(marked.count, marked.width) }
        let sums = try headAndLoss(
            batch, marked, dstates: dmarked, gradient: gradient, normaliser: normaliser, pass,
            between: between)
        if let dstates, let dmarked {
            for (index, row) in batch.markedRows.enumerated() {
                dstates.rows(row..<row + 1).copy(from: dmarked.rows(index..<index + 1))
            }
        }
        return sums
    }

    /// Head, softmax, loss and gradient in blocks of rows: logits of a whole batch never exist.
    ///
    /// - Parameters:
    ///   - scaled: the states of the marked rows, [marked, d_model]; changed.
    ///   - dstates: overwritten by the gradient of the marked rows' states, [marked, d_model].
    func headAndLoss(
        _ batch: Batch, _ scaled: Rows, dstates: Rows? = nil, gradient: Projection?,
        normaliser: Double, _ pass: Pass, between: () throws -> Void
    ) throws -> Sums {
        let arena = pass.arena
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let vocabulary = configuration.vocabSize
        scaleForHead(scaled, into: scaled, pass)
        let reference = try keptReference(batch, pass)

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
            try head.logits(scaled.rows(range), into: z, pass)
            let q = referenceLogits?.rows(0..<range.count)
            if let q, let reference {
                try project(reference.rows(range), head.referenceLogits(pass), into: q, pass)
            }
            losses(
                Array(batch.markedTargets[range]), z, q, scratch, normaliser: normaliser, &sums)
            if let dstates {
                try head.backwardInput(
                    z, into: dstates.rows(range), arena: arena, workers: workers)
            }
            if let gradient {
                try head.backwardWeight(
                    z, scaled.rows(range), into: gradient, arena: arena, workers: workers)
            }
            first = range.upperBound
        }
        if let dstates { scaleForHead(dstates, into: dstates, pass) }
        return sums
    }

    /// The reference's states as its head wants them; nil for a loss without reference.
    private func keptReference(_ batch: Batch, _ pass: Pass) throws -> Rows? {
        guard settings.columns.needsReference else { return nil }
        let states = try batch.keptStates(
            \.reference, width: configuration.dModel, arena: pass.arena)
        scaleForHead(states, into: states, pass)
        return states
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
        add(results, of: targets, to: &sums)
    }

    func add(_ results: [TokenLoss], of targets: [TokenTarget], to sums: inout Sums) {
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
let blockFloats = 4 << 20
