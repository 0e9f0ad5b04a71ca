import Tensors

/// What the backward pass of self-attention needs of the forward pass.
package struct SelfAttentionTape {
    let x: Rows
    let inverseRMS: Rows
    /// [rows, 3 * inner]: queries, keys, values.
    let queryKeyValue: Rows
    let attended: Rows
    /// [heads, rows].
    let logSums: Rows
}

/// out = x + o(attention(q, k, v of norm(x))).
///
/// x, out: [rows, d_model]; out may be x, then the tape is of no use. What is allocated in
/// the arena is the tape: the caller rewinds when it does not need it.
package func selfAttention(
    _ x: Rows, _ weights: SelfAttentionWeights, _ sequences: Ragged, bias: DistanceBias,
    causal: Bool, into out: Rows, _ pass: Pass
) throws -> SelfAttentionTape {
    let inner = pass.configuration.innerDim
    let inverseRMS = try pass.arena.rows(1, x.count)
    let qkv = try pass.arena.rows(x.count, 3 * inner)
    let attended = try pass.arena.rows(x.count, inner)
    let logSums = try pass.arena.rows(pass.configuration.numHeads, x.count)

    try projectNormed(
        x, norm: weights.norm, weights.queryKeyValue, into: qkv, inverseRMS: inverseRMS, pass)
    try attention(
        q: qkv.columns(0..<inner), k: qkv.columns(inner..<2 * inner),
        v: qkv.columns(2 * inner..<3 * inner), heads: pass.configuration.numHeads,
        queries: sequences, keys: sequences, bias: bias, causal: causal,
        dropout: pass.dropout(.selfAttention),
        keyValues: causal
            ? weights.queryKeyValue.keyValuePrecision(plain: pass.precision) : .float32,
        into: attended, logSums: logSums,
        arena: pass.arena, workers: pass.workers)
    if out.base != x.base { out.copy(from: x) }
    try projectResidual(attended, weights.output, addingTo: out, .selfAttentionOutput, pass)
    return SelfAttentionTape(
        x: x, inverseRMS: inverseRMS, queryKeyValue: qkv, attended: attended, logSums: logSums)
}

/// Its backward pass. `stream`: the gradient of out, becomes that of x.
package func selfAttentionBackward(
    stream: Rows, _ tape: SelfAttentionTape, _ weights: SelfAttentionWeights,
    gradients: SelfAttentionWeights, _ sequences: Ragged, bias: DistanceBias, causal: Bool,
    dbias: DistanceBias, _ pass: Pass
) throws {
    let inner = pass.configuration.innerDim
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let dqkv = try pass.arena.rows(stream.count, 3 * inner, zeroed: true)
    let belowAttention = pass.arena.mark()
    let dattended = try pass.arena.rows(stream.count, inner)

    try projectBackward(
        dout: residualGradient(stream, .selfAttentionOutput, pass), tape.attended, weights.output,
        gradients: gradients.output, into: dattended, pass)
    let qkv = tape.queryKeyValue
    try attentionBackward(
        dout: dattended, q: qkv.columns(0..<inner), k: qkv.columns(inner..<2 * inner),
        v: qkv.columns(2 * inner..<3 * inner), out: tape.attended, logSums: tape.logSums,
        heads: pass.configuration.numHeads, queries: sequences, keys: sequences, bias: bias,
        causal: causal, dropout: pass.dropout(.selfAttention), addingTo: dqkv.columns(0..<inner),
        dk: dqkv.columns(inner..<2 * inner), dv: dqkv.columns(2 * inner..<3 * inner), dbias: dbias,
        arena: pass.arena, workers: pass.workers)
    pass.arena.rewind(to: belowAttention)
    try projectNormedBackward(
        dout: dqkv, tape.x, inverseRMS: tape.inverseRMS, norm: weights.norm, weights.queryKeyValue,
        normGradient: gradients.norm, gradients: gradients.queryKeyValue, addingTo: stream, pass)
}
