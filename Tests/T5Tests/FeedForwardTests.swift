import Tensors
import Testing

@testable import T5

@Suite("The feed-forward layer")
struct FeedForwardTests {
    /// The layer's output, the gradient of its input, and those of its weights.
    private typealias Found = (out: [Float], dx: [Float], gradients: [Float])
    private typealias Body = (
        _ x: Rows, _ stream: Rows, _ weights: FeedForwardWeights, _ gradients: FeedForwardWeights,
        _ pass: Pass
    ) throws -> Rows

    private func run(_ tiny: TinyNetwork, rate: Float, _ body: Body) throws -> Found {
        let all = try TrainedLayout(tiny.layout)
        let weights = try TrainedWeights(all, tiny.snapshot)
        let gradients = try Gradients(all, tiny.snapshot)
        defer { withExtendedLifetime((weights, gradients)) {} }
        let sequences = Ragged(lengths: [4, 7])
        let pass = Pass(
            tiny.configuration, arena: Arena(), workers: Workers(threads: 2),
            dropout: rate > 0 ? Dropout(rate: rate, keys: [11, 12]) : nil
        ).within(block: 1, ofDecoder: false, sequences)
        let x = try pass.arena.rows(11, tiny.configuration.dModel)
        let stream = try pass.arena.rows(11, tiny.configuration.dModel)
        for row in 0..<11 {
            for column in 0..<x.width {
                x[row][column] = formula(row * 311 + column)
                stream[row][column] = formula(row * 173 + column + 5)
            }
        }
        let out = try body(
            x, stream, weights.network.encoder.blocks[1].feedForward,
            gradients.network.encoder.blocks[1].feedForward, pass)
        let values = gradients.values
        return (
            (0..<11).flatMap { Array(out[$0]) }, (0..<11).flatMap { Array(stream[$0]) },
            Array(UnsafeBufferPointer(start: values.base, count: values.count))
        )
    }

    @Test(
        "has the bits of its operations one by one, with everything kept",
        arguments: [T5Configuration.Activation.relu, .geluNew, .gelu, .silu], [false, true])
    func kept(activation: T5Configuration.Activation, isGated: Bool) throws {
        let tiny = try TinyNetwork(isGated: isGated, activation: activation)
        for rate in [Float(0), 0.3] {
            let layer = try run(tiny, rate: rate) { x, stream, weights, gradients, pass in
                let out = try pass.arena.rows(x.count, x.width)
                let tape = try feedForward(x, weights, into: out, pass)
                // What the layer gave back, somebody else writes over.
                let mark = pass.arena.mark()
                try pass.arena.rows(4 * x.count, 3 * pass.configuration.dFF).fill(.nan)
                pass.arena.rewind(to: mark)
                try feedForwardBackward(
                    stream: stream, tape, weights, gradients: gradients, pass)
                return out
            }
            let parts = try run(tiny, rate: rate, oneByOne)
            #expect(layer.out == parts.out, "dropout \(rate)")
            #expect(layer.dx == parts.dx, "dropout \(rate)")
            #expect(layer.gradients == parts.gradients, "dropout \(rate)")
            #expect(layer.gradients.contains { $0 != 0 })
        }
    }

    /// Nothing in place, nothing computed twice.
    private func oneByOne(
        _ x: Rows, _ stream: Rows, _ weights: FeedForwardWeights, _ gradients: FeedForwardWeights,
        _ pass: Pass
    ) throws -> Rows {
        let configuration = pass.configuration
        let kind = configuration.activation.kernel, gated = configuration.isGated
        func rows(_ width: Int) throws -> Rows { try pass.arena.rows(x.count, width) }
        let normed = try rows(x.width), inverseRMS = try pass.arena.rows(1, x.count)
        let hidden = try rows(weights.input.outputs), activated = try rows(configuration.dFF)
        let out = try rows(x.width)
        rmsNorm(
            x, weight: weights.norm.base, epsilon: configuration.layerNormEpsilon, into: normed,
            inverseRMS: inverseRMS.base, workers: pass.workers)
        try project(normed, weights.input, into: hidden, pass)
        activate(kind, gated: gated, hidden, into: activated, workers: pass.workers)
        pass.drop(activated, .activation)
        out.copy(from: x)
        try projectResidual(activated, weights.output, addingTo: out, .feedForwardOutput, pass)

        let dactivated = try rows(activated.width), dhidden = try rows(hidden.width)
        let dnormed = try rows(x.width)
        try projectBackward(
            dout: residualGradient(stream, .feedForwardOutput, pass), activated, weights.output,
            gradients: gradients.output, into: dactivated, pass)
        pass.drop(dactivated, .activation)
        activateBackward(
            kind, gated: gated, dout: dactivated, hidden, into: dhidden, workers: pass.workers)
        try projectBackward(
            dout: dhidden, normed, weights.input, gradients: gradients.input, into: dnormed, pass)
        try rmsNormBackward(
            dnormed, x, weight: weights.norm.base, inverseRMS: inverseRMS.base, addingTo: stream,
            dweight: gradients.norm.ifAny, arena: pass.arena, workers: pass.workers)
        return out
    }
}
