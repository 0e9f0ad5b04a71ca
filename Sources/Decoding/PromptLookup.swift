/// Guesses how an output goes on by looking its last ids up in its input: what stood behind
/// them there may follow here, too. The guesses are only ever used after the model has
/// confirmed them, so they change how fast an output is written and not what.
///
/// The rule is that of transformers' PromptLookupCandidateGenerator.
struct PromptLookup {
    let source: [Int32]
    /// The longest run of last ids that is looked up.
    let longestRun: Int

    /// - Returns: at most `most` ids; none if no run of last ids stands in the source.
    func guess(after written: [Int32], most: Int) -> [Int32] {
        guard most > 0 else { return [] }
        for size in stride(from: min(longestRun, written.count), to: 0, by: -1) {
            let run = written.suffix(size)
            var begin = 0
            while begin + size < source.count {
                if source[begin..<begin + size].elementsEqual(run) {
                    return Array(source[(begin + size)...].prefix(most))
                }
                begin += 1
            }
        }
        return []
    }
}
