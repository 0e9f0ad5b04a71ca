import T5
import Tensors
import Testing

@Suite("The backward pass of the whole network")
struct BackwardTests {
    /// sum_i direction(i) * states_i of encoder and decoder together.
    private func loss(
        _ network: Network, _ tiny: TinyNetwork, gradients: FlatWeights? = nil
    ) throws -> Double {
        let pass = tiny.pass
        let sources = Ragged(lengths: [5, 9])
        let targets = Ragged(lengths: [3, 6])
        let inputs = tiny.ids(sources.total, seed: 1)
        let outputs = tiny.ids(targets.total, seed: 2)
        let decoder = try #require(network.decoder)
        let encoded = try runStack(
            inputs, sources, network.encoder, embedding: network.embedding, encoder: nil,
            keepsTape: gradients != nil, pass)
        let decoded = try runStack(
            outputs, targets, decoder, embedding: network.embedding,
            encoder: EncoderOutput(states: encoded.states, sources: sources),
            keepsTape: gradients != nil, pass)
        let direction = try pass.arena.rows(decoded.states.count, decoded.states.width)
        var sum = 0.0
        for row in 0..<direction.count {
            for column in 0..<direction.width {
                direction[row][column] = formula(row * 977 + column)
                sum += Double(direction[row][column]) * Double(decoded.states[row][column])
            }
        }
        if let gradients {
            let own = gradients.network
            let decoderTape = try #require(decoded.tape)
            let encoderTape = try #require(encoded.tape)
            let dencoder = try pass.arena.rows(
                encoded.states.count, encoded.states.width, zeroed: true)
            try runStackBackward(
                dstates: direction, decoderTape, decoder, gradients: try #require(own.decoder),
                embeddingGradient: own.embedding, dencoder: dencoder, pass)
            try runStackBackward(
                dstates: dencoder, encoderTape, network.encoder, gradients: own.encoder,
                embeddingGradient: own.embedding, dencoder: nil, pass)
        }
        return sum
    }

    @Test("every gradient agrees with finite differences", arguments: [false, true])
    func gradients(isGated: Bool) throws {
        // A smooth activation in both: differences across the kinks of relu are no slopes.
        // Relu itself is checked by the kernels' tests and against PyTorch.
        let tiny = try TinyNetwork(isGated: isGated, activation: .geluNew)
        let weights = try FlatWeights(tiny.layout, tiny.configuration)
        weights.copy(from: tiny.snapshot)
        let gradients = try FlatWeights(tiny.layout, tiny.configuration)
        _ = try loss(weights.network, tiny, gradients: gradients)

        for (index, parameter) in tiny.layout.parameters.enumerated()
        where parameter.name != "lm_head.weight" {
            let values = weights.parameter(index)
            let before = Array(values)
            let step: Float = 1e-3
            func shifted(_ sign: Float) throws -> Double {
                for i in values.indices { values[i] = before[i] + sign * step * formula(i + 5) }
                return try loss(weights.network, tiny)
            }
            let slope = (try shifted(1) - shifted(-1)) / Double(2 * step)
            _ = values.update(from: before)
            let analytic = zip(gradients.parameter(index), values.indices).reduce(0.0) {
                $0 + Double($1.0) * Double(formula($1.1 + 5))
            }
            let scale = max(abs(slope), 0.5)
            #expect(
                abs(analytic - slope) < 0.02 * scale,
                "\(parameter.name): \(analytic) against \(slope)")
        }
    }

    @Test("packed and plain weights give the same bits")
    func storage() throws {
        let tiny = try TinyNetwork(isGated: true)
        let weights = try FlatWeights(tiny.layout, tiny.configuration)
        weights.copy(from: tiny.snapshot)
        let packed = try loss(tiny.snapshot.network, tiny)
        let plain = try loss(weights.network, tiny)
        #expect(packed == plain)
    }
}
