import T5

/// A row of a step: one running beam.
struct ActiveRow: Sendable {
    /// Within the group.
    let input: Int
    let pool: Int
    /// Its rank in the pool.
    let index: Int
    let beam: Beam

    /// How many ids have been written.
    var position: Int { beam.written.count - 1 }
}

extension GenerateOptions {
    /// The ids that end an output.
    func ends(_ configuration: T5Configuration) -> [Int32] {
        eosTokenIDs.isEmpty ? configuration.eosTokenIDs : eosTokenIDs
    }

    var beamsPerGroup: Int { numBeams / max(numBeamGroups, 1) }
}

/// How far the search for one input's outputs has come.
struct InputSearch {
    let prefix: [Int32]
    private let slots: Range<Int>
    var pools: [any BeamPool]
    /// Ids guessed from the input, and those of them that were written.
    var drafted = 0
    var accepted = 0
    /// What each pool has chosen in this step; padding for those that were done before it.
    private var chosenNow: [[Int32]] = []

    var isDone: Bool { pools.allSatisfy(\.isDone) }

    init(prefix: [Int32], start: Int32, slots: Range<Int>, options: GenerateOptions) {
        self.prefix = prefix
        self.slots = slots
        let ending = BeamEnding(
            earlyStopping: options.earlyStopping, lengthPenalty: options.lengthPenalty,
            longest: max(options.maxNewTokens - prefix.count, 1))
        let beams = slots.indices.map { slot in
            Beam(written: [start], slot: slot, number: slot - slots.lowerBound)
        }
        if options.numBeamGroups > 1 {
            let size = options.beamsPerGroup
            pools = (0..<options.numBeamGroups).map {
                GroupedBeams(beams[$0 * size], count: size, ending: ending)
            }
        } else if !options.forceWords.isEmpty {
            let words = ForcedWords(runs: options.forceWords)
            pools = [
                ConstrainedBeams(beams[0], count: options.numBeams, ending: ending, words: words)
            ]
        } else if options.numBeams > 1 {
            pools = [CompetingBeams(beams[0], count: options.numBeams, ending: ending)]
        } else {
            pools = beams.map { SingleRow($0) }
        }
    }

    /// To be called before the pools choose, one after the other.
    mutating func beginStep(_ options: GenerateOptions, padTokenID: Int32) {
        guard pools.count > 1, options.numBeamGroups > 1 else { return }
        let padding = [Int32](repeating: padTokenID, count: options.beamsPerGroup)
        chosenNow = pools.map { $0.isDone ? padding : [] }
    }

    /// Remembers what pool `index` has just chosen, for the groups after it.
    mutating func noteChosen(_ index: Int) {
        guard !chosenNow.isEmpty else { return }
        chosenNow[index] = pools[index].running.compactMap(\.written.last)
    }

    /// What the groups before pool `index` have chosen in this step.
    func chosen(before index: Int) -> [Int32] {
        chosenNow.prefix(index).flatMap { $0 }
    }

    /// Gives every running beam a slot of its own: the first of those that continue a beam
    /// keeps its slot.
    ///
    /// - Returns: what the cache has to copy, from slot to slot.
    mutating func assignSlots() -> [(from: Int, to: Int)] {
        var taken: Set<Int> = []
        var homeless: [(pool: Int, index: Int)] = []
        for pool in pools.indices where !pools[pool].isDone {
            for index in pools[pool].running.indices
            where !taken.insert(pools[pool].running[index].slot).inserted {
                homeless.append((pool, index))
            }
        }
        var free = slots.filter { !taken.contains($0) }[...]
        return homeless.compactMap { pool, index in
            guard let slot = free.popFirst() else { return nil }
            let from = pools[pool].running[index].slot
            pools[pool].running[index].slot = slot
            return (from, slot)
        }
    }

    /// A callback stopped it: what is running is the result.
    mutating func stop() {
        for pool in pools.indices where !pools[pool].isDone {
            for index in pools[pool].running.indices {
                pools[pool].running[index].finish = .stopped
            }
        }
    }

    /// The hypotheses asked for, best first.
    func results(_ options: GenerateOptions) -> [Hypothesis] {
        var all = pools.flatMap(\.finished)
        if options.numBeams > 1 { sortStably(&all) { $0.score > $1.score } }
        var results = all.prefix(options.numReturnSequences).map {
            $0.beam.hypothesis(score: $0.score)
        }
        if results.count < options.numReturnSequences {
            // Stopped before anything was finished.
            let running = pools.filter { !$0.isDone }.flatMap(\.running)
            results += running.prefix(options.numReturnSequences - results.count).map {
                $0.hypothesis(score: $0.logProbabilities.reduce(0, +))
            }
        }
        if results.isEmpty { results = [Hypothesis()] }
        results[0].drafted = drafted
        results[0].accepted = accepted
        return results
    }
}

/// A row that competes with nothing: greedy decoding, or one draw.
struct SingleRow: BeamPool {
    var running: [Beam]
    private(set) var finished: [(beam: Beam, score: Float)] = []
    var isDone: Bool { !finished.isEmpty }

    init(_ start: Beam) { running = [start] }

    mutating func advance(_ candidates: [Candidate], length: Int) {
        guard let next = candidates.first, !running.isEmpty else { return }
        running[0] = running[0].extended(by: next)
        guard let finish = next.finish else { return }
        running[0].finish = finish
        finished = [(running[0], running[0].logProbabilities.reduce(0, +))]
        running = []
    }
}
