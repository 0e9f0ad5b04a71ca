import Tensors

/// What the backward pass of cross-attention needs of the forward pass.
package struct CrossAttentionTape {
    let x: Rows
    let inverseRMS: Rows
    let query: Rows
    /// [source rows, 2 * inner]: keys, values.
    let keyValue: Rows
    let attended: Rows
    let logSums: Rows
}

/// out = x + o(attention(q of norm(x); k, v of states)).
///
/// x, out: [rows, d_model]; states: [source rows, d_model], the encoder's output; sequence s
/// of `targets` attends to sequence s of `sources`. out may be x, then the tape is of no use.
package func crossAttention(
    _ x: Rows, states: Rows, _ weights: CrossAttentionWeights, targets: Ragged, sources: Ragged,
    into out: Rows, _ pass: Pass
) throws -> CrossAttentionTape {
    let inner = pass.configuration.innerDim
    let inverseRMS = try pass.arena.rows(1, x.count)
    let query = try pass.arena.rows(x.count, inner)
    let keyValue = try pass.arena.rows(states.count, 2 * inner)
    let attended = try pass.arena.rows(x.count, inner)
    let logSums = try pass.arena.rows(pass.configuration.numHeads, x.count)

    try projectNormed(
        x, norm: weights.norm, weights.query, into: query, inverseRMS: inverseRMS, pass)
    try project(states, weights.keyValue, into: keyValue, pass)
    try attention(
        q: query, k: keyValue.columns(0..<inner), v: keyValue.columns(inner..<2 * inner),
        heads: pass.configuration.numHeads, queries: targets, keys: sources, bias: nil,
        causal: false, dropout: pass.dropout(.crossAttention),
        keyValues: weights.keyValue.keyValuePrecision(plain: pass.precision), into: attended,
        logSums: logSums,
        arena: pass.arena, workers: pass.workers)
    if out.base != x.base { out.copy(from: x) }
    try projectResidual(attended, weights.output, addingTo: out, .crossAttentionOutput, pass)
    return CrossAttentionTape(
        x: x, inverseRMS: inverseRMS, query: query, keyValue: keyValue, attended: attended,
        logSums: logSums)
}

/// Its backward pass. `stream`: the gradient of out, becomes that of x; adds to `dstates`,
/// unless nobody below wants that.
package func crossAttentionBackward(
    stream: Rows, _ tape: CrossAttentionTape, states: Rows, _ weights: CrossAttentionWeights,
    gradients: CrossAttentionWeights, targets: Ragged, sources: Ragged, dstates: Rows?, _ pass: Pass
) throws {
    let inner = pass.configuration.innerDim
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let dquery = try pass.arena.rows(stream.count, inner, zeroed: true)
    let belowAttention = pass.arena.mark()
    let dkeyValue = try pass.arena.rows(states.count, 2 * inner, zeroed: true)
    let dattended = try pass.arena.rows(stream.count, inner)

    try projectBackward(
        dout: residualGradient(stream, .crossAttentionOutput, pass), tape.attended, weights.output,
        gradients: gradients.output, into: dattended, pass)
    try attentionBackward(
        dout: dattended, q: tape.query, k: tape.keyValue.columns(0..<inner),
        v: tape.keyValue.columns(inner..<2 * inner), out: tape.attended, logSums: tape.logSums,
        heads: pass.configuration.numHeads, queries: targets, keys: sources, bias: nil,
        causal: false, dropout: pass.dropout(.crossAttention), addingTo: dquery,
        dk: dkeyValue.columns(0..<inner), dv: dkeyValue.columns(inner..<2 * inner), dbias: nil,
        arena: pass.arena, workers: pass.workers)
    try projectBackward(
        dout: dkeyValue, states, weights.keyValue, gradients: gradients.keyValue, into: dstates,
        adds: true, pass)
    pass.arena.rewind(to: belowAttention)
    try projectNormedBackward(
        dout: dquery, tape.x, inverseRMS: tape.inverseRMS, norm: weights.norm, weights.query,
        normGradient: gradients.norm, gradients: gradients.query, addingTo: stream, pass)
}
