import Models
import T5
import Tensors

/// A search over one group of inputs, token by token.
///
/// Every input has `rowsPerInput` slots of the cache, and one or more pools of beams. Without
/// beam search its rows are independent: each is continued by its best token or by a draw.
final class Search {
    let model: Model
    let options: GenerateOptions
    let group: Range<Int>
    let ends: [Int32]
    let table: RuleTable
    let sources: [[Int32]]
    let rowsPerInput: Int
    /// How many inputs the whole call has.
    private let total: Int
    let snapshot: WeightsSnapshot
    let cache: DecoderCache
    let arena = Arena()
    /// Of each input of the group.
    var searches: [InputSearch]
    private var streams: [TextStream]
    private var usesBeams: Bool { options.numBeams > 1 }

    init(
        _ model: Model, _ snapshot: WeightsSnapshot, _ decoder: StackWeights, inputs: [[Int32]],
        group: Range<Int>, options: GenerateOptions, banned: BannedPhrases?
    ) throws {
        self.model = model
        self.snapshot = snapshot
        self.group = group
        self.options = options
        let configuration = snapshot.configuration
        ends = options.ends(configuration)
        table = RuleTable(options, ends: ends, banned: banned)
        sources = Array(inputs[group])
        total = inputs.count
        rowsPerInput = options.numBeams > 1 ? options.numBeams : options.numReturnSequences
        let ragged = Ragged(lengths: sources.map(\.count))
        let pass = Pass(configuration, arena: arena, workers: model.workers)
        let encoded = try encode(sources.flatMap { $0 }, ragged, snapshot.network, pass)
        cache = try DecoderCache(
            snapshot, decoder, encoder: encoded, slotsPerSource: rowsPerInput,
            longest: options.maxNewTokens, workers: model.workers)
        let rows = rowsPerInput
        searches = group.enumerated().map { slot, input in
            InputSearch(
                prefix: options.prefixes.isEmpty ? options.prefix : options.prefixes[input],
                start: configuration.decoderStartTokenID, slots: slot * rows..<(slot + 1) * rows,
                options: options)
        }
        streams = group.map { _ in TextStream() }
    }

    /// - Returns: false if a callback stopped it.
    func run() throws -> Bool {
        var done = 0
        // Every turn writes at least one id of every output.
        for _ in 0..<options.maxNewTokens {
            let rows = activeRows()
            if rows.isEmpty { break }
            var goesOn = try step(rows, guesses(rows))
            let nowDone = searches.count(where: \.isDone)
            if goesOn, nowDone > done, let onProgress = options.onProgress {
                goesOn = onProgress(group.lowerBound + nowDone, total)
                done = nowDone
            }
            guard goesOn else {
                for index in searches.indices where !searches[index].isDone {
                    searches[index].stop()
                }
                return false
            }
        }
        return true
    }

    func results(_ slot: Int) -> [Hypothesis] { searches[slot].results(options) }

    private func activeRows() -> [ActiveRow] {
        searches.indices.filter { !searches[$0].isDone }.flatMap { input in
            let search = searches[input]
            return search.pools.indices.filter { !search.pools[$0].isDone }.flatMap { pool in
                search.pools[pool].running.indices.map {
                    ActiveRow(
                        input: input, pool: pool, index: $0, beam: search.pools[pool].running[$0])
                }
            }
        }
    }

    /// Chooses the next token of every row.
    func advance(_ rows: [ActiveRow], _ found: StepRows) throws -> Bool {
        if usesBeams {
            model.workers.forEach(rows.count) { row in
                let values = found.logits[found.indices[row]]
                let normalizer = logSumExp(values)
                for index in values.indices { values[index] -= normalizer }
            }
        }
        var chosen = [[Candidate]](repeating: [], count: rows.count)
        for input in Set(rows.map(\.input)) {
            searches[input].beginStep(options, padTokenID: snapshot.configuration.padTokenID)
        }
        for pool in 0..<max(options.numBeamGroups, 1) {
            let part = rows.indices.filter { rows[$0].pool == pool || !usesBeams }
            guard !part.isEmpty else { continue }
            let values = part.map { found.logits[found.indices[$0]] }
            guard try applyRules(part.map { rows[$0] }, values, found.logits) else { return false }
            choose(rows, part, found, &chosen)
            try advancePools(rows, part, chosen)
        }
        cache.copy(Set(rows.map(\.input)).sorted().flatMap { searches[$0].assignSlots() })
        return try reportTokens(rows)
    }

