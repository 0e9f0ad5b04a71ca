import CUnsay
import Support

/// Memory for one forward or backward pass.
///
/// Rows are handed out one after the other from slabs, which are kept when the arena is reset:
/// passes like the ones before allocate nothing. What was handed out is valid until the arena is rewound
/// before it, reset or freed. For one thread at a time.
package final class Arena {
    /// A place to rewind to.
    package struct Mark {
        fileprivate let slab: Int
        fileprivate let used: Int
    }

    private var slabs: [FloatBuffer] = []
    /// The slab in use, and the floats used of it.
    private var slab = 0
    private var used = 0
    /// Floats in the slabs before the one in use.
    private var filled = 0
    private var peak = 0

    package init() {}

    /// Rows of `width` floats, one directly after the other, from a 64-byte boundary on.
    ///
    /// - Throws: `UNSAY_E_MEMORY` if the memory cannot be had; the arena is as before.
    package func rows(_ count: Int, _ width: Int, zeroed: Bool = false) throws -> Rows {
        let (floats, overflow) = count.multipliedReportingOverflow(by: width)
        guard !overflow, floats >= 0, floats < Int.max / 8 else {
            throw Failure(UNSAY_E_MEMORY, "no memory for \(count) rows of \(width) floats")
        }
        let base = try take((floats + 15) / 16 * 16)
        let rows = Rows(base: base, count: count, width: width)
        if zeroed { base.update(repeating: 0, count: floats) }
        return rows
    }

    package func mark() -> Mark { Mark(slab: slab, used: used) }

    /// Takes back everything handed out since `mark`.
    package func rewind(to mark: Mark) {
        filled = slabs.prefix(mark.slab).reduce(0) { $0 + $1.count }
        slab = mark.slab
        used = mark.used
    }

    /// Makes room for so many bytes at once, in place of what there is; takes back everything.
    /// Memory that is never used is never touched.
    ///
    /// - Throws: `UNSAY_E_MEMORY`; the arena is as before, but empty.
    package func reserve(bytes: Int) throws {
        reset()
        let floats = bytes / 4
        guard floats > slabs.reduce(0, { $0 + $1.count }) else { return }
        slabs = []
        slabs = [try FloatBuffer(count: max(floats, Self.smallestSlab))]
    }

    /// Takes back everything. Several slabs become one that holds what was ever in use at once,
    /// so that nothing is lost at their ends.
    package func reset() {
        filled = 0
        slab = 0
        used = 0
        guard slabs.count > 1 else { return }
        let size = max(peak, Self.smallestSlab)
        slabs = []
        peak = 0
        if let whole = try? FloatBuffer(count: size) { slabs = [whole] }
    }

    /// The most memory that was in use at once.
    package var peakBytes: Int { peak * 4 }

    private func take(_ floats: Int) throws -> UnsafeMutablePointer<Float> {
        while slab < slabs.count, floats > slabs[slab].count - used {
            filled += slabs[slab].count
            slab += 1
            used = 0
        }
        if slab == slabs.count {
            slabs.append(try FloatBuffer(count: max(floats, Self.smallestSlab)))
        }
        let base = slabs[slab].base + used
        used += floats
        peak = max(peak, filled + used)
        return base
    }

    /// 4 MB.
    private static let smallestSlab = 1 << 20
}
