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
    /// Of each block, those of every source, and their memory.
    private let crossKeyValues: [(all: [KeyValues], memory: FloatBuffer)]
    /// Of each block, those of every slot, and their memory.
    private var ownKeyValues: [(all: [KeyValues], memory: FloatBuffer)] = []
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
        let pass = Pass(snapshot.configuration, arena: Arena(), workers: workers)
        crossKeyValues = try decoder.blocks.map { block in
            guard let cross = block.crossAttention else {
                return ([], try FloatBuffer(count: 0))
            }
            let shape = KeyValueShape(snapshot.configuration, cross.keyValue)
            let memory = try FloatBuffer(count: packedFloats(encoder.sources, shape))
            return (keyValues(encoder.sources, shape, in: memory.base), memory)
        }
        let packed = crossKeyValues
        try sources.forEachPart(pass) { part, pass in
            let sources = encoder.sources.part(part), rows = encoder.sources.rows(part)
            for (index, block) in decoder.blocks.enumerated() {
                guard let cross = block.crossAttention else { continue }
                let mark = pass.arena.mark()
                defer { pass.arena.rewind(to: mark) }
                let plain = try pass.arena.rows(rows.count, 2 * inner)
                try project(encoder.states.rows(rows), cross.keyValue, into: plain, pass)
                fill(
                    Array(packed[index].all[part]), k: plain.columns(0..<inner),
                    v: plain.columns(inner..<2 * inner), sources,
                    KeyValueShape(snapshot.configuration, cross.keyValue), workers: pass.workers)
            }
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

    /// Makes each slot `to` a second copy of the sequence in slot `from`, of the same input.
    /// No slot that is copied is overwritten.
    package func copy(_ copies: [(from: Int, to: Int)]) {
        let blocks = ownKeyValues
        workers.forEach(copies.count * blocks.count) { chunk in
            let (from, to) = copies[chunk / blocks.count]
            let all = blocks[chunk % blocks.count].all
            all[to].copy(lengths[from], from: all[from])
        }
        for (from, to) in copies { lengths[to] = lengths[from] }
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

        attentionStep(
            q: qkv.columns(0..<inner),
            new: (qkv.columns(inner..<2 * inner), qkv.columns(2 * inner..<3 * inner)),
            slots.map { ownKeyValues[index].all[$0] }, counts: positions.map { $0 + 1 },
            sharing: Self.runs(slots), heads: pass.configuration.numHeads,
            dKV: pass.configuration.dKV, bias: biases[index], into: attended, workers: workers)
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
        let sourceOfRow = slots.map { sourceOfSlot[$0] }
        let cached = sourceOfRow.map { crossKeyValues[index].all[$0] }
        let counts = cached.map(\.capacity)
        attentionStep(
            q: query, cached, counts: counts, sharing: Self.runs(sourceOfRow),
            heads: pass.configuration.numHeads, dKV: pass.configuration.dKV, bias: nil,
            into: attended, workers: workers)
        if let weightsOut {
            addMeanAttention(
                q: query, cached, counts: counts, heads: pass.configuration.numHeads,
                dKV: pass.configuration.dKV, share: 1 / Float(decoder.blocks.count),
                into: weightsOut, workers: workers)
        }
        try project(attended, weights.output, into: x, adds: true, pass)
    }

    /// For each element, how many of the following, itself included, are the same.
    private static func runs(_ values: [Int]) -> [Int] {
        var runs = values.map { _ in 1 }
        for index in values.indices.dropLast().reversed() where values[index] == values[index + 1] {
            runs[index] = runs[index + 1] + 1
        }
        return runs
    }

    /// Makes room for `positions` of every sequence; doubles, so that growing costs little.
    private func reserve(_ positions: Int) throws {
        guard positions > capacity else { return }
        let grown = min(max(positions, 2 * capacity, 64), max(longest, positions))
        let before = ownKeyValues, slots = lengths.count
        let after = try decoder.blocks.map { block in
            let shape = KeyValueShape(snapshot.configuration, block.selfAttention.queryKeyValue)
            let size = shape.floats(grown)
            let memory = try FloatBuffer(count: slots * size)
            let all = lengths.indices.map {
                KeyValues(base: memory.base + $0 * size, shape, capacity: grown)
            }
            return (all: all, memory: memory)
        }
        // Memory is touched for the first time: the system clears it, on the thread that asks.
        workers.forEach(after.count * slots) { chunk in
            let (index, slot) = chunk.quotientAndRemainder(dividingBy: slots)
            after[index].all[slot].clear()
            if !before.isEmpty {
                after[index].all[slot].copy(lengths[slot], from: before[index].all[slot])
            }
        }
        ownKeyValues = after
        biasArena.reset()
        biases = try decoder.biases(
            RelativeBuckets(snapshot.configuration, bidirectional: false, longest: grown),
            biasArena)
        capacity = grown
    }
}

extension KeyValueShape {
    /// Of the keys and values that serving weights compute.
    fileprivate init(_ configuration: T5Configuration, _ projection: Projection) {
        self.init(
            heads: configuration.numHeads, dKV: configuration.dKV,
            precision: projection.keyValuePrecision(plain: .float32))
    }
}