    /// Applies rules, callbacks and, for beams, sampling filters.
    private func applyRules(
        _ rows: [ActiveRow], _ values: [UnsafeMutableBufferPointer<Float>],
        _ logits: Rows
    ) throws -> Bool {
        if !table.isEmpty || options.allowedTokens != nil {
            let contexts = rows.map { row in
                RowContext(
                    written: row.beam.written, source: sources[row.input],
                    otherTokens: searches[row.input].chosen(before: row.pool))
            }
            let free = rows.map { $0.position >= searches[$0.input].prefix.count }
            nonisolated(unsafe) let values = values
            let table = table
            model.workers.forEach(rows.count) { row in
                guard free[row] else { return }
                for rule in table.before { rule.apply(values[row], contexts[row]) }
            }
            if let allowed = options.allowedTokens {
                for (row, active) in rows.enumerated() where free[row] {
                    let prefix = Array(active.beam.written.dropFirst())
                    guard let ids = try allowed(group.lowerBound + active.input, prefix) else {
                        continue
                    }
                    keepOnly(ids, values[row])
                }
            }
            model.workers.forEach(rows.count) { row in
                guard free[row] else { return }
                for rule in table.after { rule.apply(values[row], contexts[row]) }
            }
        }
        guard let onLogits = options.onLogits, let first = values.first?.baseAddress else {
            return true
        }
        // Rows of one beam group are not next to each other: hand over a copy and take it back.
        let isWhole = rows.count == logits.count
        let view =
            isWhole ? logits : try arena.rows(rows.count, logits.width)
        if !isWhole {
            for (row, source) in values.enumerated() { _ = view[row].update(from: source) }
        }
        let goesOn = onLogits(
            LogitsStep(
                logits: isWhole ? first : view.base, vocabSize: logits.width,
                inputs: rows.map { group.lowerBound + $0.input },
                hypotheses: rows.map { $0.pool * options.beamsPerGroup + $0.index },
                prefixes: rows.map { Array($0.beam.written.dropFirst()) }))
        if !isWhole {
            for (row, target) in values.enumerated() { _ = target.update(from: view[row]) }
        }
        return goesOn
    }

    private func keepOnly(_ ids: [Int32], _ values: UnsafeMutableBufferPointer<Float>) {
        let kept = ids.map { ($0, values[Int($0)]) }
        values.update(repeating: -.infinity)
        for (id, value) in kept { values[Int(id)] = value }
    }

    /// The ways to continue each row of `part`.
    private func choose(
        _ rows: [ActiveRow], _ part: [Int], _ found: StepRows, _ chosen: inout [[Candidate]]
    ) {
        let forced = part.map { searches[rows[$0].input].prefix.element(rows[$0].position) }
        chosen.withUnsafeMutableBufferPointer { chosen in
            nonisolated(unsafe) let chosen = chosen
            let options = options, sources = sources
            let limit = candidateCount
            model.workers.forEach(part.count) { index in
                let row = rows[part[index]]
                let values = found.logits[found.indices[part[index]]]
                let chooser = RowChooser(
                    options: options, candidates: limit, ends: ends.count, step: row.position,
                    random: RandomNumbers(
                        seed: options.seed, source: options.doSample ? sources[row.input] : [],
                        hypothesis: row.beam.number))
                var detail = PositionDetail()
                detail.alternatives = chooser.alternatives(values)
                if let weights = found.weights {
                    detail.attention = Array(
                        weights[found.indices[part[index]]].prefix(sources[row.input].count))
                }
                chosen[part[index]] =
                    forced[index].map { chooser.forced($0, row, values) }
                    ?? chooser.choose(row, values)
                if !options.forceWords.isEmpty, forced[index] == nil {
                    let words = ForcedWords(runs: options.forceWords)
                    chosen[part[index]] += chooser.forced(
                        words.progress(of: row.beam.written.dropFirst()).next, row, values)
                }
                guard !detail.isEmpty else { return }
                for place in chosen[part[index]].indices {
                    chosen[part[index]][place].detail = detail
                }
            }
        }
    }

