import T5
import Tensors

/// The floats that the arena of a training pass holds at its peak, counted as `runStack` and
/// its kin ask for them: what a plan predicts.
struct PassMemory {
    let configuration: T5Configuration
    let layout: TrainedLayout
    let options: TrainerOptions
    let columnsNeedReference: Bool

    private var c: T5Configuration { configuration }
    private var d: Int { c.dModel }
    private var inner: Int { c.innerDim }
    private var hidden: Int { c.dFF * (c.isGated ? 2 : 1) }
    private var isDropping: Bool { options.dropout > 0 }

    /// What one side of a batch holds.
    private struct Side {
        let rows: Int
        /// Of the other side; 0 in an encoder.
        let sources: Int
        let longest: Int
        /// The packed keys and values of its own attention, and of the other side's.
        let ownKeys: Int
        let sourceKeys: Int
        let blocks: Int
        let keeps: TapeKeeping
        let prefix: String
    }

    /// - Parameter reach: nil for a pass that begins with states that examples keep.
    func peak(_ batch: Batch, _ reach: BackwardReach?) -> Int {
        let sources = batch.sources.total, targets = batch.targets.total
        let marked = batch.markedRows.count
        let encoder = Side(
            rows: sources, sources: 0, longest: batch.sources.longest,
            ownKeys: packed(batch.sources), sourceKeys: 0, blocks: c.numLayers,
            keeps: BackwardReach.keeps(reach?.encoder, recomputes: options.recomputes),
            prefix: "encoder")
        let decoder = Side(
            rows: targets, sources: sources, longest: batch.targets.longest,
            ownKeys: packed(batch.targets, options.precision),
            sourceKeys: packed(batch.sources, options.precision),
            blocks: c.numDecoderLayers,
            keeps: BackwardReach.keeps(reach?.decoder, recomputes: options.recomputes),
            prefix: "decoder")
        var peak = 0
        var held = 0
        func need(_ more: Int) { peak = max(peak, held + more) }
        let block = min(max(16, blockFloats / c.vocabSize), marked)
        let kinds = columnsNeedReference ? 2 : 1
        let logits = marked * d * kinds + block * c.vocabSize * (kinds + 1)
        guard reach != nil else {
            // All logits once, then the rows' alone.
            let ofRows = chosenCount.map {
                marked * (d + $0) + max(Self.panels($0, d), Self.panels(d, marked))
            }
            return max(logits + (ofRows == nil ? Self.panels(d, block) : 0), ofRows ?? 0)
        }
        let head = logits + marked * d + Self.panels(d, block)
        func forward(_ side: Side) {
            need(transient(side))
            held += kept(side)
            need(0)
        }
        forward(encoder)
        forward(decoder)
        let gradient = decoder.keeps == .nothing ? 0 : targets * d
        held += gradient
        need(head)
        guard decoder.keeps != .nothing else { return peak }
        if encoder.keeps != .nothing { held += sources * d }
        need(backward(decoder))
        if encoder.keeps != .nothing { need(backward(encoder)) }
        return peak
    }

    /// How many rows of the head are trained where the others are not.
    private var chosenCount: Int? {
        layout.shares.lazy.compactMap {
            if case .rows(_, let ids) = $0 { ids.count } else { nil }
        }.first
    }

    private func packed(_ keys: Ragged, _ precision: Precision = .float32) -> Int {
        packedFloats(
            keys, KeyValueShape(heads: c.numHeads, dKV: c.dKV, precision: precision))
    }

    /// A packed matrix.
    private static func panels(_ outputs: Int, _ inputs: Int) -> Int {
        (outputs + PackedMatrix.panelWidth - 1) / PackedMatrix.panelWidth
            * PackedMatrix.panelWidth * inputs
    }

    /// The largest matrix of a stack that is packed anew for a product.
    private func packing(_ side: Side, backward: Bool) -> Int {
        layout.base.parameters.indices.filter {
            layout.base.parameters[$0].name.hasPrefix(side.prefix + ".block")
                && layout.base.parameters[$0].shape.count == 2
        }.map { index in
            let parameter = layout.base.parameters[index]
            let size = Self.panels(parameter.rows, parameter.columns)
            let packed = options.precision == .bf16 ? size / 2 : size
            switch layout.shares[index] {
            // With what stands beside it, if that is trained, too.
            case .whole: return packed * sharing(parameter)
            case .rows: return packed
            // Unpacked, then packed the other way round; with it what stands beside it.
            case .frozen, .factors: return backward ? (size + packed) * sharing(parameter) : 0
            }
        }.max() ?? 0
    }

    /// How many matrices lie packed as one with it.
    private func sharing(_ parameter: Parameter) -> Int {
        let name = parameter.name
        if name.contains("SelfAttention"), !name.contains(".o.") { return 3 }
        if name.contains("EncDecAttention.k") || name.contains("EncDecAttention.v") { return 2 }
        return name.contains("wi_") ? 2 : 1
    }

