import Tensors

/// The slots of a trained layout as rows, wherever each of them lies.
struct SlotViews {
    private let layout: TrainedLayout
    private let start: (_ slot: Int) -> UnsafeMutablePointer<Float>

    init(_ layout: TrainedLayout, start: @escaping (_ slot: Int) -> UnsafeMutablePointer<Float>) {
        self.layout = layout
        self.start = start
    }

    private func rows(_ slot: Int) -> Rows {
        Rows(base: start(slot), count: layout.slots[slot].rows, width: layout.slots[slot].columns)
    }

    /// nil if the weight is not trained as a whole.
    func whole(_ index: Int) -> Rows? {
        if case .whole(let slot) = layout.shares[index] { rows(slot) } else { nil }
    }

    /// Weights side by side, those that are trained and lie one after the other as one: products
    /// then read their input once.
    ///
    /// - Parameter other: stands for a weight that is not trained as a whole.
    func parts(_ indices: [Int], other: (_ index: Int) throws -> Rows) rethrows -> [Rows] {
        var parts: [Rows] = []
        var follows = false
        for index in indices {
            guard let own = whole(index) else {
                parts.append(try other(index))
                follows = false
                continue
            }
            if follows, let last = parts.last, last.width == own.width,
                last.base + last.count * last.width == own.base
            {
                parts[parts.count - 1] = Rows(
                    base: last.base, count: last.count + own.count, width: own.width)
            } else {
                parts.append(own)
            }
            follows = true
        }
        return parts
    }

    /// The rows that are trained of a table that stands alone.
    func chosen(_ indices: [Int]) -> ChosenRows? {
        guard case .rows(let slot, let ids) = layout.shares[indices[0]] else { return nil }
        return ChosenRows(ids: ids, rows: rows(slot))
    }

    /// Of weights side by side.
    func adapters(_ indices: [Int]) -> [Adapter] {
        var first = 0
        return indices.compactMap { index in
            let outputs = first..<first + layout.base.parameters[index].rows
            first = outputs.upperBound
            guard case .factors(let a, let b) = layout.shares[index] else { return nil }
            return Adapter(outputs: outputs, a: rows(a), b: rows(b), scale: layout.scale)
        }
    }
}
