import T5
import Tensors
import Testing

@Suite("The backward pass of the whole network")
struct BackwardTests {
    /// sum_i direction(i) * states_i of encoder and decoder together.
    private func loss(
        _ network: Network, _ tiny: TinyNetwork, gradients: Gradients? = nil,
        dropout: Dropout? = nil,
        recomputes: Bool = false
    ) throws -> Double {
        let pass = Pass(
            tiny.configuration, arena: Arena(), workers: Workers(threads: 1), dropout: dropout)
        let keeps: TapeKeeping =
            gradients == nil ? .nothing : recomputes ? .inputs(from: 0) : .layers(from: 0)
        let sources = Ragged(lengths: [5, 9])
        let targets = Ragged(lengths: [3, 6])
        let inputs = tiny.ids(sources.total, seed: 1)
        let outputs = tiny.ids(targets.total, seed: 2)
        let decoder = try #require(network.decoder)
        let encoded = try runStack(
            inputs, sources, network.encoder, embedding: network.embedding, encoder: nil,
            keeps: keeps, pass)
        let decoded = try runStack(
            outputs, targets, decoder, embedding: network.embedding,
            encoder: EncoderOutput(states: encoded.states, sources: sources),
            keeps: keeps, pass)
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

    @Test(
        "every gradient agrees with finite differences, with and without dropout",
        arguments: [false, true], [Float(0), 0.3])
    func gradients(isGated: Bool, rate: Float) throws {
        // A smooth activation in both: differences across the kinks of relu are no slopes.
        // Relu itself is checked by the kernels' tests and against PyTorch.
        let tiny = try TinyNetwork(isGated: isGated, activation: .geluNew)
        let all = try TrainedLayout(tiny.layout)
        let weights = try TrainedWeights(all, tiny.snapshot)
        defer { withExtendedLifetime(weights) {} }
        let gradients = try Gradients(all, tiny.snapshot)
        let dropout = rate > 0 ? Dropout(rate: rate, keys: [11, 12]) : nil
        _ = try loss(weights.network, tiny, gradients: gradients, dropout: dropout)

        for (index, parameter) in tiny.layout.parameters.enumerated()
        where parameter.name != "lm_head.weight" {
            let values = weights.slot(index)
            let before = Array(values)
            let step: Float = 1e-3
            func shifted(_ sign: Float) throws -> Double {
                for i in values.indices { values[i] = before[i] + sign * step * formula(i + 5) }
                return try loss(weights.network, tiny, dropout: dropout)
            }
            let slope = (try shifted(1) - shifted(-1)) / Double(2 * step)
            _ = values.update(from: before)
            let analytic = zip(gradients.slot(index, tiny.layout), values.indices).reduce(0.0) {
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
        let weights = try TrainedWeights(TrainedLayout(tiny.layout), tiny.snapshot)
        defer { withExtendedLifetime(weights) {} }
        let packed = try loss(tiny.snapshot.network, tiny)
        let plain = try loss(weights.network, tiny)
        #expect(packed == plain)
    }

    @Test("layers that are run again give the same bits", arguments: [Float(0), 0.3])
    func recomputing(rate: Float) throws {
        let tiny = try TinyNetwork(isGated: true)
        let all = try TrainedLayout(tiny.layout)
        let weights = try TrainedWeights(all, tiny.snapshot)
        defer { withExtendedLifetime(weights) {} }
        let dropout = rate > 0 ? Dropout(rate: rate, keys: [5, 6]) : nil
        let found = try [false, true].map { recomputes in
            let gradients = try Gradients(all, tiny.snapshot)
            _ = try loss(
                weights.network, tiny, gradients: gradients, dropout: dropout,
                recomputes: recomputes)
            return Array(
                UnsafeBufferPointer(start: gradients.values.base, count: gradients.values.count))
        }
        #expect(found[0] == found[1])
    }

    @Test("factors of a projection have the gradients of finite differences")
    func factors() throws {
        let tiny = try TinyNetwork(isGated: true)
        let layout = try TrainedLayout(tiny.layout, rank: 3, alpha: 6)
        let weights = try TrainedWeights(layout, tiny.snapshot, seed: 4)
        defer { withExtendedLifetime(weights) {} }
        for i in 0..<weights.values.count { weights.values.base[i] += 0.05 * formula(i + 3) }
        let gradients = try Gradients(layout, tiny.snapshot)
        _ = try loss(weights.network, tiny, gradients: gradients)
        for slot in layout.slots {
            let values = UnsafeMutableBufferPointer(
                start: weights.values.base + slot.offset, count: slot.count)
            let before = Array(values)
            let step: Float = 1e-3
            func shifted(_ sign: Float) throws -> Double {
                for i in values.indices { values[i] = before[i] + sign * step * formula(i + 5) }
                return try loss(weights.network, tiny)
            }
            let slope = (try shifted(1) - shifted(-1)) / Double(2 * step)
            _ = values.update(from: before)
            let analytic = values.indices.reduce(0.0) {
                $0 + Double(gradients.values.base[slot.offset + $1]) * Double(formula($1 + 5))
            }
            #expect(
                abs(analytic - slope) < 0.02 * max(abs(slope), 0.5),
                "\(slot.name): \(analytic) against \(slope)")
        }
    }

    @Test("factors merged into the weights give the same output as beside them")
    func merged() throws {
        let tiny = try TinyNetwork(isGated: true)
        let layout = try TrainedLayout(tiny.layout, rank: 3, alpha: 6)
        let weights = try TrainedWeights(layout, tiny.snapshot, seed: 4)
        defer { withExtendedLifetime(weights) {} }
        for i in 0..<weights.values.count { weights.values.base[i] += 0.05 * formula(i + 3) }
        let merged = try WeightsSnapshot(
            tiny.layout, tiny.configuration, workers: Workers(threads: 1)
        ) { weights.read($0, into: $1) }
        let beside = try loss(weights.network, tiny)
        let within = try loss(merged.network, tiny)
        #expect(abs(beside - within) < 1e-4 * abs(within), "\(beside) against \(within)")
        #expect(abs(within - (try loss(tiny.snapshot.network, tiny))) > 1e-2)
    }

    @Test(
        "a scope has the gradients that the whole network has there, and no others",
        arguments: [Scope.decoder, .crossAttention, .feedForward])
    func scopes(scope: Scope) throws {
        for isGated in [false, true] {
            let tiny = try TinyNetwork(isGated: isGated)
            let all = try TrainedLayout(tiny.layout)
            let whole = try Gradients(all, tiny.snapshot)
            let everything = try TrainedWeights(all, tiny.snapshot)
            _ = try loss(everything.network, tiny, gradients: whole)
            let layout = try TrainedLayout(tiny.layout, scope: scope)
            let part = try Gradients(layout, tiny.snapshot)
            let weights = try TrainedWeights(layout, tiny.snapshot)
            _ = try loss(weights.network, tiny, gradients: part)
            withExtendedLifetime((everything, weights)) {}
            for (index, share) in layout.shares.enumerated() {
                let expected = whole.slot(index, tiny.layout)
                switch share {
                case .frozen, .factors, .rows: break
                case .whole(let slot):
                    let own = layout.slots[slot]
                    for i in 0..<own.count {
                        let found = part.values.base[own.offset + i]
                        #expect(abs(found - expected[i]) < 1e-4)
                    }
                }
            }
        }
    }
}

extension TrainedWeights {
    /// Weight `index` where all are trained.
    fileprivate func slot(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
        let parameter = layout.base.parameters[index]
        return UnsafeMutableBufferPointer(
            start: values.base + parameter.offset, count: parameter.count)
    }
}

extension Gradients {
    fileprivate func slot(
        _ index: Int, _ layout: ParameterLayout
    ) -> UnsafeMutableBufferPointer<Float> {
        let parameter = layout.parameters[index]
        return UnsafeMutableBufferPointer(
            start: values.base + parameter.offset, count: parameter.count)
    }
}
