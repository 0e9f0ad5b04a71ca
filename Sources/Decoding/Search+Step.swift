import T5
import Tensors

/// What the network computed for the rows of a step.
struct StepRows: @unchecked Sendable {
    /// Of each row, where it is in the other two.
    let indices: [Int]
    let logits: Rows
    /// Cross-attention; nil unless asked for.
    let weights: Rows?
}

extension Search {
    /// Ids that may follow each row, to be verified together with its next one.
    func guesses(_ rows: [ActiveRow]) -> [[Int32]] {
        var room = headBlockRows - rows.count
        return rows.map { row in
            let most = min(
                options.promptLookupNumTokens, room, options.maxNewTokens - row.position - 1)
            let lookup = PromptLookup(
                source: sources[row.input], longestRun: options.maxMatchingNgramSize)
            let guess = lookup.guess(after: Array(row.beam.written.dropFirst()), most: most)
            room -= guess.count
            return guess
        }
    }

    /// Feeds every row's last id and what was guessed behind it, and chooses what follows.
    func step(_ rows: [ActiveRow], _ guesses: [[Int32]]) throws -> Bool {
        let configuration = snapshot.configuration
        var ids: [Int32] = []
        var slots: [Int] = []
        var firsts: [Int] = []
        for (row, guess) in zip(rows, guesses) {
            firsts.append(ids.count)
            ids += [row.beam.written.last ?? configuration.decoderStartTokenID] + guess
            slots += [Int](repeating: row.beam.slot, count: 1 + guess.count)
        }
        arena.reset()
        let weights =
            options.crossAttention ? try arena.rows(ids.count, cache.longestSource) : nil
        var goesOn = true
        try cache.step(ids, slots: slots, weights: weights) { states in
            let pass = Pass(configuration, arena: arena, workers: model.workers)
            scaleForHead(states, into: states, pass)
            if let ids = try screened(rows, states, pass) {
                let next = ids.map { id in
                    [Candidate(beam: 0, id: id, logProbability: .nan, total: .nan, rank: 0)]
                }
                try advancePools(rows, Array(rows.indices), next)
                goesOn = try reportTokens(rows)
                return
            }
            let logits = try arena.rows(ids.count, configuration.vocabSize)
            try project(states, snapshot.network.head, into: logits, pass)
            goesOn = try advance(rows, StepRows(indices: firsts, logits: logits, weights: weights))
            guard goesOn, ids.count > rows.count else { return }
            goesOn = try confirm(rows, guesses, firsts, logits, weights)
        }
        return goesOn
    }

    /// The next token of every row, if nobody wants to see or to change their logits.
    private func screened(_ rows: [ActiveRow], _ states: Rows, _ pass: Pass) throws -> [Int32]? {
        guard states.count == rows.count, !options.logProbs, !options.doSample,
            options.numBeams == 1, options.onLogits == nil, options.allowedTokens == nil,
            options.numAlternatives == 0, !options.crossAttention,
            rows.allSatisfy({ $0.position >= searches[$0.input].prefix.count }),
            let head = try snapshot.screenedHead(rows: rows.count, workers: model.workers)
        else { return nil }
        var omitted: [[Int32]] = []
        for row in rows {
            guard let ids = table.suppressed(after: row.position) else { return nil }
            omitted.append(ids)
        }
        return try head.largest(
            states, leavingOut: omitted, arena: pass.arena, workers: pass.workers)
    }

    /// Goes on along the guesses for as long as they are what the model chooses.
    private func confirm(
        _ rows: [ActiveRow], _ guesses: [[Int32]], _ firsts: [Int], _ logits: Rows,
        _ weights: Rows?
    ) throws -> Bool {
        for (row, guess) in zip(rows, guesses) { searches[row.input].drafted += guess.count }
        var open = Array(rows.indices)
        for number in 0..<(guesses.map(\.count).max() ?? 0) {
            var next: [ActiveRow] = []
            open = open.filter { index in
                let input = rows[index].input
                guard number < guesses[index].count,
                    let beam = searches[input].pools[0].running.first,
                    beam.written.last == guesses[index][number]
                else { return false }
                searches[input].accepted += 1
                next.append(ActiveRow(input: input, pool: 0, index: 0, beam: beam))
                return true
            }
            if open.isEmpty { break }
            let part = open.map { firsts[$0] + number + 1 }
            guard try advance(next, StepRows(indices: part, logits: logits, weights: weights))
            else { return false }
        }
        for row in rows {
            if let beam = searches[row.input].pools[0].running.first {
                cache.truncate(beam.slot, to: beam.written.count - 1)
            }
        }
        return true
    }
}
