/// Splits normalised text into the pieces whose scores add up to the most.
///
/// The order of the sums, their precision (`Score`: single in libsentencepiece, double in the
/// `tokenizers` library) and the choice between equals are theirs, so that ids are the same
/// even where two splits tie.
struct UnigramSegmenter<Score: BinaryFloatingPoint & Sendable>: Sendable {
    /// One piece of the best split; `end` is exclusive.
    struct Part {
        var id: Int32
        var begin: Int
        var end: Int
    }

    /// The best way to get to a byte offset.
    private struct Arrival {
        var id: Int32 = 0
        var score: Score = 0
        /// Where its last piece begins; -1 if the offset has not been reached.
        var begin = -1
    }

    private let trie: PieceTrie
    private let scores: [Score]
    private let kinds: [SentencePieceModel.Kind]
    private let unknownID: Int32
    private let unknownScore: Score
    private let maxScore: Score

    /// All pieces are used, as `tokenizers` does.
    init(scores: [Score], trie: PieceTrie, unknownID: Int32) {
        self.trie = trie
        self.unknownID = unknownID
        self.scores = scores
        kinds = [SentencePieceModel.Kind](repeating: .normal, count: scores.count)
        unknownScore = (scores.min() ?? 0) - unknownPenalty()
        maxScore = scores.max() ?? 0
    }

    init(_ model: SentencePieceModel, trie: PieceTrie, unknownID: Int32) {
        self.trie = trie
        self.unknownID = unknownID
        scores = model.pieces.map { Score($0.score) }
        kinds = model.pieces.map(\.kind)
        let normal = model.pieces.filter { $0.kind == .normal }.map { Score($0.score) }
        unknownScore = (normal.min() ?? 0) - unknownPenalty()
        maxScore = normal.max() ?? 0
    }

    /// The parts of `text`, which is valid UTF-8, from its start to its end.
    func split(_ text: [UInt8]) -> [Part] { path(through: arrivals(in: text)) }

    private func arrivals(in text: [UInt8]) -> [Arrival] {
        var arrivals = [Arrival](repeating: Arrival(), count: text.count + 1)
        var start = 0
        while start < text.count {
            let score = arrivals[start].score
            let length = min(characterLength(text[start]), text.count - start)
            var hasWholeCharacter = false
            var node = PieceTrie.root
            var end = start
            while end < text.count {
                node = trie.step(node, text[end])
                if node == PieceTrie.none { break }
                end += 1
                let id = trie.id(at: node)
                guard id >= 0, kinds[Int(id)] != .unused else { continue }
                offer(
                    id, pieceScore(id, length: end - start) + score, start, &arrivals[end])
                if end - start == length { hasWholeCharacter = true }
            }
            if !hasWholeCharacter {
                offer(unknownID, unknownScore + score, start, &arrivals[start + length])
            }
            start += length
        }
        return arrivals
    }

    /// A user-defined piece beats whatever else its characters could be split into.
    private func pieceScore(_ id: Int32, length: Int) -> Score {
        guard kinds[Int(id)] == .userDefined else { return scores[Int(id)] }
        return Score(length) * maxScore - 0.1
    }

    private func offer(_ id: Int32, _ score: Score, _ begin: Int, _ arrival: inout Arrival) {
        guard arrival.begin < 0 || score > arrival.score else { return }
        arrival = Arrival(id: id, score: score, begin: begin)
    }

    private func path(through arrivals: [Arrival]) -> [Part] {
        var parts: [Part] = []
        var end = arrivals.count - 1
        while end > 0, arrivals[end].begin >= 0 {
            let arrival = arrivals[end]
            parts.append(Part(id: arrival.id, begin: arrival.begin, end: end))
            end = arrival.begin
        }
        return parts.reversed()
    }
}

/// What an unknown character costs more than the least likely piece, in both libraries.
private func unknownPenalty<Score: BinaryFloatingPoint>() -> Score { 10 }
