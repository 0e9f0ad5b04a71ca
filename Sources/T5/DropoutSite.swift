import Tensors

/// Where T5 drops values while it is trained, as transformers does.
package enum DropoutSite: UInt64, Sendable {
    case embedding = 0
    /// The softmax's weights.
    case selfAttention
    case selfAttentionOutput
    case crossAttention
    case crossAttentionOutput
    /// Between the two projections of a feed-forward layer.
    case activation
    case feedForwardOutput
    /// After the final norm.
    case states
}

extension Pass {
    /// The same pass within a block of a stack, whose dropout differs from every other's.
    func within(block: Int, ofDecoder isDecoder: Bool, _ sequences: Ragged) -> Pass {
        guard dropout != nil else { return self }
        var pass = self
        pass.place = (isDecoder ? 1 << 32 : 0) | UInt64(block) << 8
        pass.sequences = sequences
        return pass
    }

    /// Dropout as it is here, or nil for none.
    func dropout(_ site: DropoutSite) -> Dropout? { dropout?.at(place | site.rawValue) }

    /// x = dropout(x); also its backward pass.
    func drop(_ x: Rows, _ site: DropoutSite) {
        guard let dropout = dropout(site), let sequences else { return }
        Tensors.drop(x, sequences, dropout, workers: workers)
    }
}

/// out += dropout(x Wᵀ): how every layer adds to the stream.
func projectResidual(
    _ x: Rows, _ weights: Projection, addingTo out: Rows, _ site: DropoutSite, _ pass: Pass
) throws {
    guard pass.dropout != nil else {
        return try project(x, weights, into: out, adds: true, pass)
    }
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let branch = try pass.arena.rows(out.count, out.width)
    try project(x, weights, into: branch, pass)
    pass.drop(branch, site)
    add(branch, to: out, workers: pass.workers)
}

/// The backward pass's first half: the gradient of x Wᵀ, given that of the stream. In the
/// arena, or the stream itself.
func residualGradient(_ stream: Rows, _ site: DropoutSite, _ pass: Pass) throws -> Rows {
    guard pass.dropout != nil else { return stream }
    let branch = try pass.arena.rows(stream.count, stream.width)
    branch.copy(from: stream)
    pass.drop(branch, site)
    return branch
}
