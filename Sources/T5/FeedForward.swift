import Tensors

/// What the backward pass of a feed-forward layer needs of the forward pass.
package struct FeedForwardTape {
    let x: Rows
    let inverseRMS: Rows
    /// [rows, d_ff], or [rows, 2 * d_ff] when gated: before the activation, or, where that
    /// works in place, after it and its dropout.
    let hidden: Rows
}

/// out = x + wo(act(wi(norm(x)))), or, gated, x + wo(act(wi_0(norm(x))) * wi_1(norm(x))).
///
/// x, out: [rows, d_model]; out may be x, then the tape is of no use.
package func feedForward(
    _ x: Rows, _ weights: FeedForwardWeights, into out: Rows, _ pass: Pass
) throws -> FeedForwardTape {
    let inverseRMS = try pass.arena.rows(1, x.count)
    let hidden = try pass.arena.rows(x.count, weights.input.outputs)
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }

    try projectNormed(
        x, norm: weights.norm, weights.input, into: hidden, inverseRMS: inverseRMS, pass)
    let activated =
        pass.configuration.activatesInPlace
        ? hidden : try pass.arena.rows(x.count, pass.configuration.dFF)
    activateAndDrop(hidden, into: activated, pass)
    if out.base != x.base { out.copy(from: x) }
    try projectResidual(activated, weights.output, addingTo: out, .feedForwardOutput, pass)
    return FeedForwardTape(x: x, inverseRMS: inverseRMS, hidden: hidden)
}

/// Its backward pass. `stream`: the gradient of out, becomes that of x.
package func feedForwardBackward(
    stream: Rows, _ tape: FeedForwardTape, _ weights: FeedForwardWeights,
    gradients: FeedForwardWeights, _ pass: Pass
) throws {
    let configuration = pass.configuration
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let dhidden = try pass.arena.rows(stream.count, tape.hidden.width)
    // Becomes dhidden where it lies.
    let dactivated = dhidden.columns(0..<configuration.dFF)
    let belowActivation = pass.arena.mark()

    try projectBackward(
        dout: residualGradient(stream, .feedForwardOutput, pass),
        activatedAgain(tape.hidden, isRead: gradients.output.isTrained, pass), weights.output,
        gradients: gradients.output, into: dactivated, pass)
    pass.drop(dactivated, .activation)
    activateBackward(
        configuration.activation.kernel, gated: configuration.isGated, dout: dactivated,
        tape.hidden, into: dhidden, workers: pass.workers)
    pass.arena.rewind(to: belowActivation)
    try projectNormedBackward(
        dout: dhidden, tape.x, inverseRMS: tape.inverseRMS, norm: weights.norm, weights.input,
        normGradient: gradients.norm, gradients: gradients.input, addingTo: stream, pass)
}

/// What `wo` read in the forward pass, to the bit; in the arena, or `hidden` itself.
///
/// - Parameter isRead: whether a gradient needs its values; without, they are anything.
private func activatedAgain(_ hidden: Rows, isRead: Bool, _ pass: Pass) throws -> Rows {
    guard !pass.configuration.activatesInPlace else { return hidden }
    let activated = try pass.arena.rows(hidden.count, pass.configuration.dFF)
    if isRead { activateAndDrop(hidden, into: activated, pass) }
    return activated
}

private func activateAndDrop(_ hidden: Rows, into activated: Rows, _ pass: Pass) {
    activate(
        pass.configuration.activation.kernel, gated: pass.configuration.isGated, hidden,
        into: activated, workers: pass.workers)
    pass.drop(activated, .activation)
}

extension T5Configuration {
    /// Whether a feed-forward layer's activation overwrites what it reads: relu's slope follows
    /// from its value, and where dropout made that 0 the gradient is 0 as well.
    package var activatesInPlace: Bool { activation == .relu && !isGated }
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
