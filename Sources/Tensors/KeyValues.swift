import CKernels

/// The keys and values of one sequence, of all heads, packed for `kernel_attention`: head after
/// head, the keys in panels of 32 positions, the values in panels of 32 columns.
///
/// A view of memory that somebody else owns.
package struct KeyValues: @unchecked Sendable {
    private let base: UnsafeMutablePointer<Float>
    private let heads: Int
    private let dKV: Int
    /// The positions there is room for.
    package let capacity: Int

    package static func floats(heads: Int, dKV: Int, capacity: Int) -> Int {
        heads * (keyFloats(dKV, capacity) + valueFloats(dKV, capacity))
    }

    private static func keyFloats(_ dKV: Int, _ capacity: Int) -> Int {
        Panels.floats(capacity, dKV, .float32)
    }

    private static func valueFloats(_ dKV: Int, _ capacity: Int) -> Int {
        Panels.floats(dKV, capacity, .float32)
    }

    /// - Parameter base: `floats(heads:dKV:capacity:)`.
    package init(base: UnsafeMutablePointer<Float>, heads: Int, dKV: Int, capacity: Int) {
        self.base = base
        self.heads = heads
        self.dKV = dKV
        self.capacity = capacity
    }

    func keys(_ head: Int) -> UnsafeMutablePointer<Float> {
        base + head * Self.keyFloats(dKV, capacity)
    }

    func values(_ head: Int) -> UnsafeMutablePointer<Float> {
        base + heads * Self.keyFloats(dKV, capacity) + head * Self.valueFloats(dKV, capacity)
    }

    /// The keys and values of a head for every position. k, v: `[capacity, heads * dKV]`.
    func fill(head: Int, k: Rows, v: Rows) {
        assert(k.count == capacity && v.count == capacity, "\(k.count) of \(capacity)")
        guard capacity > 0 else { return }
        let column = head * dKV
        Panels(keys(head), outputs: capacity, inputs: dKV, .float32).clearPadding()
        kernel_pack(
            KERNEL_FLOAT32, k.base + column, k.stride, 1, 0, capacity, dKV, keys(head), nil)
        kernel_pack(
            KERNEL_FLOAT32, v.base + column, 1, v.stride, 0, dKV, capacity, values(head), nil)
    }

    /// One position's. k, v: `[1, heads * dKV]`.
    package func set(_ position: Int, k: Rows, v: Rows) {
        let width = Panels.width
        for head in 0..<heads {
            kernel_pack(
                KERNEL_FLOAT32, k.base + head * dKV, 0, 1, position, position + 1, dKV, keys(head),
                nil)
            let values = values(head)
            for first in stride(from: 0, to: dKV, by: width) {
                (values + first * capacity + position * width).update(
                    from: v.base + head * dKV + first, count: min(width, dKV - first))
            }
        }
    }

    /// Takes over the first `count` positions of another.
    package func copy(_ count: Int, from other: KeyValues) {
        let width = Panels.width
        for head in 0..<heads {
            keys(head).update(
                from: other.keys(head), count: Panels.count(count) * width * dKV)
            for first in stride(from: 0, to: dKV, by: width) {
                (values(head) + first * capacity).update(
                    from: other.values(head) + first * other.capacity, count: count * width)
            }
        }
    }

    /// Element d of a head's key at a position.
    func key(_ head: Int, _ position: Int, _ d: Int) -> Float {
        keys(head)[(position / Panels.width * dKV + d) * Panels.width + position % Panels.width]
    }
}

/// The keys and values of every sequence, packed; the floats are of `memory`.
///
/// - Parameters:
///   - k, v: `[key rows, heads * dKV]`.
///   - memory: `packedFloats`.
package func packKeyValues(
    k: Rows, v: Rows, _ keys: Ragged, heads: Int, into memory: UnsafeMutablePointer<Float>,
    workers: Workers
) -> [KeyValues] {
    let dKV = k.width / heads
    var packed: [KeyValues] = []
    var next = memory
    for sequence in 0..<keys.count {
        let count = keys.range(sequence).count
        packed.append(KeyValues(base: next, heads: heads, dKV: dKV, capacity: count))
        next += KeyValues.floats(heads: heads, dKV: dKV, capacity: count)
    }
    let all = packed
    // A float takes about half a nanosecond.
    let smallest = max(1, 20_000 / max(keys.total / max(keys.count, 1) * dKV, 1))
    workers.split(keys.count * heads, smallest: smallest) { chunks in
        for chunk in chunks {
            let rows = keys.range(chunk / heads)
            all[chunk / heads].fill(head: chunk % heads, k: k.rows(rows), v: v.rows(rows))
        }
    }
    return packed
}

/// What `packKeyValues` needs.
package func packedFloats(_ keys: Ragged, heads: Int, dKV: Int) -> Int {
    (0..<keys.count).reduce(0) {
        $0 + KeyValues.floats(heads: heads, dKV: dKV, capacity: keys.range($1).count)
    }
}
