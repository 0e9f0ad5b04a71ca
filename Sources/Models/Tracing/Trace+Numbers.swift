import Glibc

/// Operations that only numbers are given to: positions, masks, shapes.
extension Trace {
    private static let comparisons: [String: @Sendable (Double, Double) -> Bool] = [
        "Equal": { $0 == $1 }, "Greater": { $0 > $1 }, "Less": { $0 < $1 },
        "GreaterOrEqual": { $0 >= $1 }, "LessOrEqual": { $0 <= $1 },
        "And": { $0 != 0 && $1 != 0 }, "Or": { $0 != 0 || $1 != 0 },
        "Xor": { ($0 != 0) != ($1 != 0) },
    ]

    /// nil for any other operation.
    func numbersOnly(_ node: OnnxNode) throws -> [TracedValue]? {
        if let body = Self.comparisons[node.opType] {
            return [
                try known(
                    Numbers.combine(try numbers(0), try numbers(1), .bool) { body($0, $1) ? 1 : 0 })
            ]
        }
        switch node.opType {
        case "Not": return [try known(numbers(0).mapped(to: .bool) { $0 == 0 ? 1 : 0 })]
        case "Mod":
            let isFloat = (node.int("fmod") ?? 0) != 0
            let (x, y) = (try numbers(0), try numbers(1))
            guard !y.values.contains(0) else { throw unknown("divides by zero") }
            return [
                try known(
                    Numbers.combine(x, y, x.kind) {
                        isFloat ? fmod($0, $1) : $0 - ($0 / $1).rounded(.down) * $1
                    })
            ]
        case "Range": return [try range()]
        case "ConstantOfShape": return [try filled(node)]
        case "Trilu": return [try triangle(node)]
        case "Tile": return [try tiled()]
        case "CumSum": return [try accumulatedAlong(node)]
        case "ScatterND": return [try scattered(node)]
        case "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd", "ReduceMean":
            return [try reduced(node)]
        default: return nil
        }
    }

    private func range() throws -> TracedValue {
        let (first, last, step) = (try numbers(0), try numbers(1), try numbers(2))
        guard let begin = first.values.first, let end = last.values.first,
            let width = step.values.first, width != 0, first.count == 1, last.count == 1,
            step.count == 1
        else { throw unknown("has no bounds") }
        let length = ((end - begin) / width).rounded(.up)
        guard abs(length) <= Double(Numbers.mostElements) else { throw unknown("is too long") }
        let count = max(0, Int(length))
        return try known(
            Numbers(first.kind, [count], (0..<count).map { begin + Double($0) * width }))
    }

    private func filled(_ node: OnnxNode) throws -> TracedValue {
        let shape = try requiredIntegers(0)
        guard let tensor = node.tensor("value") else {
            return try known(Numbers(.float, shape, [0]))
        }
        let constant = Constant(model: model, tensorIndex: tensor)
        guard let value = constant.asNumbers, value.count == 1 else {
            throw unknown("fills with several values")
        }
        return try known(Numbers(value.kind, shape, value.values))
    }

    private func triangle(_ node: OnnxNode) throws -> TracedValue {
        let data = try numbers(0)
        let offset = try optionalNumbers(1)?.integer ?? 0
        let isUpper = (node.int("upper") ?? 1) != 0
        guard data.shape.count >= 2, abs(offset) <= Numbers.mostElements else {
            throw unknown("takes a triangle of shape \(data.shape)")
        }
        let (rows, columns) = (data.shape[data.shape.count - 2], data.shape[data.shape.count - 1])
        guard rows > 0, columns > 0 else { return .numbers(data) }
        let values = (0..<data.count).map { index in
            let (row, column) = (index / columns % rows, index % columns)
            let isKept = isUpper ? column - row >= offset : column - row <= offset
            return isKept ? data[index] : 0
        }
        return try known(Numbers(data.kind, data.shape, values))
    }

