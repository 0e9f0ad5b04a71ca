import T5
import Tensors

/// A few rows of the head, trained alone: states are those that examples keep, and of the logits
/// that never change only `FixedLogits` and `FixedComparison` are. A step multiplies the rows, and
/// nothing of the size of the vocabulary.
extension Trainer {
    /// The rows, where nothing else is trained.
    var rows: ChosenRows? { keepsStates ? head.chosen : nil }

    /// Loss and gradient of a batch.
    ///
    /// - Parameter gradient: nil: the loss alone.
    func rowLosses(
        _ batch: Batch, _ rows: ChosenRows, gradient: Projection?, normaliser: Double,
        _ pass: Pass, between: () throws -> Void
    ) throws -> Sums {
        try fix(batch.examples, pass, between: between)
        let fixed = batch.examples.flatMap { $0.fixed?.logits ?? [] }
        let arena = pass.arena
        let states = try scaledStates(batch, pass)
        let z = try rows.logits(states, precision: pass.precision, arena: arena, workers: workers)
        var results = [TokenLoss](repeating: TokenLoss(), count: fixed.count)
        results.withUnsafeMutableBufferPointer { results in
            nonisolated(unsafe) let results = results
            workers.forEach(fixed.count) { row in
                let weight = Double(batch.markedTargets[row].weight)
                results[row] = fixed[row].loss(
                    z[row], settings, factor: Float(weight / normaliser))
            }
        }
        var sums = Sums()
        add(results, of: batch.markedTargets, to: &sums)
        if let own = gradient?.chosen {
            try productBackwardWeight(
                z, states, into: own.rows, precision: pass.precision, arena: arena,
                workers: workers)
        }
        return sums
    }

    /// Compares the trained weights with an original at every marked position of a batch.
    func compareRows(
        _ batch: Batch, _ rows: ChosenRows, _ key: KeyPath<Example, FloatBuffer?>,
        head originalHead: Projection, between: () throws -> Void,
        _ body: (TokenTarget, Comparison) -> Void
    ) throws {
        let pass = pass
        try fix(batch.examples, key, originalHead, pass, between: between)
        let fixed = batch.examples.flatMap { $0.fixed?.comparisons[key] ?? [] }
        let states = try scaledStates(batch, pass)
        let z = try rows.logits(
            states, precision: .float32, arena: pass.arena, workers: workers)
        var results = [Comparison](repeating: Comparison(), count: fixed.count)
        results.withUnsafeMutableBufferPointer { results in
            nonisolated(unsafe) let results = results
            workers.forEach(fixed.count) { results[$0] = fixed[$0].comparison(z[$0]) }
        }
        for (target, result) in zip(batch.markedTargets, results) { body(target, result) }
    }

    /// The bytes that a marked position keeps, about.
    package var fixedBytes: Int {
        guard let rows else { return 0 }
        // Of each array 32 bytes besides what it holds.
        return MemoryLayout<FixedLogits>.stride + MemoryLayout<FixedComparison>.stride + 5 * 32
            + rows.ids.count * (MemoryLayout<Bool>.stride + 3 * MemoryLayout<Double>.stride)
    }

    private func scaledStates(_ batch: Batch, _ pass: Pass) throws -> Rows {
        let states = try trainedStates(batch, pass)
        scaleForHead(states, into: states, pass)
        return states
    }

    // MARK: What never changes

    /// Sees to it that examples keep what their losses need.
    private func fix(
        _ examples: [Example], _ pass: Pass, between: () throws -> Void
    ) throws {
        let missing = examples.filter { $0.fixed(for: self).logits == nil }
        guard let rows, !missing.isEmpty else { return }
        let (ids, settings) = (rows.ids, settings)
        var made: [FixedLogits] = []
        let needsReference = settings.columns.needsReference
        try forEachFixed(
            missing, needsReference ? \.reference : nil, head.reference, pass, between: between
        ) { targets, z, q, scratch in
            made += workers.map(targets.count) { row in
                FixedLogits(
                    targets[row], settings, rows: ids, logits: z[row], reference: q?[row],
                    scratch: scratch[row].baseAddress ?? scratch.base)
            }
        }
        deal(made, to: missing) { $0.fixed(for: self).logits = $1 }
    }

