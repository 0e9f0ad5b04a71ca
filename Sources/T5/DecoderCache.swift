import Tensors

/// The keys and values that a batch of decoders has computed so far.
///
/// Those of the encoder's output are computed once; those of the written tokens grow by one
/// with every step. Several sequences may continue one source: they share its keys and values.
/// A sequence keeps its slot, so one that has finished simply stops being asked for, and one
/// that splits is copied to a slot that is free.
package final class DecoderCache {
    private let snapshot: WeightsSnapshot
    private let decoder: StackWeights
    private let workers: Workers
    private let arena = Arena()
    private let sources: Ragged
    /// Which source the sequences of each slot continue.
    private let sourceOfSlot: [Int]
    /// Of each block, [source rows, 2 * inner].
    private let crossKeyValues: [FloatBuffer]
    /// Of each block, [sequences * capacity, 2 * inner].
    private var ownKeyValues: [FloatBuffer] = []
    private var capacity = 0
    /// Positions written so far, of each sequence.
    package private(set) var lengths: [Int]
    private let longest: Int
    /// Of each block, as far as `capacity` reaches.
    private var biases: [DistanceBias] = []
    private let biasArena = Arena()
    private var inner: Int { snapshot.configuration.innerDim }

    /// - Parameters:
    ///   - encoder: the encoder's output for every source.
    ///   - slotsPerSource: slot s continues source s / slotsPerSource.
    ///   - longest: the most positions any sequence will have.
    package init(
        _ snapshot: WeightsSnapshot, _ decoder: StackWeights, encoder: EncoderOutput,
        slotsPerSource: Int = 1, longest: Int, workers: Workers
    ) throws {
        let inner = snapshot.configuration.innerDim
        self.snapshot = snapshot
        self.decoder = decoder
        self.workers = workers
        self.longest = longest
        sources = encoder.sources
        sourceOfSlot = (0..<encoder.sources.count).flatMap {
            [Int](repeating: $0, count: slotsPerSource)
        }
        lengths = [Int](repeating: 0, count: sourceOfSlot.count)
        let pass = Pass(snapshot.configuration, arena: arena, workers: workers)
        crossKeyValues = try decoder.blocks.map { block in
            let buffer = try FloatBuffer(count: encoder.states.count * 2 * inner)
            if let cross = block.crossAttention {
                let out = Rows(base: buffer.base, count: encoder.states.count, width: 2 * inner)
                try project(encoder.states, cross.keyValue, into: out, pass)
            }
            return buffer
        }
    }

    /// Feeds more ids to some of the sequences.
    ///
    /// - Parameters:
    ///   - ids: the id that each of `slots` continues with, below vocab_size.
    ///   - slots: which sequences; one that is named several times in a row continues with
    ///     several ids. What comes out does not depend on how many go in at once.
    ///   - weights: overwritten with what each id attends to in its source, the mean over
    ///     blocks and heads, [slots, at least the longest source]; nil if nobody asks.
    ///   - body: receives the states after the final norm, [slots, d_model].
    package func step(
        _ ids: [Int32], slots: [Int], weights: Rows? = nil, _ body: (Rows) throws -> Void
    ) throws {
        arena.reset()
        let configuration = snapshot.configuration
        let pass = Pass(configuration, arena: arena, workers: workers)
        let positions = positions(of: slots)
        try reserve((positions.max() ?? 0) + 1)
        if let weights {
            for row in 0..<weights.count { weights[row].update(repeating: 0) }
        }
        let x = try arena.rows(ids.count, configuration.dModel)
        embed(ids, snapshot.network.embedding, into: x, pass)
        for index in decoder.blocks.indices {
            let mark = arena.mark()
            try attendToOwn(x, index, slots, positions, pass)
            try attendToSource(x, index, slots, weights, pass)
            _ = try feedForward(x, decoder.blocks[index].feedForward, into: x, pass)
            arena.rewind(to: mark)
        }
        let states = try arena.rows(x.count, x.width)
        rmsNorm(
            x, weight: decoder.finalNorm.base, epsilon: configuration.layerNormEpsilon,
            into: states, inverseRMS: nil, workers: workers)
        for slot in slots { lengths[slot] += 1 }
        try body(states)
    }

    /// The longest source.
    package var longestSource: Int {
        (0..<sources.count).map { sources.range($0).count }.max() ?? 0
    }

    /// Forgets what a sequence was fed beyond its first `length` ids.
    package func truncate(_ slot: Int, to length: Int) {
        lengths[slot] = min(lengths[slot], length)
    }

    /// Where each id goes.
    private func positions(of slots: [Int]) -> [Int] {
        var positions = slots.map { lengths[$0] }
        for row in slots.indices.dropFirst() where slots[row] == slots[row - 1] {
            positions[row] = positions[row - 1] + 1
        }
        return positions
    }

    /// Makes slot `target` a second copy of the sequence in slot `source`, of the same input.
    package func copy(_ source: Int, to target: Int) {
        let width = 2 * inner
        lengths[target] = lengths[source]
        for buffer in ownKeyValues {
            (buffer.base + target * capacity * width).update(
                from: buffer.base + source * capacity * width, count: lengths[source] * width)
        }
    }

    private func attendToOwn(
        _ x: Rows, _ index: Int, _ slots: [Int], _ positions: [Int], _ pass: Pass
    ) throws {
        let weights = decoder.blocks[index].selfAttention
        let normed = try arena.rows(x.count, x.width)
        let qkv = try arena.rows(x.count, 3 * inner)
        let attended = try arena.rows(x.count, inner)
        rmsNorm(
            x, weight: weights.norm.base, epsilon: pass.configuration.layerNormEpsilon,
            into: normed, inverseRMS: nil, workers: workers)
        try project(normed, weights.queryKeyValue, into: qkv, pass)

        let cache = slots.map { slot in
            Rows(
                base: ownKeyValues[index].base + slot * capacity * 2 * inner, count: capacity,
                width: 2 * inner)
        }
        for (row, position) in positions.enumerated() {
            cache[row].rows(position..<position + 1).copy(
                from: qkv.rows(row..<row + 1).columns(inner..<3 * inner))
        }
        attentionStep(
            q: qkv.columns(0..<inner), keys: cache.map { UnsafePointer($0.base) },
            values: cache.map { UnsafePointer($0.base + inner) },
            counts: positions.map { $0 + 1 }, kvStride: 2 * inner,
            heads: pass.configuration.numHeads, dKV: pass.configuration.dKV,
            positions: positions, bias: biases[index], into: attended, workers: workers)
        try project(attended, weights.output, into: x, adds: true, pass)
    }

    private func attendToSource(
        _ x: Rows, _ index: Int, _ slots: [Int], _ weightsOut: Rows?, _ pass: Pass
    ) throws {
        guard let weights = decoder.blocks[index].crossAttention else { return }
        let normed = try arena.rows(x.count, x.width)
        let query = try arena.rows(x.count, inner)
        let attended = try arena.rows(x.count, inner)
        rmsNorm(
            x, weight: weights.norm.base, epsilon: pass.configuration.layerNormEpsilon,
            into: normed, inverseRMS: nil, workers: workers)
        try project(normed, weights.query, into: query, pass)
        let starts = slots.map {
            crossKeyValues[index].base + sources.offsets[sourceOfSlot[$0]] * 2 * inner
        }
        let counts = slots.map { sources.range(sourceOfSlot[$0]).count }
        attentionStep(
            q: query, keys: starts.map { UnsafePointer($0) },
            values: starts.map { UnsafePointer($0 + inner) }, counts: counts, kvStride: 2 * inner,
            heads: pass.configuration.numHeads, dKV: pass.configuration.dKV, positions: nil,
            bias: nil, into: attended, workers: workers)
        if let weightsOut {
            addMeanAttention(
                q: query, keys: starts.map { UnsafePointer($0) }, counts: counts,
                kvStride: 2 * inner, heads: pass.configuration.numHeads,
                dKV: pass.configuration.dKV, share: 1 / Float(decoder.blocks.count),
                into: weightsOut, workers: workers)
        }
        try project(attended, weights.output, into: x, adds: true, pass)
    }

    /// Makes room for `positions` of every sequence; doubles, so that growing costs little.
    private func reserve(_ positions: Int) throws {
        guard positions > capacity else { return }
        let grown = min(max(positions, 2 * capacity, 16), max(longest, positions))
        let width = 2 * inner
        ownKeyValues = try decoder.blocks.indices.map { index in
            let larger = try FloatBuffer(count: lengths.count * grown * width)
            if capacity > 0 {
                for (slot, length) in lengths.enumerated() {
                    (larger.base + slot * grown * width).update(
                        from: ownKeyValues[index].base + slot * capacity * width,
                        count: length * width)
                }
            }
            return larger
        }
        biasArena.reset()
        biases = try decoder.biases(
            RelativeBuckets(snapshot.configuration, bidirectional: false, longest: grown),
            biasArena)
        capacity = grown
    }
}