    private func tiled() throws -> TracedValue {
        let data = try numbers(0)
        let repeats = try requiredIntegers(1)
        guard repeats.count == data.shape.count, repeats.allSatisfy({ $0 > 0 }),
            Numbers.count(zip(data.shape, repeats).map { min($0, 1 << 22) * min($1, 1 << 22) })
                != nil
        else { throw unknown("repeats \(data.shape) by \(repeats)") }
        // An axis of repeats before each axis, through which nothing moves.
        let strides = rowMajorStrides(data.shape)
        let spread = data.gathered(
            zip(repeats, data.shape).flatMap { [$0, $1] }, strides.flatMap { [0, $0] })
        return try known(spread?.reshaped(zip(data.shape, repeats).map(*)))
    }

    private func accumulatedAlong(_ node: OnnxNode) throws -> TracedValue {
        let data = try numbers(0)
        guard let stated = try numbers(1).integer else { throw unknown("has no axis") }
        let axis = stated < 0 ? stated + data.shape.count : stated
        guard data.shape.indices.contains(axis), (node.int("reverse") ?? 0) == 0,
            (node.int("exclusive") ?? 0) == 0
        else { throw unknown("sums along axis \(stated) of \(data.shape)") }
        let step = rowMajorStrides(data.shape)[axis]
        var values = (0..<data.count).map { data[$0] }
        for index in values.indices where index / step % data.shape[axis] > 0 {
            values[index] += values[index - step]
        }
        return try known(Numbers(data.kind, data.shape, values))
    }

    private func scattered(_ node: OnnxNode) throws -> TracedValue {
        let (data, indices, updates) = (try numbers(0), try numbers(1), try numbers(2))
        guard let depth = indices.shape.last, depth > 0, depth <= data.shape.count,
            (node.string("reduction") ?? "none") == "none" || node.string("reduction") == ""
        else { throw unknown("scatters otherwise than by replacing") }
        let strides = rowMajorStrides(data.shape)
        let width = data.shape[depth...].reduce(1, *)
        var values = (0..<data.count).map { data[$0] }
        let places = indices.count / depth
        guard updates.count == places * width else {
            throw unknown("scatters \(updates.shape) into \(data.shape)")
        }
        for place in 0..<places {
            var at = 0
            for axis in 0..<depth {
                let size = Double(data.shape[axis])
                let stated = indices[place * depth + axis]
                let index = stated < 0 ? stated + size : stated
                guard index >= 0, index < size else { throw unknown("scatters outside") }
                at += Int(index) * strides[axis]
            }
            for offset in 0..<width { values[at + offset] = updates[place * width + offset] }
        }
        return try known(Numbers(data.kind, data.shape, values))
    }

    private func reduced(_ node: OnnxNode) throws -> TracedValue {
        let data = try numbers(0)
        let rank = data.shape.count
        let stated = try axes(node) ?? []
        let isAll = stated.isEmpty && (node.int("noop_with_empty_axes") ?? 0) == 0
        let axes = Set(isAll ? Array(0..<rank) : stated.map { $0 < 0 ? $0 + rank : $0 })
        guard axes.allSatisfy({ 0..<rank ~= $0 }) else { throw unknown("has axes \(stated)") }
        let kept = (0..<rank).filter { !axes.contains($0) }
        let strides = rowMajorStrides(data.shape)
        let length = axes.reduce(1) { $0 * data.shape[$1] }
        guard length > 0 else { throw unknown("reduces nothing") }
        let order = kept + axes.sorted()
        guard
            let sorted = data.gathered(
                order.map { data.shape[$0] }, order.map { strides[$0] })
        else { throw unknown("reduces too much") }
        let count = data.count / length
        let values = (0..<count).map { group -> Double in
            let line = (0..<length).map { sorted[group * length + $0] }
            switch node.opType {
            case "ReduceMax": return line.max() ?? 0
            case "ReduceMin": return line.min() ?? 0
            case "ReduceSum": return line.reduce(0, +)
            case "ReduceProd": return line.reduce(1, *)
            default: return line.reduce(0, +) / Double(length)
            }
        }
        let keepsAxes = (node.int("keepdims") ?? 1) == 1
        let shape =
            keepsAxes
            ? (0..<rank).map { axes.contains($0) ? 1 : data.shape[$0] }
            : kept.map { data.shape[$0] }
        return try known(Numbers(data.kind, shape, values))
    }
}
