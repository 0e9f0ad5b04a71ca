import Tensors

/// What the backward pass of a feed-forward layer needs of the forward pass.
package struct FeedForwardTape {
    let x: Rows
    let inverseRMS: Rows
    let normed: Rows
    /// [rows, d_ff], or [rows, 2 * d_ff] when gated: before the activation.
    let hidden: Rows
    /// After the activation and its dropout.
    let activated: Rows
}

/// out = x + wo(act(wi(norm(x)))), or, gated, x + wo(act(wi_0(norm(x))) * wi_1(norm(x))).
///
/// x, out: [rows, d_model]; out may be x, then the tape is of no use.
package func feedForward(
    _ x: Rows, _ weights: FeedForwardWeights, into out: Rows, _ pass: Pass
) throws -> FeedForwardTape {
    let configuration = pass.configuration
    let normed = try pass.arena.rows(x.count, x.width)
    let inverseRMS = try pass.arena.rows(1, x.count)
    let hidden = try pass.arena.rows(x.count, weights.input.outputs)
    let activated = try pass.arena.rows(x.count, configuration.dFF)

    rmsNorm(
        x, weight: weights.norm.base, epsilon: configuration.layerNormEpsilon, into: normed,
        inverseRMS: inverseRMS.base, workers: pass.workers)
    try project(normed, weights.input, into: hidden, pass)
    activate(
        configuration.activation.kernel, gated: configuration.isGated, hidden, into: activated,
        workers: pass.workers)
    pass.drop(activated, .activation)
    if out.base != x.base { out.copy(from: x) }
    try projectResidual(activated, weights.output, addingTo: out, .feedForwardOutput, pass)
    return FeedForwardTape(
        x: x, inverseRMS: inverseRMS, normed: normed, hidden: hidden, activated: activated)
}

/// Its backward pass. `stream`: the gradient of out, becomes that of x.
package func feedForwardBackward(
    stream: Rows, _ tape: FeedForwardTape, _ weights: FeedForwardWeights,
    gradients: FeedForwardWeights, _ pass: Pass
) throws {
    let configuration = pass.configuration
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let dactivated = try pass.arena.rows(stream.count, configuration.dFF)
    let dhidden = try pass.arena.rows(stream.count, tape.hidden.width)
    let dnormed = try pass.arena.rows(stream.count, stream.width)

    try projectBackward(
        dout: residualGradient(stream, .feedForwardOutput, pass), tape.activated, weights.output,
        gradients: gradients.output, into: dactivated, pass)
    pass.drop(dactivated, .activation)
    activateBackward(
        configuration.activation.kernel, gated: configuration.isGated, dout: dactivated,
        tape.hidden, into: dhidden, workers: pass.workers)
    try projectBackward(
        dout: dhidden, tape.normed, weights.input, gradients: gradients.input, into: dnormed, pass)
    try rmsNormBackward(
        dnormed, tape.x, weight: weights.norm.base, inverseRMS: tape.inverseRMS.base,
        addingTo: stream, dweight: gradients.norm.ifAny, arena: pass.arena, workers: pass.workers)
}

extension T5Configuration.Activation {
    var kernel: Activation {
        switch self {
        case .relu: .relu
        case .geluNew: .geluNew
        case .gelu: .gelu
        case .silu: .silu
        }
    }
}
