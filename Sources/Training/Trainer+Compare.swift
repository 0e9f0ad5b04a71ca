import CUnsay
import Support
import T5
import Tensors

extension Trainer {
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
            pass.arena.reset()
            if let rows {
                try compareRows(
                    batch, rows, key, head: originalHead, between: between, body)
                continue
            }
            let arena = pass.arena
            let trained = try trainedStates(batch, pass)
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
                try head.logits(trained.rows(range), into: after.rows(0..<range.count), pass)
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
}
