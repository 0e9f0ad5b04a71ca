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
