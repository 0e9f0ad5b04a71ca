/// A view of rows of floats in memory that somebody else owns and keeps alive.
///
/// Shapes are `[count, width]`; a row begins `stride` floats after the one before it. Whoever
/// shares rows between threads decides who writes when.
package struct Rows: @unchecked Sendable {
    package let base: UnsafeMutablePointer<Float>
    package let count: Int
    package let width: Int
    package let stride: Int

    /// - Parameter stride: floats from one row to the next; `width` unless given.
    package init(base: UnsafeMutablePointer<Float>, count: Int, width: Int, stride: Int? = nil) {
        self.base = base
        self.count = count
        self.width = width
        self.stride = stride ?? width
        assert(count >= 0 && width >= 0 && self.stride >= width, "rows may not overlap")
    }

    package var isEmpty: Bool { count == 0 }

    /// Where they begin; nil if there are none.
    package var ifAny: UnsafeMutablePointer<Float>? { isEmpty ? nil : base }

    /// The rows in `range`.
    package func rows(_ range: Range<Int>) -> Rows {
        assert(range.lowerBound >= 0 && range.upperBound <= count, "\(range) of \(count) rows")
        return Rows(
            base: base + range.lowerBound * stride, count: range.count, width: width, stride: stride
        )
    }

    /// The columns in `range` of every row.
    package func columns(_ range: Range<Int>) -> Rows {
        assert(range.lowerBound >= 0 && range.upperBound <= width, "\(range) of \(width) columns")
        return Rows(base: base + range.lowerBound, count: count, width: range.count, stride: stride)
    }

    package subscript(row: Int) -> UnsafeMutableBufferPointer<Float> {
        assert(row >= 0 && row < count, "row \(row) of \(count)")
        return UnsafeMutableBufferPointer(start: base + row * stride, count: width)
    }

    /// Overwrites every element.
    package func fill(_ value: Float) {
        for row in 0..<count { self[row].update(repeating: value) }
    }

    /// Overwrites every element with `source`'s, which has the same shape.
    package func copy(from source: Rows) {
        assert(source.count == count && source.width == width, "rows of the same shape")
        for row in 0..<count {
            (base + row * stride).update(from: source.base + row * source.stride, count: width)
        }
    }
}
