/// Runs of ids that an output must hold, in any order, each whole.
///
/// How far an output has come is counted as in transformers' constrained beam search
/// (ConstraintListState): one run at a time, begun again when another id comes between.
struct ForcedWords: Sendable {
    let runs: [[Int32]]

    struct Progress {
        /// Ids of the runs that are there: whole runs, and the one that is being written.
        var bank = 0
        var isComplete = false
        /// The ids that go on with a run.
        var next: [Int32] = []
    }

    func progress(of written: ArraySlice<Int32>) -> Progress {
        var pending = runs
        var current: (run: [Int32], count: Int)?
        var done = 0
        for id in written {
            if let run = current {
                if run.run[run.count] == id {
                    current = (run.run, run.count + 1)
                } else {
                    pending.append(run.run)
                    current = nil
                }
            }
            if current == nil, let index = pending.firstIndex(where: { $0[0] == id }) {
                current = (pending.remove(at: index), 1)
            }
            if let run = current, run.count == run.run.count {
                done += run.run.count
                current = nil
            }
        }
        return Progress(
            bank: done + (current?.count ?? 0), isComplete: pending.isEmpty && current == nil,
            next: current.map { [$0.run[$0.count]] } ?? pending.map { $0[0] })
    }
}

/// Beam search for outputs that hold every run of `words`: of the beams with equally many ids
/// of them, the best go on, so that those which have come far are not crowded out (Post and
/// Vilar 2018; transformers' force_words_ids).
struct ConstrainedBeams: BeamPool {
    private let count: Int
    private let ending: BeamEnding
    private let words: ForcedWords
    var running: [Beam]
    private(set) var finished: [(beam: Beam, score: Float)] = []
    private(set) var isDone = false
    /// Outputs of full length that lack a run: results where too few have all.
    private var incomplete: [(beam: Beam, score: Float)] = []

    init(_ start: Beam, count: Int, ending: BeamEnding, words: ForcedWords) {
        running = [start]
        self.count = count
        self.ending = ending
        self.words = words
    }

    mutating func advance(_ candidates: [Candidate], length: Int) {
        var going: [(beam: Beam, bank: Int)] = []
        var seen = Set<[Int32]>()
        for candidate in candidates {
            var beam = running[candidate.beam].extended(by: candidate)
            guard seen.insert(beam.written).inserted else { continue }
            let isEnd = candidate.finish == .end
            let progress = words.progress(of: beam.written.dropFirst().dropLast(isEnd ? 1 : 0))
            guard let finish = candidate.finish else {
                going.append((beam, progress.bank))
                continue
            }
            beam.finish = finish
            let entry = (beam, ending.score(beam.sum, length: length))
            if progress.isComplete {
                add(entry, to: &finished)
            } else if finish == .length {
                add(entry, to: &incomplete)
            }
        }
        running = spread(going)
        guard let best = running.map(\.sum).max() else {
            isDone = true
            finished += incomplete.prefix(count - finished.count)
            return
        }
        guard finished.count == count, let worst = finished.last else { return }
        isDone =
            ending.earlyStopping == .yes
            || ending.attainable(best, length: length) <= worst.score
    }

    /// The best of each bank in turn, the fullest bank first.
    private func spread(_ going: [(beam: Beam, bank: Int)]) -> [Beam] {
        var banks = Dictionary(grouping: going, by: \.bank).sorted { $0.key > $1.key }.map {
            entry -> ArraySlice<Beam> in
            var beams = entry.value.map(\.beam)
            sortStably(&beams) { $0.sum > $1.sum }
            return beams[...]
        }
        var chosen: [Beam] = []
        while chosen.count < count, banks.contains(where: { !$0.isEmpty }) {
            for index in banks.indices where chosen.count < count {
                if let beam = banks[index].popFirst() { chosen.append(beam) }
            }
        }
        sortStably(&chosen) { $0.sum > $1.sum }
        return chosen
    }

    private func add(
        _ entry: (beam: Beam, score: Float), to list: inout [(beam: Beam, score: Float)]
    ) {
        list.append(entry)
        sortStably(&list) { $0.score > $1.score }
        list.removeLast(max(list.count - count, 0))
    }
}
