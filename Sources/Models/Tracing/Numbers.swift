import COnnx

/// A small array that a trace computes: shapes, positions, masks, factors. Row-major; a single
/// stored value stands for an array that is the same everywhere.
struct Numbers {
    enum Kind { case float, integer, bool }

    let kind: Kind
    let shape: [Int]
    /// One for each element, or one for all.
    let values: [Double]

    /// Elements that an array may have: far above a mask's, far below a machine's memory.
    static let mostElements = 1 << 22

    /// nil if the values do not fit the shape, or are too many.
    init?(_ kind: Kind, _ shape: [Int], _ values: [Double]) {
        guard let count = Self.count(shape), values.count == count || values.count == 1 else {
            return nil
        }
        self.kind = kind
        self.shape = shape
        self.values = values
    }

    init(_ kind: Kind, scalar: Double) {
        self.kind = kind
        shape = []
        values = [scalar]
    }

    /// A shape as ONNX passes it around.
    init(shape: [Int]) {
        kind = .integer
        self.shape = [shape.count]
        values = shape.map(Double.init)
    }

    /// Elements that an array may have of which a trace only knows how it is made: above those of
    /// any model's logits; strides and places of its elements do not overflow.
    static let mostUnstored = 1 << 48

    /// Elements of a shape; nil for one that is negative, or has more than `most`.
    static func count(_ shape: [Int], most: Int = mostElements) -> Int? {
        var count = 1
        for dim in shape {
            guard dim >= 0 else { return nil }
            let (product, overflow) = count.multipliedReportingOverflow(by: dim)
            guard !overflow, product <= most else { return nil }
            count = product
        }
        return count
    }

    var count: Int { Self.count(shape) ?? 0 }
    var isUniform: Bool { values.count == 1 }
    subscript(index: Int) -> Double { values[values.count == 1 ? 0 : index] }

    /// The one value of an array that is the same everywhere.
    var uniformValue: Double? {
        guard let first = values.first, values.count == 1 || values.allSatisfy({ $0 == first })
        else { return nil }
        return first
    }

    /// The whole numbers of a short array, such as a shape; nil for others.
    var integers: [Int]? {
        guard count <= 1 << 16 else { return nil }
        let integers = (0..<count).compactMap { Self.integer(self[$0]) }
        return integers.count == count ? integers : nil
    }

    var integer: Int? { count == 1 ? values.first.flatMap(Self.integer) : nil }

    /// ONNX writes "to the end" as the largest integer there is.
    private static func integer(_ value: Double) -> Int? {
        guard value == value.rounded(.towardZero) else { return nil }
        return Int(max(-9e15, min(value, 9e15)))
    }

    /// The values of another type: fractions are cut off, as a Cast does.
    func cast(to kind: Kind) -> Numbers? {
        switch kind {
        case .float: return Numbers(.float, shape, values.map { Double(Float($0)) })
        case .bool: return Numbers(.bool, shape, values.map { $0 == 0 ? 0 : 1 })
        case .integer:
            return Numbers(
                .integer, shape,
                values.map { $0.isFinite ? $0.rounded(.towardZero) : -9.223372036854775808e18 })
        }
    }

    func mapped(to kind: Kind? = nil, _ body: (Double) -> Double) -> Numbers? {
        let kind = kind ?? self.kind
        return Numbers(
            kind, shape,
            kind == .float ? values.map { Double(Float(body($0))) } : values.map(body))
    }

    /// The strides that spread the array over a larger shape; nil if it does not fit there.
    func strides(over target: [Int]) -> [Int]? {
        guard shape.count <= target.count else { return nil }
        var strides = [Int](repeating: 0, count: target.count)
        var step = 1
        for axis in shape.indices.reversed() {
            let at = axis + target.count - shape.count
            guard shape[axis] == target[at] || shape[axis] == 1 else { return nil }
            strides[at] = shape[axis] == 1 ? 0 : step
            step *= shape[axis]
        }
        return strides
    }

    /// The elements in the order of another shape: element [i, j, ...] of it is the one at
    /// `first + i * strides[0] + j * strides[1] + ...` here.
    func gathered(_ target: [Int], _ strides: [Int], first: Int = 0) -> Numbers? {
        guard let count = Self.count(target) else { return nil }
        if isUniform { return Numbers(kind, target, values) }
        var out: [Double] = []
        out.reserveCapacity(count)
        forEachPlace(target, strides, first) { out.append(values[$0]) }
        return Numbers(kind, target, out)
    }

    func expanded(to target: [Int]) -> Numbers? {
        if target == shape { return self }
        return strides(over: target).flatMap { gathered(target, $0) }
    }

    func reshaped(_ target: [Int]) -> Numbers? {
        Self.count(target) == count ? Numbers(kind, target, values) : nil
    }

    /// Two arrays, element by element.
    static func combine(
        _ x: Numbers, _ y: Numbers, _ kind: Kind, _ body: (Double, Double) -> Double
    ) -> Numbers? {
        guard let shape = broadcast(x.shape, y.shape) else { return nil }
        func rounded(_ value: Double) -> Double { kind == .float ? Double(Float(value)) : value }
        if x.isUniform && y.isUniform {
            return Numbers(kind, shape, [rounded(body(x.values[0], y.values[0]))])
        }
        guard let x = x.expanded(to: shape), let y = y.expanded(to: shape) else { return nil }
        return Numbers(kind, shape, (0..<x.count).map { rounded(body(x[$0], y[$0])) })
    }
}

/// The shape of two arrays together; nil if they do not go together.
func broadcast(_ x: [Int], _ y: [Int]) -> [Int]? {
    var shape: [Int] = []
    for axis in 0..<max(x.count, y.count) {
        let a = axis < x.count ? x[x.count - 1 - axis] : 1
        let b = axis < y.count ? y[y.count - 1 - axis] : 1
        guard a == b || a == 1 || b == 1 else { return nil }
        shape.insert(a == 1 ? b : a, at: 0)
    }
    return shape
}

/// Row-major strides.
func rowMajorStrides(_ shape: [Int]) -> [Int] { StridedView(shape).strides }

/// Calls `body` with the place of every element of a strided shape, in row-major order.
func forEachPlace(_ shape: [Int], _ strides: [Int], _ first: Int, _ body: (Int) -> Void) {
    guard !shape.contains(0) else { return }
    guard let width = shape.last, let step = strides.last else { return body(first) }
    var index = [Int](repeating: 0, count: shape.count - 1)
    var row = first
    while true {
        var place = row
        for _ in 0..<width {
            body(place)
            place += step
        }
        var axis = index.count - 1
        while axis >= 0 {
            index[axis] += 1
            row += strides[axis]
            if index[axis] < shape[axis] { break }
            row -= shape[axis] * strides[axis]
            index[axis] = 0
            axis -= 1
        }
        if axis < 0 { return }
    }
}
