/// How the elements of a view lie in the array that it shows, through any sequence of Reshape,
/// Transpose, Expand and Slice: every axis of the view is counted through by factors, the
/// outermost first, each of which steps through the array by its stride.
///
/// Factors of one step are left out and neighbours that run on are joined, so that equal
/// layouts are equal values.
struct Layout: Hashable {
    struct Factor: Hashable {
        let count: Int
        let stride: Int
    }

    private(set) var axes: [[Factor]]
    private(set) var first = 0

    /// A whole array of that shape, row-major.
    init(_ shape: [Int]) {
        axes = zip(shape, rowMajorStrides(shape)).map {
            $0 == 1 ? [] : [Factor(count: $0, stride: $1)]
        }
    }

    private init(axes: [[Factor]], first: Int) {
        self.axes = axes.map(Self.joined)
        self.first = first
    }

    var shape: [Int] { axes.map { $0.reduce(1) { $0 * $1.count } } }
    var count: Int { axes.joined().reduce(1) { $0 * $1.count } }

    /// All factors as those of a single axis.
    var flat: [Factor] { Self.joined(Array(axes.joined())) }

    /// True if the elements are in the array's own order, whatever the shape is.
    var isWhole: Bool {
        let flat = flat
        return first == 0 && (flat.isEmpty || (flat.count == 1 && flat[0].stride == 1))
    }

    /// True if both show the same elements in the same order, whatever the shapes are.
    func showsSame(as other: Layout) -> Bool { first == other.first && flat == other.flat }

    /// Where elements lie in the array, by their index in the view's row-major order.
    func places(of indices: [Int]) -> [Int] {
        if isWhole { return indices }
        let inner = Array(flat.reversed())
        return indices.map { index in
            var (rest, place) = (index, first)
            for factor in inner {
                place += rest % factor.count * factor.stride
                rest /= factor.count
            }
            return place
        }
    }

    private static func joined(_ factors: [Factor]) -> [Factor] {
        var joined: [Factor] = []
        for factor in factors where factor.count != 1 {
            if let last = joined.last, last.stride == factor.count * factor.stride {
                joined[joined.count - 1] = Factor(
                    count: last.count * factor.count, stride: factor.stride)
            } else {
                joined.append(factor)
            }
        }
        return joined
    }

    func transposed(_ order: [Int]) -> Layout? {
        guard order.sorted() == Array(axes.indices) else { return nil }
        return Layout(axes: order.map { axes[$0] }, first: first)
    }

    /// nil where an axis would have to be cut within a factor.
    func reshaped(_ shape: [Int]) -> Layout? {
        guard shape.allSatisfy({ $0 > 0 }) else { return nil }
        var rest = flat
        var axes: [[Factor]] = []
        for size in shape.reversed() {
            var need = size
            var axis: [Factor] = []
            while need > 1 {
                guard let inner = rest.popLast() else { return nil }
                if inner.count <= need {
                    guard need % inner.count == 0 else { return nil }
                    axis.append(inner)
                    need /= inner.count
                } else {
                    guard inner.count % need == 0 else { return nil }
                    axis.append(Factor(count: need, stride: inner.stride))
                    rest.append(
                        Factor(count: inner.count / need, stride: inner.stride * need))
                    need = 1
                }
            }
            axes.append(axis.reversed())
        }
        return rest.isEmpty ? Layout(axes: axes.reversed(), first: first) : nil
    }

    /// Repeated along axes of one element, and along new ones in front.
    func expanded(to target: [Int]) -> Layout? {
        guard target.count >= axes.count,
            Numbers.count(target, most: Numbers.mostUnstored) != nil
        else { return nil }
        var new: [[Factor]] = []
        let shape = shape
        for (at, size) in target.enumerated() {
            let axis = at - (target.count - axes.count)
            let current = axis < 0 ? 1 : shape[axis]
            guard current == size || current == 1, size > 0 else { return nil }
            new.append(
                current == size && axis >= 0 ? axes[axis] : [Factor(count: size, stride: 0)])
        }
        return Layout(axes: new, first: first)
    }

    /// `count` elements of an axis from `begin`.
    func sliced(_ axis: Int, from begin: Int, count: Int) -> Layout? {
        guard axes.indices.contains(axis) else { return nil }
        let size = axes[axis].reduce(1) { $0 * $1.count }
        if begin == 0 && count == size { return self }
        guard begin >= 0, count > 0, count <= size, begin <= size - count, axes[axis].count == 1
        else { return nil }
        var new = axes
        new[axis] = [Factor(count: count, stride: axes[axis][0].stride)]
        return Layout(axes: new, first: first + begin * axes[axis][0].stride)
    }
}