    /// Sees to it that examples keep what comparing them needs.
    private func fix(
        _ examples: [Example], _ key: KeyPath<Example, FloatBuffer?>, _ originalHead: Projection,
        _ pass: Pass, between: () throws -> Void
    ) throws {
        let missing = examples.filter { $0.fixed(for: self).comparisons[key] == nil }
        guard let ids = rows?.ids, !missing.isEmpty else { return }
        var made: [FixedComparison] = []
        try forEachFixed(missing, key, originalHead, pass, between: between) {
            targets, z, q, scratch in
            guard let q else { return }
            made += workers.map(targets.count) { row in
                FixedComparison(
                    rows: ids, original: q[row], trained: z[row],
                    scratch: scratch[row].baseAddress ?? scratch.base,
                    ids: targets[row].avoided)
            }
        }
        deal(made, to: missing) { $0.fixed(for: self).comparisons[key] = $1 }
    }

    private func deal<Fixed>(
        _ made: [Fixed], to examples: [Example], _ keep: (Example, [Fixed]) -> Void
    ) {
        var first = 0
        for example in examples {
            keep(example, Array(made[first..<first + example.marked.count]))
            first += example.marked.count
        }
    }

    /// Calls `body` with the targets of some marked positions, the logits that the head had before
    /// training, [targets, vocab_size], those of an original if `key` names its states, and
    /// scratch.
    private func forEachFixed(
        _ examples: [Example], _ key: KeyPath<Example, FloatBuffer?>?,
        _ originalHead: Projection, _ pass: Pass, between: () throws -> Void,
        _ body: ([TokenTarget], Rows, Rows?, Rows) -> Void
    ) throws {
        let arena = pass.arena
        let vocabulary = configuration.vocabSize
        let exact = Pass(configuration, arena: arena, workers: workers)
        let start = configuration.decoderStartTokenID
        for batch in batches(of: examples, tokens: measuringTokens, decoderStart: start) {
            let mark = arena.mark()
            defer { arena.rewind(to: mark) }
            let states = try scaledStates(batch, exact)
            let others = try key.map {
                try batch.keptStates($0, width: configuration.dModel, arena: arena)
            }
            if let others { scaleForHead(others, into: others, exact) }
            let block = min(max(16, blockFloats / vocabulary), states.count)
            let z = try arena.rows(block, vocabulary)
            let q = try key.map { _ in try arena.rows(block, vocabulary) }
            let scratch = try arena.rows(block, vocabulary)
            for first in stride(from: 0, to: states.count, by: max(block, 1)) {
                try between()
                let range = first..<min(first + block, states.count)
                try head.fixedLogits(states.rows(range), into: z.rows(0..<range.count), exact)
                if let q, let others {
                    try project(
                        others.rows(range), originalHead, into: q.rows(0..<range.count), exact)
                }
                body(Array(batch.markedTargets[range]), z, q, scratch)
            }
        }
    }
}

/// What an example keeps for a trainer of a few rows of the head, of each marked position.
final class FixedPositions {
    fileprivate weak var owner: Trainer?
    var logits: [FixedLogits]?
    var comparisons: [PartialKeyPath<Example>: [FixedComparison]] = [:]

    init(owner: Trainer) { self.owner = owner }
}

extension Example {
    /// What it keeps for that trainer, which may be nothing yet.
    fileprivate func fixed(for trainer: Trainer) -> FixedPositions {
        if let fixed, fixed.owner === trainer { return fixed }
        let made = FixedPositions(owner: trainer)
        fixed = made
        return made
    }
}

extension Workers {
    /// The results of `body`, run on several threads, in order.
    fileprivate func map<Result>(_ count: Int, _ body: (Int) -> Result) -> [Result] {
        var results = [Result?](repeating: nil, count: count)
        results.withUnsafeMutableBufferPointer { results in
            nonisolated(unsafe) let results = results
            nonisolated(unsafe) let body = body
            forEach(count) { results[$0] = body($0) }
        }
        return results.compactMap { $0 }
    }
}
