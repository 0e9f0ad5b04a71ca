import CUnsay
import Decoding

/// What a `unsay_result` points at: outputs in memory that C can borrow.
final class ResultHandle: Sendable {
    /// One list for each input, best first.
    private nonisolated(unsafe) let entries: [[Entry]]

    private struct Entry {
        let text: UnsafeMutablePointer<CChar>
        let textSize: Int
        let ids: UnsafeMutablePointer<Int32>
        let logProbabilities: UnsafeMutablePointer<Float>?
        let count: Int
        let score: Float
        let finish: unsay_finish
        let alternativeIDs: UnsafeMutablePointer<Int32>
        let alternativeLogProbabilities: UnsafeMutablePointer<Float>
        /// Of each id.
        let alternativeCount: Int
        /// nil unless asked for.
        let crossAttention: UnsafeMutablePointer<Float>?
        let inputCount: Int
        let drafted: Int
        let accepted: Int

        init(_ hypothesis: Hypothesis) {
            textSize = hypothesis.text.count
            text = .allocate(capacity: textSize + 1)
            for (index, byte) in hypothesis.text.enumerated() {
                text[index] = CChar(bitPattern: byte)
            }
            text[textSize] = 0
            count = hypothesis.ids.count
            ids = Self.copy(hypothesis.ids)
            logProbabilities =
                hypothesis.logProbabilities.isEmpty ? nil : Self.copy(hypothesis.logProbabilities)
            score = hypothesis.score
            let alternatives = hypothesis.alternatives
            alternativeIDs = Self.copy(alternatives.map(\.id))
            alternativeLogProbabilities = Self.copy(alternatives.map(\.logProbability))
            alternativeCount = alternatives.count / max(count, 1)
            crossAttention =
                hypothesis.crossAttention.isEmpty ? nil : Self.copy(hypothesis.crossAttention)
            inputCount = hypothesis.crossAttention.count / max(count, 1)
            drafted = hypothesis.drafted
            accepted = hypothesis.accepted
            finish =
                switch hypothesis.finish {
                case .end: UNSAY_FINISH_END
                case .length: UNSAY_FINISH_LENGTH
                case .stopped: UNSAY_FINISH_STOPPED
                case .given: UNSAY_FINISH_GIVEN
                }
        }

        private static func copy<Element>(_ values: [Element]) -> UnsafeMutablePointer<Element> {
            let copy = UnsafeMutablePointer<Element>.allocate(capacity: max(values.count, 1))
            copy.initialize(from: values, count: values.count)
            return copy
        }

        func deallocate() {
            text.deallocate()
            ids.deallocate()
            logProbabilities?.deallocate()
            alternativeIDs.deallocate()
            alternativeLogProbabilities.deallocate()
            crossAttention?.deallocate()
        }
    }

    /// - Parameter hypotheses: of each input, best first.
    init(_ hypotheses: [[Hypothesis]]) {
        entries = hypotheses.map { $0.map { Entry($0) } }
    }

    deinit {
        for list in entries {
            for entry in list { entry.deallocate() }
        }
    }

    func count(_ input: Int) -> Int {
        entries.indices.contains(input) ? entries[input].count : 0
    }

    /// nil if there is no such input or rank.
    func hypothesis(_ input: Int, _ rank: Int) -> unsay_hypothesis? {
        guard entries.indices.contains(input), entries[input].indices.contains(rank) else {
            return nil
        }
        let entry = entries[input][rank]
        return unsay_hypothesis(
            struct_size: MemoryLayout<unsay_hypothesis>.size, text: UnsafePointer(entry.text),
            text_size: entry.textSize, ids: UnsafePointer(entry.ids),
            log_probabilities: entry.logProbabilities.map { UnsafePointer($0) },
            id_count: entry.count,
            score: entry.score, finish: entry.finish,
            alternative_ids: UnsafePointer(entry.alternativeIDs),
            alternative_log_probabilities: UnsafePointer(entry.alternativeLogProbabilities),
            alternative_count: entry.alternativeCount,
            cross_attention: entry.crossAttention.map { UnsafePointer($0) },
            input_id_count: entry.inputCount, drafted_count: Int32(clamping: entry.drafted),
            accepted_count: Int32(clamping: entry.accepted))
    }
}