    private func selfAttentionTape(_ side: Side) -> Int {
        side.rows * (1 + 4 * inner + c.numHeads)
    }

    private func crossAttentionTape(_ side: Side) -> Int {
        guard side.sources > 0 else { return 0 }
        return side.rows * (1 + 2 * inner + c.numHeads) + side.sources * 2 * inner
    }

    private func feedForwardTape(_ side: Side) -> Int {
        side.rows * (1 + hidden)
    }

    /// What the activation writes, where it does not work in place.
    private func activated(_ side: Side) -> Int {
        c.activatesInPlace ? 0 : side.rows * c.dFF
    }

    private func blockTape(_ side: Side) -> Int {
        selfAttentionTape(side) + crossAttentionTape(side) + feedForwardTape(side)
            + side.rows * d * (side.sources > 0 ? 3 : 2)
    }

    /// States, the stream and the biases, and what stays of each block.
    private func kept(_ side: Side) -> Int {
        let states = side.rows * d
        guard side.keeps != .nothing else { return states }
        let tables = c.hasBiasPerLayer ? side.blocks : 1
        let around = states * 2 + side.rows + tables * c.numHeads * (2 * side.longest - 1)
        return around
            + (0..<side.blocks).reduce(0) { sum, block in
                switch side.keeps {
                case .layers(let from): sum + (block < from ? 0 : blockTape(side))
                case .inputs(let from): sum + (block < from ? 0 : states)
                case .nothing: sum
                }
            }
    }

    /// What the forward pass of one layer needs and gives back, or the stack that keeps nothing.
    private func transient(_ side: Side) -> Int {
        let branch = isDropping ? side.rows * d : 0
        let packing = packing(side, backward: false)
        // Above each layer's tape, at different times: the normed rows, packed keys, what is
        // added to the stream.
        let normed = side.rows * d + packing
        let own = selfAttentionTape(side) + max(normed, side.ownKeys, branch + packing)
        let cross = crossAttentionTape(side) + max(normed, side.sourceKeys, branch + packing)
        let dense = feedForwardTape(side) + max(normed, activated(side) + branch + packing)
        switch side.keeps {
        case .layers:
            // Of the last block, whose lower layers run before the upper ones' tapes are there.
            let belowDense = feedForwardTape(side) + side.rows * d
            let belowCross =
                belowDense + (side.sources > 0 ? crossAttentionTape(side) + side.rows * d : 0)
            let above = max(
                dense - feedForwardTape(side), cross - crossAttentionTape(side) - belowDense,
                own - selfAttentionTape(side) - belowCross)
            return kept(side) + above
        case .inputs: return kept(side) + max(own, cross, dense)
        case .nothing: return side.rows * d * 2 + max(own, cross, dense)
        }
    }

    private func backward(_ side: Side) -> Int {
        let branch = isDropping ? side.rows * d : 0
        let weights = packing(side, backward: true)
        /// The right factor of a weight's gradient is packed as well.
        func packed(_ outputs: Int, _ rows: Int) -> Int {
            let factor = Self.panels(outputs, rows)
            return max(weights, options.precision == .bf16 ? factor / 2 : factor)
        }
        // A layer's second half gives back what its first half took.
        let normed = 2 * side.rows * d + packed(d, side.rows)
        let own =
            side.rows * 3 * inner
            + max(branch + side.rows * inner + packed(inner, side.rows), normed)
        let ofStates = side.sources * 2 * inner + packed(d, side.sources)
        let cross =
            side.sources > 0
            ? side.rows * inner + max(branch + side.rows * inner + ofStates, normed) : 0
        let dense =
            side.rows * hidden
            + max(branch + activated(side) + packed(c.dFF, side.rows), normed)
        let again = if case .inputs = side.keeps { blockTape(side) } else { 0 }
        return side.rows * d + max(own, cross, dense) + again
    }
}

extension Trainer {
    /// The bytes that training passes over batches like this one take.
    package func passBytes(_ batch: Batch) -> Int {
        let memory = PassMemory(
            configuration: configuration, layout: weights.layout, options: options,
            columnsNeedReference: settings.columns.needsReference)
        let reach = keepsStates && options.dropout == 0 ? nil : BackwardReach(gradients.network)
        return 4 * memory.peak(batch, reach)
    }

    /// The bytes that are there from the start: weights, gradients, head.
    package var constantBytes: Int {
        4
            * (weights.values.count + gradients.values.count + weights.copiedCount
                + head.ownCount)
    }
}

extension Trainer {
    /// The bytes that comparing the examples with an original takes.
    package func measuringBytes(_ examples: [Example]) -> Int {
        let memory = PassMemory(
            configuration: configuration, layout: weights.layout, options: options,
            columnsNeedReference: true)
        return batches(
            of: examples, tokens: measuringTokens, decoderStart: configuration.decoderStartTokenID
        ).map { 4 * memory.peak($0, BackwardReach(decoder: nil, encoder: nil)) }.max() ?? 0
    }
}
