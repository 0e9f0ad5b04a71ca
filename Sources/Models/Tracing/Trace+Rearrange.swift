/// Operations that only move elements, of numbers and of views alike.
extension Trace {
    /// nil for any other operation.
    func rearranged(_ node: OnnxNode) throws -> [TracedValue]? {
        switch node.opType {
        case "Identity": return [input(0)]
        case "Dropout":
            // In inference the data pass; the mask that comes second is of no use to anyone.
            if let training = try optionalNumbers(2)?.integer, training != 0 {
                throw unknown("drops values as in training")
            }
            return [input(0)]
        case "Cast", "CastLike": return [try cast(node)]
        case "Shape": return [.numbers(try shape(node))]
        case "Size":
            return [.numbers(Numbers(.integer, scalar: Double(try shapeOfInput(0).reduce(1, *))))]
        case "Reshape":
            let wanted = try requiredIntegers(1)
            return [
                try moved {
                    try self.target(wanted, from: $0, keepsZero: node.int("allowzero") == 1)
                }
            ]
        case "Flatten":
            let axis = node.int("axis") ?? 1
            return [
                try moved { shape in
                    let at = axis < 0 ? axis + shape.count : axis
                    guard 0...shape.count ~= at else { throw self.unknown("has axis \(axis)") }
                    return [shape[..<at].reduce(1, *), shape[at...].reduce(1, *)]
                }
            ]
        case "Unsqueeze":
            guard let axes = try axes(node) else { throw unknown("has no axes") }
            return [try moved { try self.unsqueezed($0, axes) }]
        case "Squeeze":
            let axes = try axes(node)
            return [try moved { try self.squeezed($0, axes) }]
        case "Transpose":
            return [try transposed(node)]
        case "Expand":
            let wanted = try requiredIntegers(1)
            return [try expanded(wanted)]
        case "Slice":
            return [try sliced(node)]
        case "Split":
            return try split(node)
        case "Concat":
            return [try joined(node)]
        default: return nil
        }
    }

    // MARK: Shapes

    func shapeOfInput(_ index: Int) throws -> [Int] {
        switch input(index) {
        case .numbers(let numbers): return numbers.shape
        case .view(let view): return view.shape
        case .constant(let constant): return constant.shape
        case .unknown(let unknown): throw unknown
        case .absent: throw unknown("input \(index) is left out")
        }
    }

    private func shape(_ node: OnnxNode) throws -> Numbers {
        let shape = try shapeOfInput(0)
        func place(_ name: String, _ fallback: Int) -> Int {
            let at = node.int(name) ?? fallback
            return max(0, min(at < 0 ? at + shape.count : at, shape.count))
        }
        let begin = place("start", 0)
        return Numbers(shape: Array(shape[begin..<max(begin, place("end", shape.count))]))
    }

    func requiredIntegers(_ index: Int) throws -> [Int] {
        guard let integers = try numbers(index).integers else {
            throw unknown("input \(index) is no list of whole numbers")
        }
        return integers
    }

    /// The axes of a node: an attribute in old operator sets, an input in new ones.
    func axes(_ node: OnnxNode, input: Int = 1) throws -> [Int]? {
        if let stated = node.ints("axes") { return stated }
        return try optionalNumbers(input)?.integers
    }

    private func target(_ wanted: [Int], from shape: [Int], keepsZero: Bool) throws -> [Int] {
        var target = wanted
        for axis in target.indices where target[axis] == 0 && !keepsZero {
            guard axis < shape.count else { throw unknown("reshapes \(shape) to \(wanted)") }
            target[axis] = shape[axis]
        }
        let others = target.filter { $0 != -1 }
        let most = Numbers.mostUnstored
        guard let count = Numbers.count(others, most: most),
            let whole = Numbers.count(shape, most: most), target.count - others.count <= 1
        else { throw unknown("reshapes \(shape) to \(wanted)") }
        if let free = target.firstIndex(of: -1) {
            guard count > 0, whole % count == 0 else {
                throw unknown("reshapes \(shape) to \(wanted)")
            }
            target[free] = whole / count
        } else if count != whole {
            throw unknown("reshapes \(shape) to \(wanted)")
        }
        return target
    }

    private func unsqueezed(_ shape: [Int], _ axes: [Int]) throws -> [Int] {
        let rank = shape.count + axes.count
        let places = Set(axes.map { $0 < 0 ? $0 + rank : $0 })
        guard rank <= 16, places.count == axes.count, places.allSatisfy({ 0..<rank ~= $0 })
        else { throw unknown("has axes \(axes) for \(shape)") }
        var rest = shape.makeIterator()
        return (0..<rank).map { places.contains($0) ? 1 : rest.next() ?? 1 }
    }

