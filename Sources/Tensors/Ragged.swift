/// Which rows belong to which sequence of a ragged batch.
///
/// Sequence s has rows `offsets[s]..<offsets[s + 1]`: no row is padding.
package struct Ragged: Sendable {
    package let offsets: [Int]

    package init(lengths: [Int]) {
        var offsets = [0]
        offsets.reserveCapacity(lengths.count + 1)
        var total = 0
        for length in lengths {
            total += length
            offsets.append(total)
        }
        self.offsets = offsets
    }

    /// The sequences.
    package var count: Int { offsets.count - 1 }

    /// The rows of all sequences.
    package var total: Int { offsets[count] }

    /// The rows of the longest sequence; 0 if there is none.
    package var longest: Int {
        (0..<count).reduce(0) { max($0, offsets[$1 + 1] - offsets[$1]) }
    }

    package func range(_ sequence: Int) -> Range<Int> {
        offsets[sequence]..<offsets[sequence + 1]
    }

    /// The sequence that row `row` belongs to.
    package func sequence(of row: Int) -> Int {
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if offsets[middle] <= row { low = middle } else { high = middle }
        }
        return low
    }
}
