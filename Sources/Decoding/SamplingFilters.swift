import Glibc
import Tensors

/// The options that narrow a distribution before a token is drawn from it, applied in the
/// order of the fields. Defaults change nothing.
package struct SamplingFilters: Sendable {
    package var temperature: Float = 1
    /// 0 for all.
    package var topK = 0
    package var topP: Float = 1
    package var minP: Float = 0
    package var typicalP: Float = 1
    package var epsilonCutoff: Float = 0
    package var etaCutoff: Float = 0

    package init() {}

    /// Divides by the temperature and sets what is left out to -inf.
    ///
    /// - Parameters:
    ///   - values: logits of one row, [vocab_size].
    ///   - keeping: at least this many of the likeliest stay.
    package func apply(_ values: UnsafeMutableBufferPointer<Float>, keeping: Int) {
        if temperature != 1 { for index in values.indices { values[index] /= temperature } }
        if topK > 0, max(topK, keeping) < values.count {
            remove(values, below: kthLargest(values, max(topK, keeping)))
        }
        if topP < 1 { keepNucleus(values, keeping) }
        if minP > 0 {
            // p < minP * largest p, in logarithms.
            let largest = values[largestIndex(values)]
            let limit = largest + log(minP)
            remove(values, below: min(limit, kthLargest(values, keeping)))
        }
        if typicalP < 1 { keepTypical(values, keeping) }
        if epsilonCutoff > 0 {
            let limit = log(epsilonCutoff) + logSumExp(values)
            remove(values, below: min(limit, kthLargest(values, keeping)))
        }
        if etaCutoff > 0 {
            let eta = min(etaCutoff, etaCutoff.squareRoot() * exp(-entropy(values)))
            let limit = log(eta) + logSumExp(values)
            remove(values, below: min(limit, kthLargest(values, keeping)))
        }
    }

    private func remove(_ values: UnsafeMutableBufferPointer<Float>, below limit: Float) {
        for index in values.indices where values[index] < limit { values[index] = -.infinity }
    }

    /// The likeliest tokens until their probabilities reach `topP`.
    private func keepNucleus(_ values: UnsafeMutableBufferPointer<Float>, _ keeping: Int) {
        let normalizer = logSumExp(values)
        // All tokens below (1 - topP) / count have less than 1 - topP together, so none of
        // them belongs to the nucleus: only the rest needs sorting.
        let floor = log((1 - topP) / Float(values.count)) + normalizer
        var likely = values.indices.filter { values[$0] >= floor }
        if likely.count < keeping { likely = Array(values.indices) }
        likely.sort { (values[$0], $1) > (values[$1], $0) }
        var kept = 0
        var total: Float = 0
        // A token stays while the likelier ones have less than topP.
        while kept < likely.count, kept < keeping || total < topP {
            total += exp(values[likely[kept]] - normalizer)
            kept += 1
        }
        keep(likely.prefix(kept), values)
    }

    /// The tokens whose surprise is nearest to the expected one, until they reach `typicalP`.
    private func keepTypical(_ values: UnsafeMutableBufferPointer<Float>, _ keeping: Int) {
        let normalizer = logSumExp(values)
        let expected = entropy(values)
        var order: [(distance: Float, index: Int)] = values.indices.compactMap {
            values[$0] == -.infinity ? nil : (abs(normalizer - values[$0] - expected), $0)
        }
        order.sort { ($0.distance, $0.index) < ($1.distance, $1.index) }
        guard !order.isEmpty else { return }
        var last = 0
        var total: Float = 0
        for (position, entry) in order.enumerated() {
            last = position
            total += exp(values[entry.index] - normalizer)
            if total >= typicalP { break }
        }
        // Ties with the last one stay.
        var kept = last + 1
        while kept < order.count, order[kept].distance <= order[last].distance { kept += 1 }
        kept = min(max(kept, keeping), order.count)
        keep(order.prefix(kept).map(\.index)[...], values)
    }

    private func keep(_ indices: ArraySlice<Int>, _ values: UnsafeMutableBufferPointer<Float>) {
        let kept = indices.map { ($0, values[$0]) }
        values.update(repeating: -.infinity)
        for (index, value) in kept { values[index] = value }
    }

    private func entropy(_ values: UnsafeMutableBufferPointer<Float>) -> Float {
        let normalizer = logSumExp(values)
        var total: Float = 0
        for value in values where value > -.infinity {
            total += exp(value - normalizer) * (normalizer - value)
        }
        return total
    }
}

/// The `count`-th largest value; -inf if there are fewer.
func kthLargest(_ values: UnsafeMutableBufferPointer<Float>, _ count: Int) -> Float {
    guard count <= values.count else { return -.infinity }
    var largest = Largest(count)
    for (index, value) in values.enumerated() where value > largest.floor {
        largest.add(value, index)
    }
    return largest.floor
}

/// The largest of many values: a heap of at most `limit`, its smallest on top.
struct Largest {
    private let limit: Int
    private var heap: [(value: Float, index: Int)] = []
    /// Values at or below it need not be added; -inf until there are `limit` values.
    private(set) var floor = -Float.infinity

    init(_ limit: Int) {
        self.limit = max(limit, 1)
        heap.reserveCapacity(self.limit)
    }

    /// Largest first; of equal values, the lower index first.
    var sorted: [(value: Float, index: Int)] { heap.sorted { Self.isBelow($1, $0) } }

    /// Of equal values those added first stay: add in ascending order of index.
    mutating func add(_ value: Float, _ index: Int) {
        if heap.count < limit {
            heap.append((value, index))
            var child = heap.count - 1
            while child > 0, Self.isBelow(heap[child], heap[(child - 1) / 2]) {
                heap.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
        } else {
            heap[0] = (value, index)
            var parent = 0
            while true {
                var lowest = parent
                for child in [2 * parent + 1, 2 * parent + 2]
                where child < limit && Self.isBelow(heap[child], heap[lowest]) {
                    lowest = child
                }
                if lowest == parent { break }
                heap.swapAt(parent, lowest)
                parent = lowest
            }
        }
        if heap.count == limit { floor = heap[0].value }
    }

    private static func isBelow(
        _ one: (value: Float, index: Int), _ other: (value: Float, index: Int)
    ) -> Bool {
        one.value != other.value ? one.value < other.value : one.index > other.index
    }
}
