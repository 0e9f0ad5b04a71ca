import Tensors

/// What a decoder's stack reads besides its own ids.
package struct EncoderOutput {
    /// [source rows, d_model], after the encoder's final norm.
    package let states: Rows
    package let sources: Ragged

    package init(states: Rows, sources: Ragged) {
        self.states = states
        self.sources = sources
    }
}

/// What the backward pass of a stack needs of its forward pass.
package struct StackTape {
    struct Block {
        let selfAttention: SelfAttentionTape
        let crossAttention: CrossAttentionTape?
        let feedForward: FeedForwardTape
    }

    let ids: [Int32]
    let sequences: Ragged
    let encoder: EncoderOutput?
    let buckets: RelativeBuckets
    let biases: [DistanceBias]
    let blocks: [Block]
    let x: Rows
    let inverseRMS: Rows
}

extension StackWeights {
    /// The relative bias of every block, spread over distances.
    package func biases(_ buckets: RelativeBuckets, _ arena: Arena) throws -> [DistanceBias] {
        var biases: [DistanceBias] = []
        for block in blocks {
            if let table = block.relativeBias {
                biases.append(try buckets.bias(from: table, arena: arena))
            } else if let first = biases.first {
                biases.append(first)
            }
        }
        return biases
    }
}

/// Runs an encoder, or, given an encoder's output, a decoder over all positions at once.
///
/// - Parameters:
///   - ids: the ids of all sequences, one after the other, each below vocab_size.
///   - keepsTape: whether the backward pass will follow: then every layer's values stay in
///     the arena; otherwise only the result does.
/// - Returns: the states after the final norm, [rows, d_model], in the arena.
package func runStack(
    _ ids: [Int32], _ sequences: Ragged, _ weights: StackWeights, embedding: Projection,
    encoder: EncoderOutput?, keepsTape: Bool, _ pass: Pass
) throws -> (states: Rows, tape: StackTape?) {
    let configuration = pass.configuration
    let arena = pass.arena
    let isDecoder = encoder != nil
    let states = try arena.rows(ids.count, configuration.dModel)
    let start = arena.mark()
    defer { if !keepsTape { arena.rewind(to: start) } }

    let buckets = RelativeBuckets(
        configuration, bidirectional: !isDecoder, longest: sequences.longest)
    let biases = try weights.biases(buckets, arena)
    var x = try arena.rows(ids.count, configuration.dModel)
    embed(ids, embedding, into: x, pass)

    /// Where a layer writes: over its input, unless the tape needs that.
    func next() throws -> Rows {
        keepsTape ? try arena.rows(x.count, x.width) : x
    }
    /// Runs one layer; forgets what it kept unless the tape needs it.
    func layer<Tape>(_ body: (Rows) throws -> Tape) throws -> Tape {
        let out = try next()
        let mark = arena.mark()
        let tape = try body(out)
        if !keepsTape { arena.rewind(to: mark) }
        x = out
        return tape
    }
    var blocks: [StackTape.Block] = []
    for (block, bias) in zip(weights.blocks, biases) {
        let own = try layer {
            try selfAttention(
                x, block.selfAttention, sequences, bias: bias, causal: isDecoder, into: $0, pass)
        }
        var other: CrossAttentionTape?
        if let encoder, let cross = block.crossAttention {
            other = try layer {
                try crossAttention(
                    x, states: encoder.states, cross, targets: sequences, sources: encoder.sources,
                    into: $0, pass)
            }
        }
        let dense = try layer { try feedForward(x, block.feedForward, into: $0, pass) }
        blocks.append(
            StackTape.Block(selfAttention: own, crossAttention: other, feedForward: dense))
    }
    let inverseRMS = try arena.rows(1, x.count)
    rmsNorm(
        x, weight: weights.finalNorm.base, epsilon: configuration.layerNormEpsilon, into: states,
        inverseRMS: inverseRMS.base, workers: pass.workers)
    guard keepsTape else { return (states, nil) }
    let tape = StackTape(
        ids: ids, sequences: sequences, encoder: encoder, buckets: buckets, biases: biases,
        blocks: blocks, x: x, inverseRMS: inverseRMS)
    return (states, tape)
}

/// Its backward pass: adds to every gradient of the stack, the embedding's included.
///
/// - Parameters:
///   - dstates: the gradient of the states.
///   - dencoder: where a decoder adds the gradient of the encoder's states.
package func runStackBackward(
    dstates: Rows, _ tape: StackTape, _ weights: StackWeights, gradients: StackWeights,
    embeddingGradient: Projection, dencoder: Rows?, _ pass: Pass
) throws {
    let arena = pass.arena
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let isDecoder = tape.encoder != nil
    let stream = try arena.rows(tape.x.count, tape.x.width, zeroed: true)
    try rmsNormBackward(
        dstates, tape.x, weight: weights.finalNorm.base, inverseRMS: tape.inverseRMS.base,
        addingTo: stream, dweight: gradients.finalNorm.base, arena: arena, workers: pass.workers)

    // One gradient for each table; the blocks without one share that of block 0.
    var dbiases: [DistanceBias] = []
    for (block, bias) in zip(weights.blocks, tape.biases) {
        if block.relativeBias != nil {
            let table = try arena.rows(bias.table.count, bias.table.width, zeroed: true)
            dbiases.append(DistanceBias(table: table, zero: bias.zero))
        } else if let first = dbiases.first {
            dbiases.append(first)
        }
    }
    for index in tape.blocks.indices.reversed() {
        let block = weights.blocks[index]
        let gradient = gradients.blocks[index]
        let kept = tape.blocks[index]
        try feedForwardBackward(
            stream: stream, kept.feedForward, block.feedForward, gradients: gradient.feedForward,
            pass)
        if let encoder = tape.encoder, let dencoder, let cross = block.crossAttention,
            let dcross = gradient.crossAttention, let keptCross = kept.crossAttention
        {
            try crossAttentionBackward(
                stream: stream, keptCross, states: encoder.states, cross, gradients: dcross,
                targets: tape.sequences, sources: encoder.sources, dstates: dencoder, pass)
        }
        try selfAttentionBackward(
            stream: stream, kept.selfAttention, block.selfAttention,
            gradients: gradient.selfAttention, tape.sequences, bias: tape.biases[index],
            causal: isDecoder, dbias: dbiases[index], pass)
    }
    for (index, gradient) in gradients.blocks.enumerated() {
        if let table = gradient.relativeBias {
            tape.buckets.biasBackward(dbiases[index], addingTo: table)
        }
    }
    embedBackward(tape.ids, dout: stream, gradient: embeddingGradient, pass)
}
