import Tensors

/// Runs the encoder of serving weights over sequences: what `runStack` gives, to the bit.
///
/// Many sequences go through all blocks a few at a time, each few on one thread: what lies between
/// layers then stays in its caches, and nobody waits for others between two products.
///
/// - Parameter ids: the ids of all sequences, one after the other, each below vocab_size.
/// - Returns: the states after the final norm, in the arena.
package func encode(
    _ ids: [Int32], _ sequences: Ragged, _ network: Network, _ pass: Pass
) throws -> EncoderOutput {
    let states = try pass.arena.rows(ids.count, pass.configuration.dModel)
    try sequences.forEachPart(pass) { part, pass in
        let rows = sequences.rows(part)
        let mark = pass.arena.mark()
        defer { pass.arena.rewind(to: mark) }
        let (encoded, _) = try runStack(
            Array(ids[rows]), sequences.part(part), network.encoder,
            embedding: network.embedding, encoder: nil, pass)
        states.rows(rows).copy(from: encoded)
    }
    return EncoderOutput(states: states, sources: sequences)
}

extension Ragged {
    /// Calls `body` for runs of sequences, each on one thread with an arena of its own, if there
    /// are enough runs for all threads; else once, for all sequences.
    func forEachPart(
        _ pass: Pass, _ body: (_ sequences: Range<Int>, Pass) throws -> Void
    ) throws {
        guard let parts = parts(threads: pass.workers.threads) else {
            try body(0..<count, pass)
            return
        }
        let arenas = ArenaPool()
        try pass.workers.forEachThrowing(parts.count) { number in
            try arenas.with { arena in
                try body(
                    parts[number],
                    Pass(pass.configuration, arena: arena, workers: Workers(threads: 1)))
            }
        }
    }

    /// The rows of a run of sequences.
    func rows(_ sequences: Range<Int>) -> Range<Int> {
        offsets[sequences.lowerBound]..<offsets[sequences.upperBound]
    }

    /// A run of sequences, alone.
    func part(_ sequences: Range<Int>) -> Ragged {
        Ragged(lengths: sequences.map { range($0).count })
    }

    /// Runs of sequences, the one with most rows first; nil if so few that threads would wait for
    /// the last of them.
    private func parts(threads: Int) -> [Range<Int>]? {
        var parts: [Range<Int>] = []
        var first = 0
        for sequence in 0..<count
        where offsets[sequence + 1] - offsets[first] >= Self.leastRows || sequence + 1 == count {
            parts.append(first..<sequence + 1)
            first = sequence + 1
        }
        parts.sort { rows($0).count > rows($1).count }
        guard let largest = parts.first, 4 * threads * rows(largest).count <= total
        else { return nil }
        return parts
    }

    /// Fewer rows take as long to read the weights as to multiply them.
    private static let leastRows = 96
}
