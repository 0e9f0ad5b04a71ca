import CUnsay
import Support
import T5
import Tensors

extension Trainer {
    /// Head, softmax, loss and gradient in blocks of rows: logits of a whole batch never exist.
    func headAndLoss(
        _ batch: Batch, _ states: Rows, dstates: Rows?, gradient: Projection?,
        normaliser: Double, _ pass: Pass, between: () throws -> Void
    ) throws -> Sums {
        let arena = pass.arena
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let vocabulary = configuration.vocabSize
        let scaled = try batch.pickMarked(states, arena: arena)
        scaleForHead(scaled, into: scaled, pass)
        let dscaled = try dstates.map { _ in try arena.rows(scaled.count, scaled.width) }
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
            try product(
                scaled.rows(range), head.logits(pass), into: z, arena: arena, workers: workers)
            let q = referenceLogits?.rows(0..<range.count)
            if let q, let reference {
                try project(reference.rows(range), head.referenceLogits(pass), into: q, pass)
            }
            losses(
                Array(batch.markedTargets[range]), z, q, scratch, normaliser: normaliser, &sums)
            if let dscaled {
                try head.backwardInput(
                    z, into: dscaled.rows(range), arena: arena, workers: workers)
            }
            if let gradient {
                try head.backwardWeight(
                    z, scaled.rows(range), into: gradient, arena: arena, workers: workers)
            }
            first = range.upperBound
        }
        guard let dstates, let dscaled else { return sums }
        scaleForHead(dscaled, into: dscaled, pass)
        for (index, row) in batch.markedRows.enumerated() {
            dstates.rows(row..<row + 1).copy(from: dscaled.rows(index..<index + 1))
        }
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
