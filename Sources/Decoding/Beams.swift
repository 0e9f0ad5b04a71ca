import Glibc

/// What is told of one id of an output beside its probability; empty unless asked for.
struct PositionDetail {
    /// The likeliest ids there and the logarithms of their probabilities, likeliest first.
    var alternatives: [Alternative] = []
    /// What the id was written by looking at, [ids of the input].
    var attention: [Float] = []

    var isEmpty: Bool { alternatives.isEmpty && attention.isEmpty }
}

/// A hypothesis while it is being written.
struct Beam {
    /// The start id, then the ids so far.
    var written: [Int32]
    /// Of every id after the start, [written.count - 1].
    var logProbabilities: [Float] = []
    /// The scores of the ids after the prefix, summed.
    var sum: Float = 0
    /// Where the decoder's cache keeps it.
    var slot: Int
    /// How it ended, once it has.
    var finish = Finish.length
    /// Whose random numbers it draws: its number among the hypotheses of its input.
    var number = 0
    /// Of every id after the start, if asked for.
    var details: [PositionDetail] = []

    func hypothesis(score: Float) -> Hypothesis {
        Hypothesis(
            ids: Array(written.dropFirst()), logProbabilities: logProbabilities, score: score,
            finish: finish, alternatives: details.flatMap(\.alternatives),
            crossAttention: details.flatMap(\.attention))
    }

    /// This one with one more token.
    func extended(by candidate: Candidate) -> Beam {
        var next = self
        next.written.append(candidate.id)
        next.logProbabilities.append(candidate.logProbability)
        next.sum = candidate.total
        if !candidate.detail.isEmpty { next.details.append(candidate.detail) }
        return next
    }
}

/// A way to continue a beam, and what that makes of its sum.
struct Candidate {
    var beam: Int
    var id: Int32
    var logProbability: Float
    var total: Float
    /// What the candidates of several beams are sorted by: `total`, or a draw.
    var rank: Float
    /// How an output that ends with this token ends; nil if it goes on.
    var finish: Finish?
    var detail = PositionDetail()
}

/// When a pool of beams is done.
struct BeamEnding {
    let earlyStopping: EarlyStopping
    let lengthPenalty: Float
    /// The most ids after the prefix.
    let longest: Int

    /// A sum as a score. `length`: ids after the prefix.
    func score(_ sum: Float, length: Int) -> Float {
        sum / Float(pow(Double(length), Double(lengthPenalty)))
    }

    /// The best score that a beam with this sum is thought to reach.
    func attainable(_ sum: Float, length: Int) -> Float {
        score(sum, length: earlyStopping == .never && lengthPenalty > 0 ? longest : length)
    }
}

/// Beams of one input, or of one group of its beams, that compete with each other.
protocol BeamPool {
    /// Best first; those that the next step continues.
    var running: [Beam] { get set }
    var isDone: Bool { get }
    /// Finished hypotheses and their scores, best first.
    var finished: [(beam: Beam, score: Float)] { get }

    /// Takes one step.
    ///
    /// - Parameters:
    ///   - candidates: ways to continue, the best or the first drawn first.
    ///   - length: ids after the prefix that they make.
    mutating func advance(_ candidates: [Candidate], length: Int)
}

/// Beam search as transformers has it since 4.50.
struct CompetingBeams: BeamPool {
    private let count: Int
    private let ending: BeamEnding
    var running: [Beam]
    private(set) var finished: [(beam: Beam, score: Float)] = []
    private(set) var isDone = false
    private var mayImprove = true

    init(_ start: Beam, count: Int, ending: BeamEnding) {
        running = [start]
        self.count = count
        self.ending = ending
    }

    mutating func advance(_ candidates: [Candidate], length: Int) {
        let isFull = finished.count == count
        // Beyond the first `count`, candidates only stand in for those that finished.
        for candidate in candidates.prefix(count) {
            guard let finish = candidate.finish, mayImprove,
                !(isFull && ending.earlyStopping == .yes)
            else { continue }
            var beam = running[candidate.beam].extended(by: candidate)
            beam.finish = finish
            finished.append((beam, ending.score(candidate.total, length: length)))
        }
        sortStably(&finished) { $0.score > $1.score }
        finished.removeLast(max(finished.count - count, 0))
        var going = candidates.filter { $0.finish == nil }
        sortStably(&going) { $0.total > $1.total }
        running = going.prefix(count).map {
            running[$0.beam].extended(by: $0)
        }
        guard let best = running.first else {
            isDone = true
            return
        }
        if finished.count == count, let worst = finished.last {
            mayImprove =
                mayImprove && ending.attainable(best.sum, length: length) > worst.score
            isDone = !mayImprove || ending.earlyStopping == .yes
        }
    }
}

/// One group of diverse beam search, as transformers had it until 4.49 and has kept it since
/// outside the library.
struct GroupedBeams: BeamPool {
    private let count: Int
    private let ending: BeamEnding
    var running: [Beam]
    private(set) var finished: [(beam: Beam, score: Float)] = []
    private(set) var isDone = false

    init(_ start: Beam, count: Int, ending: BeamEnding) {
        running = [start]
        self.count = count
        self.ending = ending
    }

    mutating func advance(_ candidates: [Candidate], length: Int) {
        var next: [Beam] = []
        for (rank, candidate) in candidates.enumerated() where next.count < count {
            var beam = running[candidate.beam].extended(by: candidate)
            if candidate.finish == .end || candidate.finish == .stopped {
                guard rank < count else { continue }
                beam.finish = candidate.finish ?? .end
                add(beam, length: length)
            } else {
                next.append(beam)
            }
        }
        running = next
        let best = candidates.map(\.total).max() ?? -.infinity
        if finished.count == count, let worst = finished.last {
            isDone =
                ending.earlyStopping == .yes
                || worst.score >= ending.attainable(best, length: length)
        }
        // At full length what is still running competes as it is.
        if !isDone, length == ending.longest {
            for beam in running { add(beam, length: length) }
            isDone = true
        }
        if running.isEmpty { isDone = true }
    }

    private mutating func add(_ beam: Beam, length: Int) {
        let score = ending.score(beam.sum, length: length)
        if finished.count == count, let worst = finished.last, score <= worst.score { return }
        finished.append((beam, score))
        sortStably(&finished) { $0.score > $1.score }
        finished.removeLast(max(finished.count - count, 0))
    }
}

/// Sorts; what is equal keeps its order.
func sortStably<Element>(
    _ elements: inout [Element], _ comesFirst: (Element, Element) -> Bool
) {
    elements = elements.enumerated().sorted {
        comesFirst($0.element, $1.element)
            || (!comesFirst($1.element, $0.element) && $0.offset < $1.offset)
    }.map(\.element)
}
