import CUnsay
import Support

/// Avoids the tokens of `output` that a shortest edit to `corrected` replaces or deletes;
/// `extent` holds for each run of edits by itself.
///
/// An edit replaces, deletes or inserts one token. Of several shortest edits the one counts
/// that agrees with `output` longest from the start: there the model went wrong. Where tokens
/// are only inserted, the token before which they belong is avoided, since the model should
/// not have written it there; beside a replaced or deleted token an insertion marks nothing
/// more. Both sides should end with the end-of-sequence id: it is avoided if the correction
/// goes on where the output ended.
///
/// - Throws: `UNSAY_E_ARGUMENT` if the parts that differ have more than 2^26 pairs of tokens;
///   `UNSAY_E_MEMORY`.
package func markDifference(
    output: [Int32], corrected: [Int32], extent: Extent
) throws -> [Int8] {
    var marks = [Int8](repeating: 1, count: output.count)
    let prefix = zip(output, corrected).prefix { $0 == $1 }.count
    let longest = min(output.count, corrected.count) - prefix
    let suffix = zip(output.reversed(), corrected.reversed()).prefix(longest).prefix { $0 == $1 }
        .count
    let old = output[prefix..<(output.count - suffix)]
    let new = corrected[prefix..<(corrected.count - suffix)]
    guard !old.isEmpty || !new.isEmpty else { return marks }

    let table = try EditTable(Array(old), Array(new))
    for run in table.runs() {
        if run.isEmpty {
            let place = prefix + run.lowerBound
            if place < output.count { avoid([place], extent, &marks) }
        } else {
            avoid(run.map { prefix + $0 }, extent, &marks)
        }
    }
    return marks
}

/// The costs of editing every tail of one sequence into every tail of another.
private struct EditTable {
    private let old: [Int32]
    private let new: [Int32]
    private let costs: Bytes

    init(_ old: [Int32], _ new: [Int32]) throws {
        self.old = old
        self.new = new
        let rows = old.count + 1, columns = new.count + 1
        let (pairs, overflows) = rows.multipliedReportingOverflow(by: columns)
        guard !overflows, pairs <= 1 << 26 else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(old.count) tokens differ from \(new.count): too many to find a shortest edit")
        }
        let size = pairs * MemoryLayout<Int32>.stride
        costs = try Bytes(capacity: size, purpose: "a table of edits") { out in
            let costs = out.bindMemory(to: Int32.self)
            for i in stride(from: old.count, through: 0, by: -1) {
                for j in stride(from: new.count, through: 0, by: -1) {
                    let at = i * columns + j
                    guard i < old.count, j < new.count else {
                        costs[at] = Int32(old.count - i + new.count - j)
                        continue
                    }
                    let both = costs[at + columns + 1]
                    costs[at] =
                        old[i] == new[j]
                        ? both : 1 + min(both, costs[at + columns], costs[at + 1])
                }
            }
            return size
        }
    }

    /// The runs of edits: the tokens of `old` that each replaces or deletes, empty where it
    /// only inserts.
    func runs() -> [Range<Int>] {
        costs.withBytes { bytes in
            let costs = bytes.bindMemory(to: Int32.self)
            func cost(_ i: Int, _ j: Int) -> Int32 { costs[i * (new.count + 1) + j] }
            var runs: [Range<Int>] = []
            var i = 0, j = 0
            var begin: Int?
            while i < old.count || j < new.count {
                if i < old.count, j < new.count, old[i] == new[j] {
                    if let start = begin { runs.append(start..<i) }
                    begin = nil
                    i += 1
                    j += 1
                    continue
                }
                if begin == nil { begin = i }
                let here = cost(i, j)
                if i < old.count, j < new.count, cost(i + 1, j + 1) == here - 1 {
                    i += 1
                    j += 1
                } else if i < old.count, cost(i + 1, j) == here - 1 {
                    i += 1
                } else {
                    j += 1
                }
            }
            if let start = begin { runs.append(start..<i) }
            return runs
        }
    }
}
