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
///   - keeps: what stays in the arena for the backward pass, besides the result.
/// - Returns: the states after the final norm, [rows, d_model], in the arena.
package func runStack(
    _ ids: [Int32], _ sequences: Ragged, _ weights: StackWeights, embedding: Projection,
    encoder: EncoderOutput?, keeps: TapeKeeping = .nothing, _ pass: Pass
) throws -> (states: Rows, tape: StackTape?) {
    let configuration = pass.configuration
    let arena = pass.arena
    let isDecoder = encoder != nil
    let states = try arena.rows(ids.count, configuration.dModel)
    let start = arena.mark()
    defer { if keeps == .nothing { arena.rewind(to: start) } }

    let buckets = RelativeBuckets(
        configuration, bidirectional: !isDecoder, longest: sequences.longest)
    let biases = try weights.biases(buckets, arena)
    var x = try arena.rows(ids.count, configuration.dModel)
    embed(ids, embedding, into: x, pass)
    let outside = pass.within(block: 0, ofDecoder: isDecoder, sequences)
    outside.drop(x, .embedding)

    var blocks: [StackTape.Block] = []
    for (index, block) in weights.blocks.enumerated() {
        let run = BlockRun(
            weights: block, bias: biases[index], sequences: sequences, encoder: encoder,
            pass: pass.within(block: index, ofDecoder: isDecoder, sequences))
        switch keeps.of(block: index) {
        case .nothing:
            try run.forward(x)
            blocks.append(.nothing)
        case .input:
            blocks.append(.input(x))
            let out = try arena.rows(x.count, x.width)
            out.copy(from: x)
            try run.forward(out)
            x = out
        case .layers:
            let (out, tape) = try run.forwardKeeping(x)
            blocks.append(.layers(tape))
            x = out
        }
    }
    let inverseRMS = try arena.rows(1, x.count)
    rmsNorm(
        x, weight: weights.finalNorm.base, epsilon: configuration.layerNormEpsilon, into: states,
        inverseRMS: inverseRMS.base, workers: pass.workers)
    outside.drop(states, .states)
    guard keeps != .nothing else { return (states, nil) }
    let tape = StackTape(
        ids: ids, sequences: sequences, encoder: encoder, buckets: buckets, biases: biases,
        blocks: blocks, x: x, inverseRMS: inverseRMS)
    return (states, tape)
}

/// Its backward pass: adds to the gradients of what is trained of the stack and the embedding.
///
/// - Parameters:
///   - dstates: the gradient of the states; changed where there is dropout.
///   - lowest: the lowest layer that it reaches; see `StackWeights.lowestTrained`.
///   - dencoder: where a decoder adds the gradient of the encoder's states, if anybody wants it.
///   - finished: called with the index of each block, last block first, when the gradients of its
///     weights are whole; from then on its weights may change.
package func runStackBackward(
    dstates: Rows, _ tape: StackTape, _ weights: StackWeights, gradients: StackWeights,
    embeddingGradient: Projection, lowest: LayerPlace = .embedding, dencoder: Rows?, _ pass: Pass,
    finished: (_ block: Int) throws -> Void = { _ in }
) throws {
    let arena = pass.arena
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let isDecoder = tape.encoder != nil
    let outside = pass.within(block: 0, ofDecoder: isDecoder, tape.sequences)
    outside.drop(dstates, .states)
    let stream = try arena.rows(tape.x.count, tape.x.width, zeroed: true)
    try rmsNormBackward(
        dstates, tape.x, weight: weights.finalNorm.base, inverseRMS: tape.inverseRMS.base,
        addingTo: stream, dweight: gradients.finalNorm.ifAny, arena: arena, workers: pass.workers)

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
    for index in tape.blocks.indices.reversed() where lowest.block <= index {
        let run = BlockRun(
            weights: weights.blocks[index], bias: tape.biases[index], sequences: tape.sequences,
            encoder: tape.encoder,
            pass: pass.within(block: index, ofDecoder: isDecoder, tape.sequences))
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let kept: BlockTape
        switch tape.blocks[index] {
        case .nothing: continue
        case .input(let x): (_, kept) = try run.forwardKeeping(x)
        case .layers(let layers): kept = layers
        }
        try run.backward(
            stream: stream, kept, gradients: gradients.blocks[index], dbias: dbiases[index],
            lowest: lowest.block == index ? lowest.layer : .selfAttention, dencoder: dencoder)
        // Block 0, whose table may be that of all, is the last.
        if let table = gradients.blocks[index].relativeBias, !table.isEmpty {
            tape.buckets.biasBackward(dbiases[index], addingTo: table)
        }
        try finished(index)
    }
    guard lowest == .embedding else { return }
    outside.drop(stream, .embedding)
    embedBackward(tape.ids, dout: stream, gradient: embeddingGradient, pass)
}
