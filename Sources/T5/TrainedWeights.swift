import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// The weights that a session trains, in one flat array that an optimizer runs over, and the
/// network that they make together with those it leaves alone.
package final class TrainedWeights: Sendable {
    package let layout: TrainedLayout
    package let values: FloatBuffer
    /// Views of `values` and of the snapshot's memory; valid as long as this object.
    package let network: Network
    /// Holds the weights that are not trained, and those that factors are added to.
    private let snapshot: WeightsSnapshot
    /// Plain copies of untrained weights that stand side by side with trained ones.
    private let copies: [FloatBuffer]

    /// The snapshot's weights: factors make no change at first.
    ///
    /// - Parameter seed: of the first factors, which are drawn uniformly from within
    ///   ±1/sqrt(inputs), as PEFT has them; the second are 0.
    package init(_ layout: TrainedLayout, _ snapshot: WeightsSnapshot, seed: UInt64 = 0) throws {
        let values = try FloatBuffer(count: layout.flatCount, zeroed: true)
        var copies: [FloatBuffer] = []
        let views = SlotViews(layout) { values.base + layout.slots[$0].offset }
        network = try snapshot.network(
            projection: { indices, packed in
                let adapters = views.adapters(indices)
                if let chosen = views.chosen(indices) { return Projection(packed, chosen: chosen) }
                guard indices.contains(where: { layout.shares[$0].needsPlain }) else {
                    return Projection(packed, adapters: adapters)
                }
                let parts = try views.parts(indices) { index in
                    let parameter = layout.base.parameters[index]
                    let copy = try FloatBuffer(count: parameter.count)
                    snapshot.read(
                        index, into: UnsafeMutableBufferPointer(start: copy.base, count: copy.count)
                    )
                    copies.append(copy)
                    return Rows(base: copy.base, count: parameter.rows, width: parameter.columns)
                }
                return Projection(parts, adapters: adapters)
            },
            table: { index, rows in views.whole(index) ?? rows })
        self.layout = layout
        self.values = values
        self.snapshot = snapshot
        self.copies = copies
        reset(seed: seed)
    }

    /// The floats of untrained weights that it holds once more.
    package var copiedCount: Int { copies.reduce(0) { $0 + $1.count } }

    /// What a snapshot has of the weights that a layout trains themselves, laid out likewise.
    ///
    /// - Parameter snapshot: of the layout's network; its head may be the embedding table where
    ///   the layout's is not.
    package static func values(
        _ layout: TrainedLayout, of snapshot: WeightsSnapshot
    ) throws -> FloatBuffer {
        let values = try FloatBuffer(count: layout.flatCount, zeroed: true)
        let snapshot = layout.base.ownHead == nil ? snapshot : snapshot.withOwnHead
        for index in layout.shares.indices { read(index, layout, snapshot, into: values) }
        return values
    }

    private static func read(
        _ index: Int, _ layout: TrainedLayout, _ snapshot: WeightsSnapshot,
        into values: FloatBuffer
    ) {
        switch layout.shares[index] {
        case .frozen, .factors: break
        case .whole(let slot):
            let slot = layout.slots[slot]
            snapshot.read(
                index,
                into: UnsafeMutableBufferPointer(
                    start: values.base + slot.offset, count: slot.count))
        case .rows(let slot, let ids):
            let slot = layout.slots[slot]
            for (row, id) in ids.enumerated() {
                snapshot.read(
                    index, rows: Int(id)..<Int(id) + 1,
                    into: values.base + slot.offset + row * slot.columns)
            }
        }
    }

    /// Returns to the snapshot's weights.
    package func reset(seed: UInt64) {
        for (index, share) in layout.shares.enumerated() {
            switch share {
            case .frozen: break
            case .whole, .rows: Self.read(index, layout, snapshot, into: values)
            case .factors(let a, let b):
                let first = self.slot(a)
                let bound = 1 / Float(layout.slots[a].columns).squareRoot()
                let key = mixed(seed, UInt64(index))
                for i in first.indices {
                    let unit = Float(mixed(key, UInt64(i)) >> 40) / 16_777_216  // 2^24
                    first[i] = bound * (2 * unit - 1)
                }
                self.slot(b).update(repeating: 0)
            }
        }
    }

    /// Whether any bit differs from the snapshot's weights. Factors are a change unless the second
    /// ones are 0.
    ///
    /// - Throws: `UNSAY_E_MEMORY`.
    package func isChanged() throws -> Bool {
        for (index, share) in layout.shares.enumerated() {
            switch share {
            case .frozen: break
            case .whole(let place):
                let slot = layout.slots[place]
                let height = max(1, Self.comparedFloats / slot.columns)
                for first in stride(from: 0, to: slot.rows, by: height) {
                    let rows = first..<min(first + height, slot.rows)
                    if try differs(index, rows: rows, from: slot.offset + first * slot.columns) {
                        return true
                    }
                }
            case .rows(let place, let ids):
                let slot = layout.slots[place]
                for (row, id) in ids.enumerated() {
                    let rows = Int(id)..<Int(id) + 1
                    if try differs(index, rows: rows, from: slot.offset + row * slot.columns) {
                        return true
                    }
                }
            case .factors(_, let b):
                if slot(b).contains(where: { $0 != 0 }) { return true }
            }
        }
        return false
    }

    /// Floats that are compared at a time: 256 kB.
    private static let comparedFloats = 1 << 16

    /// Whether rows of the snapshot's weight differ from what lies at `offset` of `values`.
    private func differs(_ index: Int, rows: Range<Int>, from offset: Int) throws -> Bool {
        let count = rows.count * layout.base.parameters[index].columns
        let old = try FloatBuffer(count: count)
        snapshot.read(index, rows: rows, into: old.base)
        return memcmp(old.base, values.base + offset, 4 * count) != 0
    }

    /// Takes over the trained rows of the same weights from a layout with fewer of them.
    package func takeRows(from other: TrainedWeights) {
        for (index, share) in layout.shares.enumerated() {
            guard case .rows(let slot, let ids) = share,
                case .rows(let from, let known) = other.layout.shares[index]
            else { continue }
            let width = layout.slots[slot].columns
            for (row, id) in ids.enumerated() {
                guard let place = known.firstIndex(of: id) else { continue }
                (values.base + layout.slots[slot].offset + row * width).update(
                    from: other.values.base + other.layout.slots[from].offset + place * width,
                    count: width)
            }
        }
    }

    private func slot(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
        let slot = layout.slots[index]
        return UnsafeMutableBufferPointer(start: values.base + slot.offset, count: slot.count)
    }

    /// The factors that change a weight, if factors do.
    package func factors(_ index: Int) -> LowRank? {
        guard case .factors(let a, let b) = layout.shares[index] else { return nil }
        return LowRank(
            a: Array(slot(a)), b: slot(b).map { layout.scale * $0 }, rank: layout.rank)
    }

    /// Writes weight `index` of the network, as it is now, row-major: with factors merged.
    package func read(_ index: Int, into out: UnsafeMutableBufferPointer<Float>) {
        if case .whole(let slot) = layout.shares[index] {
            _ = out.update(from: self.slot(slot))
            return
        }
        snapshot.read(index, into: out)
        if case .rows(let slot, let ids) = layout.shares[index], let base = out.baseAddress {
            let slot = layout.slots[slot]
            for (row, id) in ids.enumerated() {
                (base + Int(id) * slot.columns).update(
                    from: values.base + slot.offset + row * slot.columns, count: slot.columns)
            }
        }
        factors(index)?.add(to: out)
    }
}

extension TrainedLayout.Share {
    /// Whether the network reads it from a plain copy.
    fileprivate var needsPlain: Bool {
        switch self {
        case .frozen, .factors, .rows: false
        case .whole: true
        }
    }
}