    /// How many candidates a pool looks at.
    private var candidateCount: Int { max(2, 1 + ends.count) * options.beamsPerGroup }

    func advancePools(
        _ rows: [ActiveRow], _ part: [Int], _ chosen: [[Candidate]]
    ) throws {
        var begin = 0
        while begin < part.count {
            let row = rows[part[begin]]
            var end = begin + 1
            while end < part.count, rows[part[end]].input == row.input,
                rows[part[end]].pool == row.pool
            {
                end += 1
            }
            var candidates = part[begin..<end].flatMap { chosen[$0] }
            if usesBeams, end - begin > 1 {
                // Each row's own are sorted; of equals, the better beam's come first.
                sortStably(&candidates) { $0.rank > $1.rank }
            }
            // Beams that have come far with what must be written are behind the others.
            if options.forceWords.isEmpty {
                candidates.removeLast(max(candidates.count - candidateCount, 0))
            }
            for index in candidates.indices {
                let beam = rows[part[begin + candidates[index].beam]].beam
                candidates[index].finish = try finish(beam, candidates[index].id)
            }
            let search = searches[row.input]
            searches[row.input].pools[row.pool].advance(
                candidates, length: max(row.position + 1 - search.prefix.count, 1))
            searches[row.input].noteChosen(row.pool)
            begin = end
        }
    }

    /// Whether a token ends its output.
    private func finish(_ beam: Beam, _ id: Int32) throws -> Finish? {
        if ends.contains(id) { return .end }
        if !options.stopStrings.isEmpty {
            let before = Array(beam.written.dropFirst())
            let text = try model.decode(before + [id])
            let size = commonPrefix(try model.decode(before), text)
            if options.stopStrings.contains(where: { completes($0, text, after: size) }) {
                return .stopped
            }
        }
        return beam.written.count >= options.maxNewTokens ? .length : nil
    }

    /// Whether `phrase` ends in `text` behind byte `size`.
    private func completes(_ phrase: [UInt8], _ text: [UInt8], after size: Int) -> Bool {
        guard text.count >= phrase.count else { return false }
        return (max(phrase.count, size + 1)...max(text.count, phrase.count, size + 1)).contains {
            $0 <= text.count && text[($0 - phrase.count)..<$0].elementsEqual(phrase)
        }
    }

    /// Hands what hypothesis 0 of each input has gained to the token callback.
    func reportTokens(_ rows: [ActiveRow]) throws -> Bool {
        guard let onToken = options.onToken, !usesBeams else { return true }
        for row in rows where row.pool == 0 {
            let pool = searches[row.input].pools[0]
            guard let beam = pool.finished.first?.beam ?? pool.running.first,
                let id = beam.written.last, let logProbability = beam.logProbabilities.last
            else { continue }
            let text = try streams[row.input].extend(
                Array(beam.written.dropFirst()), isLast: pool.isDone, decode: model.decode,
                settledCount: { model.tokenizer?.settledCount(of: $0) ?? $0.count })
            let token = TokenStep(
                input: group.lowerBound + row.input, id: id, logProbability: logProbability,
                text: text)
            guard onToken(token) else { return false }
        }
        return true
    }
}

extension [Int32] {
    fileprivate func element(_ index: Int) -> Int32? { index < count ? self[index] : nil }
}
