import Tensors

/// One (input, output) pair as ids, ready to be trained or measured on.
///
/// Every id is below vocab_size; `input` and `targets` are not empty.
package final class Example: @unchecked Sendable {
    package let input: [Int32]
    package let targets: [TokenTarget]
    /// The reference's states at the marked positions, [marked, d_model], after the decoder's
    /// final norm: they never change, so they are computed once.
    package var reference: FloatBuffer?
    /// The same of the model as it was when the session began. Where nothing below the head is
    /// trained, they are also what the trained head reads.
    package var original: FloatBuffer?
    /// The same of the model that drift is counted from, for guard pairs, if there is one.
    package var root: FloatBuffer?

    /// For training a few rows of the head.
    var fixed: FixedPositions?

    package init(input: [Int32], targets: [TokenTarget]) {
        self.input = input
        self.targets = targets
        marked = targets.indices.filter { targets[$0].mark != 0 }
    }

    /// The positions that are trained or measured on.
    package let marked: [Int]

    /// What the decoder reads: the start token, then all but the last written token.
    package func decoderInput(start: Int32) -> [Int32] {
        [start] + targets.dropLast().map(\.id)
    }
}

/// Several examples end to end, without padding.
package struct Batch {
    package let examples: [Example]
    package let inputs: [Int32]
    package let sources: Ragged
    package let decoderInputs: [Int32]
    package let targets: Ragged
    /// The rows of the decoder that are marked, and which target stands there.
    package let markedRows: [Int]
    package let markedTargets: [TokenTarget]

    package init(_ examples: [Example], decoderStart: Int32) {
        self.examples = examples
        inputs = examples.flatMap(\.input)
        sources = Ragged(lengths: examples.map(\.input.count))
        decoderInputs = examples.flatMap { $0.decoderInput(start: decoderStart) }
        let targets = Ragged(lengths: examples.map(\.targets.count))
        self.targets = targets
        var rows: [Int] = []
        var marked: [TokenTarget] = []
        for (index, example) in examples.enumerated() {
            rows += example.marked.map { targets.offsets[index] + $0 }
            marked += example.marked.map { example.targets[$0] }
        }
        markedRows = rows
        markedTargets = marked
    }

    /// The kept states of every marked row, [marked, d_model].
    package func keptStates(
        _ key: KeyPath<Example, FloatBuffer?>, width: Int, arena: Arena
    ) throws -> Rows {
        let states = try arena.rows(markedRows.count, width)
        var first = 0
        for example in examples {
            let count = example.marked.count
            if let kept = example[keyPath: key], count > 0 {
                states.rows(first..<first + count).copy(
                    from: Rows(base: kept.base, count: count, width: width))
            }
            first += count
        }
        return states
    }

    /// The rows of `states` that are marked, [marked, width].
    package func pickMarked(_ states: Rows, arena: Arena) throws -> Rows {
        let picked = try arena.rows(markedRows.count, states.width)
        for (index, row) in markedRows.enumerated() {
            picked.rows(index..<index + 1).copy(from: states.rows(row..<row + 1))
        }
        return picked
    }
}