    private func squeezed(_ shape: [Int], _ axes: [Int]?) throws -> [Int] {
        guard let axes else { return shape.filter { $0 != 1 } }
        let places = Set(axes.map { $0 < 0 ? $0 + shape.count : $0 })
        guard places.allSatisfy({ shape.indices.contains($0) && shape[$0] == 1 }) else {
            throw unknown("has axes \(axes) for \(shape)")
        }
        return shape.indices.filter { !places.contains($0) }.map { shape[$0] }
    }

    // MARK: Moving

    /// The first input in another shape, its elements in the same order.
    private func moved(_ target: ([Int]) throws -> [Int]) throws -> TracedValue {
        if case .view(var view) = input(0) {
            let shape = try target(view.shape)
            guard let layout = view.layout.reshaped(shape) else {
                throw unknown("reshapes \(view.shape) to \(shape), which mixes its axes")
            }
            view.layout = layout
            return .view(view)
        }
        let numbers = try numbers(0)
        guard let moved = numbers.reshaped(try target(numbers.shape)) else {
            throw unknown("does not fit \(numbers.shape)")
        }
        return .numbers(moved)
    }

    private func transposed(_ node: OnnxNode) throws -> TracedValue {
        let shape = try shapeOfInput(0)
        let order = node.ints("perm") ?? Array(shape.indices.reversed())
        if case .view(var view) = input(0), let layout = view.layout.transposed(order) {
            view.layout = layout
            return .view(view)
        }
        let numbers = try numbers(0)
        guard order.sorted() == Array(shape.indices) else {
            throw unknown("has order \(order) for \(shape)")
        }
        let strides = rowMajorStrides(shape)
        return try known(numbers.gathered(order.map { shape[$0] }, order.map { strides[$0] }))
    }

    func known(_ numbers: Numbers?) throws -> TracedValue {
        guard let numbers else { throw unknown("its inputs do not fit each other") }
        return .numbers(numbers)
    }

    private func expanded(_ wanted: [Int]) throws -> TracedValue {
        let shape = try shapeOfInput(0)
        guard let target = broadcast(shape, wanted) else {
            throw unknown("expands \(shape) to \(wanted)")
        }
        if case .view(var view) = input(0) {
            guard let layout = view.layout.expanded(to: target) else {
                throw unknown("expands \(shape) to \(wanted)")
            }
            view.layout = layout
            return .view(view)
        }
        return try known(numbers(0).expanded(to: target))
    }

    /// What a Slice takes of one axis.
    private struct Slice {
        let first: Int
        let count: Int
        let step: Int
    }

    private func sliced(_ node: OnnxNode) throws -> TracedValue {
        let shape = try shapeOfInput(0)
        func list(_ name: String, _ index: Int) throws -> [Int]? {
            if let stated = node.ints(name) { return stated }
            return try optionalNumbers(index)?.integers
        }
        guard let starts = try list("starts", 1), let ends = try list("ends", 2),
            starts.count == ends.count
        else { throw unknown("has no starts or ends") }
        let axes = try list("axes", 3) ?? Array(starts.indices)
        let steps = try list("steps", 4) ?? starts.map { _ in 1 }
        guard axes.count == starts.count, steps.count == starts.count else {
            throw unknown("has \(axes.count) axes for \(starts.count) starts")
        }
        var ranges = shape.map { Slice(first: 0, count: $0, step: 1) }
        for (index, stated) in axes.enumerated() {
            let axis = stated < 0 ? stated + shape.count : stated
            guard shape.indices.contains(axis), steps[index] != 0, steps[index].magnitude < 1 << 30
            else { throw unknown("has axes \(axes) and steps \(steps)") }
            let (size, step) = (shape[axis], steps[index])
            func clamped(_ at: Int, _ range: ClosedRange<Int>) -> Int {
                max(range.lowerBound, min(at < 0 ? at + size : at, range.upperBound))
            }
            let bounds = step > 0 ? 0...size : -1...max(size - 1, -1)
            let begin = clamped(starts[index], step > 0 ? 0...size : 0...max(size - 1, 0))
            let end = clamped(ends[index], bounds)
            let length = step > 0 ? end - begin : begin - end
            ranges[axis] = Slice(
                first: begin, count: length <= 0 ? 0 : (length - 1) / abs(step) + 1, step: step)
        }
        if case .view(var view) = input(0) {
            for (axis, range) in ranges.enumerated() {
                guard range.step == 1 || range.count <= 1,
                    let layout = view.layout.sliced(axis, from: range.first, count: range.count)
                else { throw unknown("takes a part of \(shape)") }
                view.layout = layout
            }
            return .view(view)
        }
        let strides = rowMajorStrides(shape)
        return try known(
            numbers(0).gathered(
                ranges.map(\.count), zip(ranges, strides).map { $0.step * $1 },
                first: zip(ranges, strides).reduce(0) {
                    $0 + ($1.0.count == 0 ? 0 : $1.0.first) * $1.1
                }))
    }

