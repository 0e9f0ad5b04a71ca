import CKernels

/// What keys and values look like: how many heads, of which width, kept in what.
package struct KeyValueShape: Sendable {
    let heads: Int
    let dKV: Int
    /// float32 or bf16.
    let precision: Precision

    package init(heads: Int, dKV: Int, precision: Precision = .float32) {
        assert(precision != .int8, "no units are kept")
        (self.heads, self.dKV, self.precision) = (heads, dKV, precision)
    }

    /// The memory of so many positions, in floats.
    package func floats(_ capacity: Int) -> Int {
        heads * (keyFloats(capacity) + valueFloats(capacity))
    }

    func keyFloats(_ capacity: Int) -> Int { Panels.floats(capacity, dKV, precision) }

    func valueFloats(_ capacity: Int) -> Int { Panels.floats(dKV, capacity, precision) }

    /// The floats of a panel that is `depth` long.
    func panelFloats(_ depth: Int) -> Int {
        Panels.width * (precision == .bf16 ? (depth + 1) / 2 : depth)
    }
}

/// The keys and values of one sequence, of all heads, packed for `kernel_attention`: head after
/// head, the keys in panels of 32 positions, the values in panels of 32 columns.
///
/// A view of memory that somebody else owns.
package struct KeyValues: @unchecked Sendable {
    private let base: UnsafeMutablePointer<Float>
    let shape: KeyValueShape
    /// The positions there is room for.
    package let capacity: Int

    /// - Parameter base: `shape.floats(capacity)`.
    package init(base: UnsafeMutablePointer<Float>, _ shape: KeyValueShape, capacity: Int) {
        self.base = base
        self.shape = shape
        self.capacity = capacity
    }

    func keys(_ head: Int) -> UnsafeMutablePointer<Float> {
        base + head * shape.keyFloats(capacity)
    }

    func values(_ head: Int) -> UnsafeMutablePointer<Float> {
        base + shape.heads * shape.keyFloats(capacity) + head * shape.valueFloats(capacity)
    }

    /// The keys and values of a head for every position. k, v: `[capacity, heads * dKV]`.
    func fill(head: Int, k: Rows, v: Rows) {
        assert(k.count == capacity && v.count == capacity, "\(k.count) of \(capacity)")
        guard capacity > 0 else { return }
        let (dKV, precision) = (shape.dKV, shape.precision)
        let column = head * dKV
        Panels(keys(head), outputs: capacity, inputs: dKV, precision).clearPadding()
        kernel_pack(
            precision.kernel, k.base + column, k.stride, 1, 0, capacity, dKV, keys(head), nil)
        kernel_pack(
            precision.kernel, v.base + column, 1, v.stride, 0, dKV, capacity, values(head), nil)
    }

    /// One position's of one head. k, v: `[dKV]`.
    package func set(
        _ position: Int, head: Int, k: UnsafePointer<Float>, v: UnsafePointer<Float>
    ) {
        kernel_set_key_value(
            shape.precision.kernel, k, v, shape.dKV, position, capacity, keys(head), values(head))
    }

    /// Brings near what `set` of a head is going to write.
    func ask(_ position: Int, head: Int) {
        kernel_ask_key_value(
            shape.precision.kernel, shape.dKV, position, capacity, keys(head), values(head))
    }

    /// Zeroes all positions.
    package func clear() {
        base.update(repeating: 0, count: shape.floats(capacity))
    }

    /// Takes over the first `count` positions of another.
    package func copy(_ count: Int, from other: KeyValues) {
        for head in 0..<shape.heads {
            keys(head).update(
                from: other.keys(head), count: Panels.count(count) * shape.panelFloats(shape.dKV))
            for panel in 0..<Panels.count(shape.dKV) {
                (values(head) + panel * shape.panelFloats(capacity)).update(
                    from: other.values(head) + panel * shape.panelFloats(other.capacity),
                    count: shape.panelFloats(count))
            }
        }
    }

    /// Element d of a head's key at a position.
    func key(_ head: Int, _ position: Int, _ d: Int) -> Float {
        let (panel, column) = position.quotientAndRemainder(dividingBy: Panels.width)
        let start = keys(head) + panel * shape.panelFloats(shape.dKV) + column
        guard shape.precision == .bf16 else { return start[d * Panels.width] }
        let unit = start[d / 2 * Panels.width].bitPattern
        return Float(bitPattern: d % 2 == 0 ? unit << 16 : unit & 0xffff_0000)
    }
}

/// The keys and values of every sequence, packed; the floats are of `memory`.
///
/// - Parameters:
///   - k, v: `[key rows, heads * dKV]`.
///   - memory: `packedFloats`.
package func packKeyValues(
    k: Rows, v: Rows, _ keys: Ragged, _ shape: KeyValueShape,
    into memory: UnsafeMutablePointer<Float>, workers: Workers
) -> [KeyValues] {
    let all = keyValues(keys, shape, in: memory)
    fill(all, k: k, v: v, keys, shape, workers: workers)
    return all
}

/// Room for the keys and values of every sequence; the floats are of `memory`, `packedFloats`.
package func keyValues(
    _ keys: Ragged, _ shape: KeyValueShape, in memory: UnsafeMutablePointer<Float>
) -> [KeyValues] {
    var all: [KeyValues] = []
    var next = memory
    for sequence in 0..<keys.count {
        let count = keys.range(sequence).count
        all.append(KeyValues(base: next, shape, capacity: count))
        next += shape.floats(count)
    }
    return all
}

/// Packs the keys and values of every sequence. k, v: `[key rows, heads * dKV]`.
package func fill(
    _ all: [KeyValues], k: Rows, v: Rows, _ keys: Ragged, _ shape: KeyValueShape,
    workers: Workers
) {
    let (heads, dKV) = (shape.heads, shape.dKV)
    // A float takes about half a nanosecond.
    let smallest = max(1, 20_000 / max(keys.total / max(keys.count, 1) * dKV, 1))
    workers.split(keys.count * heads, smallest: smallest) { chunks in
        for chunk in chunks {
            let rows = keys.range(chunk / heads)
            all[chunk / heads].fill(head: chunk % heads, k: k.rows(rows), v: v.rows(rows))
        }
    }
}

/// What `packKeyValues` needs.
package func packedFloats(_ keys: Ragged, _ shape: KeyValueShape) -> Int {
    (0..<keys.count).reduce(0) { $0 + shape.floats(keys.range($1).count) }
}
