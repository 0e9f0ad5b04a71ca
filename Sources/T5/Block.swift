import Tensors

/// What the backward pass of a block needs of its forward pass.
struct BlockTape {
    let selfAttention: SelfAttentionTape
    let crossAttention: CrossAttentionTape?
    let feedForward: FeedForwardTape
}

/// One block of a stack and what it works on.
struct BlockRun {
    let weights: BlockWeights
    let bias: DistanceBias
    let sequences: Ragged
    /// nil in an encoder.
    let encoder: EncoderOutput?
    let pass: Pass

    private var isDecoder: Bool { encoder != nil }

    /// x becomes the block's output; nothing stays in the arena.
    func forward(_ x: Rows) throws {
        let arena = pass.arena
        func layer(_ body: () throws -> Void) rethrows {
            let mark = arena.mark()
            defer { arena.rewind(to: mark) }
            try body()
        }
        try layer { _ = try attendToSelf(x, into: x) }
        try layer { _ = try attendToInput(x, into: x) }
        try layer { _ = try feedForward(x, weights.feedForward, into: x, pass) }
    }

    /// The block's output, and what its backward pass needs, in the arena.
    func forwardKeeping(_ x: Rows) throws -> (out: Rows, tape: BlockTape) {
        func next() throws -> Rows { try pass.arena.rows(x.count, x.width) }
        var out = try next()
        let own = try attendToSelf(x, into: out)
        var other: CrossAttentionTape?
        if isDecoder {
            let before = out
            out = try next()
            other = try attendToInput(before, into: out)
        }
        let last = try next()
        let dense = try feedForward(out, weights.feedForward, into: last, pass)
        return (
            last, BlockTape(selfAttention: own, crossAttention: other, feedForward: dense)
        )
    }

    private func attendToSelf(_ x: Rows, into out: Rows) throws -> SelfAttentionTape {
        try selfAttention(
            x, weights.selfAttention, sequences, bias: bias, causal: isDecoder, into: out, pass)
    }

    private func attendToInput(_ x: Rows, into out: Rows) throws -> CrossAttentionTape? {
        guard let encoder, let cross = weights.crossAttention else { return nil }
        return try crossAttention(
            x, states: encoder.states, cross, targets: sequences, sources: encoder.sources,
            into: out, pass)
    }

    /// The backward pass, down to its layer `lowest`. `stream`: the gradient of the output,
    /// becomes that of x.
    func backward(
        stream: Rows, _ tape: BlockTape, gradients: BlockWeights, dbias: DistanceBias,
        lowest: LayerPlace.Layer, dencoder: Rows?
    ) throws {
        try feedForwardBackward(
            stream: stream, tape.feedForward, weights.feedForward,
            gradients: gradients.feedForward, pass)
        if lowest == .feedForward { return }
        if let encoder, let cross = weights.crossAttention,
            let dcross = gradients.crossAttention, let kept = tape.crossAttention
        {
            try crossAttentionBackward(
                stream: stream, kept, states: encoder.states, cross, gradients: dcross,
                targets: sequences, sources: encoder.sources, dstates: dencoder, pass)
        }
        if lowest == .crossAttention { return }
        try selfAttentionBackward(
            stream: stream, tape.selfAttention, weights.selfAttention,
            gradients: gradients.selfAttention, sequences, bias: bias, causal: isDecoder,
            dbias: dbias, pass)
    }
}
