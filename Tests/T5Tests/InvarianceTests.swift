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

    @Test("a few sequences at a time as all at once", arguments: [1, 3])
    func encodedInParts(threads: Int) throws {
        let tiny = try TinyNetwork(isGated: true)
        let network = tiny.snapshot.network
        let alone = tiny.pass
        defer { withExtendedLifetime(alone) {} }
        // Of all lengths, more than two dozen parts.
        let sequences = Ragged(lengths: (0..<60).map { 1 + $0 * 37 % 80 } + [99])
        let ids = tiny.ids(sequences.total, seed: 9)
        let whole = try runStack(
            ids, sequences, network.encoder, embedding: network.embedding, encoder: nil, alone)
        let pass = Pass(tiny.configuration, arena: Arena(), workers: Workers(threads: threads))
        let parts = try encode(ids, sequences, network, pass)
        for row in 0..<sequences.total {
            #expect(Array(parts.states[row]) == Array(whole.states[row]), "row \(row)")
        }
        // A part's intermediate rows, not the batch's.
        #expect(pass.arena.peakBytes < 2 * 4 * sequences.total * tiny.configuration.dModel)

        // Keys and values of a cache are computed in the same parts: one step of every sequence.
        let decoder = try #require(network.decoder)
        let start = tiny.ids(sequences.count, seed: 10)
        let expected = try runStack(
            start, Ragged(lengths: start.map { _ in 1 }), decoder, embedding: network.embedding,
            encoder: EncoderOutput(states: whole.states, sources: sequences), alone)
        let cache = try DecoderCache(
            tiny.snapshot, decoder, encoder: parts, longest: 1, workers: pass.workers)
        try cache.step(start, slots: Array(0..<sequences.count)) { states in
            for row in 0..<sequences.count {
                #expect(Array(states[row]) == Array(expected.states[row]), "sequence \(row)")
            }
        }
    }

    @Test("several tokens of a sequence at once, and in copies of it, as one at a time")
    func runsAndCopies() throws {
        let tiny = try TinyNetwork(isGated: false)
        let network = tiny.snapshot.network
        let decoder = try #require(network.decoder)
        let pass = tiny.pass
        defer { withExtendedLifetime(pass) {} }
        let sources = Ragged(lengths: [6, 3])
        let encoded = try encode(tiny.ids(9, seed: 4), sources, network, pass)
        // Longer than the cache is at first.
        let ids = [tiny.ids(90, seed: 5), tiny.ids(90, seed: 6)]
        let whole = try runStack(
            ids[0] + ids[1], Ragged(lengths: [90, 90]), decoder, embedding: network.embedding,
            encoder: encoded, pass)
        let cache = try DecoderCache(
            tiny.snapshot, decoder, encoder: encoded, slotsPerSource: 3, longest: 90,
            workers: Workers(threads: 2))
        for first in stride(from: 0, to: 90, by: 3) {
            // Each goes on in the next of its slots.
            let slots = [0, 3].map { $0 + first / 3 % 3 }
            let positions = [first, first + 1, first + 2]
            try cache.step(
                positions.map { ids[0][$0] } + positions.map { ids[1][$0] },
                slots: slots.flatMap { [$0, $0, $0] }
            ) { states in
                for row in 0..<6 {
                    let expected = Array(whole.states[row / 3 * 90 + positions[row % 3]])
                    #expect(Array(states[row]) == expected, "position \(positions[row % 3])")
                }
            }
            cache.copy(slots.map { (from: $0, to: $0 / 3 * 3 + ($0 + 1) % 3) })
        }
    }
}