    private func split(_ node: OnnxNode) throws -> [TracedValue] {
        let shape = try shapeOfInput(0)
        let stated = node.int("axis") ?? 0
        let axis = stated < 0 ? stated + shape.count : stated
        guard shape.indices.contains(axis), !node.outputs.isEmpty else {
            throw unknown("has axis \(stated) for \(shape)")
        }
        var sizes = try node.ints("split") ?? optionalNumbers(1)?.integers ?? []
        if sizes.isEmpty {
            let size = (shape[axis] + node.outputs.count - 1) / node.outputs.count
            sizes = node.outputs.indices.map { min(size, shape[axis] - $0 * size) }
        }
        guard sizes.count == node.outputs.count, sizes.allSatisfy({ $0 > 0 && $0 <= shape[axis] }),
            sizes.reduce(0, +) == shape[axis]
        else { throw unknown("splits \(shape) into \(sizes)") }
        var begin = 0
        return try sizes.map { size in
            defer { begin += size }
            if case .view(var view) = input(0) {
                guard let layout = view.layout.sliced(axis, from: begin, count: size) else {
                    throw unknown("splits \(shape)")
                }
                view.layout = layout
                return .view(view)
            }
            var target = shape
            target[axis] = size
            let strides = rowMajorStrides(shape)
            return try known(numbers(0).gathered(target, strides, first: begin * strides[axis]))
        }
    }

    private func joined(_ node: OnnxNode) throws -> TracedValue {
        let inputs = node.inputs.indices.map { input($0) }
        let shapes = try node.inputs.indices.map { try shapeOfInput($0) }
        guard let first = shapes.first, let stated = node.int("axis") else {
            throw unknown("joins nothing")
        }
        let axis = stated < 0 ? stated + first.count : stated
        guard first.indices.contains(axis),
            shapes.allSatisfy({ shape in
                shape.count == first.count
                    && shape.indices.allSatisfy { $0 == axis || shape[$0] == first[$0] }
            })
        else { throw unknown("joins \(shapes) along axis \(stated)") }
        var target = first
        target[axis] = shapes.reduce(0) { $0 + $1[axis] }
        let views = inputs.compactMap { if case .view(let view) = $0 { view } else { nil } }
        if !views.isEmpty {
            guard views.count == inputs.count else { throw unknown("joins data and numbers") }
            return .view(try make(.joined(views, axis: axis), target))
        }
        let parts = try node.inputs.indices.map { try numbers($0) }
        guard let count = Numbers.count(target) else { throw unknown("joins \(shapes)") }
        let outer = target[..<axis].reduce(1, *)
        var values: [Double] = []
        values.reserveCapacity(count)
        for row in 0..<outer {
            for part in parts {
                let width = part.count / max(outer, 1)
                if let value = part.values.first, part.isUniform {
                    values.append(contentsOf: repeatElement(value, count: width))
                } else {
                    values.append(contentsOf: part.values[row * width..<(row + 1) * width])
                }
            }
        }
        let kind = parts.contains { $0.kind == .float } ? .float : parts[0].kind
        return try known(Numbers(kind, target, values))
    }

    // MARK: Types

    private func cast(_ node: OnnxNode) throws -> TracedValue {
        var kind: Numbers.Kind?
        if let to = node.int("to") {
            kind = Int32(exactly: to).map { Numbers.Kind(dataType: $0) }
        } else if node.opType == "CastLike" {
            switch input(1) {
            case .numbers(let like): kind = like.kind
            case .constant(let like): kind = .init(dataType: like.valueType)
            case .view: kind = .float
            case .unknown(let unknown): throw unknown
            case .absent: break
            }
        }
        guard let kind else { throw unknown("names no type") }
        if case .view(let view) = input(0) {
            // Integers that a quantiser made become floats before they are scaled.
            guard kind == .float else { throw unknown("makes integers of data") }
            return .view(view)
        }
        if kind == .float, case .constant(let constant) = input(0), constant.isWeight {
            return .constant(constant)
        }
        return try known(numbers(0).cast(to: kind))
    }
}
