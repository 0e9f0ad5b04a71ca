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
        let logProbabilities: UnsafeMutablePointer<Float>
        let count: Int
        let score: Float
        let finish: unsay_finish

        init(_ hypothesis: Hypothesis) {
            textSize = hypothesis.text.count
            text = .allocate(capacity: textSize + 1)
            for (index, byte) in hypothesis.text.enumerated() {
                text[index] = CChar(bitPattern: byte)
            }
            text[textSize] = 0
            count = hypothesis.ids.count
            ids = .allocate(capacity: max(count, 1))
            ids.update(from: hypothesis.ids, count: count)
            logProbabilities = .allocate(capacity: max(count, 1))
            logProbabilities.update(from: hypothesis.logProbabilities, count: count)
            score = hypothesis.score
            finish =
                switch hypothesis.finish {
                case .end: UNSAY_FINISH_END
                case .length: UNSAY_FINISH_LENGTH
                case .stopped: UNSAY_FINISH_STOPPED
                case .given: UNSAY_FINISH_GIVEN
                }
        }

        func deallocate() {
            text.deallocate()
            ids.deallocate()
            logProbabilities.deallocate()
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
            log_probabilities: UnsafePointer(entry.logProbabilities), id_count: entry.count,
            score: entry.score, finish: entry.finish)
    }
}
