import T5
import Tensors
import Testing

@Suite("An output depends on nothing but its own input")
struct InvarianceTests {
    private let lengths = [7, 1, 19, 4, 33, 12, 2, 8]

    /// The decoder's states of some sequences, run together.
    private func states(
        _ tiny: TinyNetwork, _ which: [Int], threads: Int
    ) throws -> [[Float]] {
        let pass = Pass(tiny.configuration, arena: Arena(), workers: Workers(threads: threads))
        let sources = Ragged(lengths: which.map { lengths[$0] })
        let targets = Ragged(lengths: which.map { lengths[$0] / 2 + 1 })
        let network = tiny.snapshot.network
        let encoded = try runStack(
            which.flatMap { tiny.ids(lengths[$0], seed: $0) }, sources, network.encoder,
            embedding: network.embedding, encoder: nil, pass)
        let decoded = try runStack(
            which.flatMap { tiny.ids(lengths[$0] / 2 + 1, seed: $0 + 50) }, targets,
            try #require(network.decoder), embedding: network.embedding,
            encoder: EncoderOutput(states: encoded.states, sources: sources),
            pass)
        return which.indices.map { index in
            targets.range(index).flatMap { Array(decoded.states[$0]) }
        }
    }

    @Test("alone as in a batch, with one thread as with several", arguments: [false, true])
    func batch(isGated: Bool) throws {
        let tiny = try TinyNetwork(isGated: isGated)
        let all = Array(lengths.indices)
        let together = try states(tiny, all, threads: 1)
        #expect(try states(tiny, all, threads: 3) == together)
        for index in all {
            #expect(try states(tiny, [index], threads: 2) == [together[index]], "row \(index)")
        }
    }

    @Test("one token at a time as all at once")
    func cache() throws {
        let tiny = try TinyNetwork(isGated: false)
        let network = tiny.snapshot.network
        let decoder = try #require(network.decoder)
        let pass = tiny.pass
        let sources = Ragged(lengths: [6, 3])
        let encoded = try runStack(
            tiny.ids(9, seed: 4), sources, network.encoder, embedding: network.embedding,
            encoder: nil, pass)
        let output = EncoderOutput(states: encoded.states, sources: sources)
        let ids = [tiny.ids(40, seed: 5), tiny.ids(40, seed: 6)]
        let whole = try runStack(
            ids[0] + ids[1], Ragged(lengths: [40, 40]), decoder, embedding: network.embedding,
            encoder: output, pass)

        let cache = try DecoderCache(
            tiny.snapshot, decoder, encoder: output, longest: 40, workers: Workers(threads: 1))
        for position in 0..<40 {
            // The second sequence leaves halfway, and the first one goes on alone.
            let slots = position < 20 ? [0, 1] : [0]
            try cache.step(slots.map { ids[$0][position] }, slots: slots) { states in
                for (row, slot) in slots.enumerated() {
                    let expected = Array(whole.states[slot * 40 + position])
                    #expect(Array(states[row]) == expected, "position \(position) of \(slot)")
                }
            }
        }
    }
}
