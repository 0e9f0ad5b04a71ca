import Glibc

/// Elementwise operations: of numbers at once, of views as functions and terms.
extension Trace {
    private static let binary: [String: @Sendable (Double, Double) -> Double] = [
        "Add": { $0 + $1 }, "Sub": { $0 - $1 }, "Mul": { $0 * $1 }, "Div": { $0 / $1 },
        "Min": { $0.isNaN || $1.isNaN ? .nan : min($0, $1) },
        "Max": { $0.isNaN || $1.isNaN ? .nan : max($0, $1) },
        "Pow": { pow($0, $1) },
        "PRelu": { $0 < 0 ? $0 * $1 : $0 },
    ]

    /// nil for any other operation.
    func arithmetic(_ node: OnnxNode) throws -> [TracedValue]? {
        if node.opType == "Clip" { return [try clipped(node)] }
        if node.opType == "Where" { return [try chosen()] }
        if node.opType == "Sum" || node.opType == "Min" || node.opType == "Max" {
            return [try accumulated(node)]
        }
        if let body = Self.binary[node.opType] {
            return [try combined(input(0), input(1), node.opType, body)]
        }
        if node.opType == "IsNaN" || node.opType == "IsInf" {
            if case .view(let view) = input(0) {
                // Finite weights and inputs make finite numbers.
                return [try known(Numbers(.bool, view.shape, [0]))]
            }
            let body: (Double) -> Double =
                node.opType == "IsNaN" ? { $0.isNaN ? 1 : 0 } : { $0.isInfinite ? 1 : 0 }
            return [try known(numbers(0).mapped(to: .bool, body))]
        }
        if node.opType == "BiasGelu" || (node.opType == "FastGelu" && !isAbsent(1)) {
            throw unknown("adds a bias")
        }
        guard let body = pointOperation(node) else { return nil }
        if case .view(let view) = input(0) { return [.view(pointwise(view) { $0.then(body) })] }
        return [try known(numbers(0).mapped(body))]
    }

    func pointwise(_ view: View, _ body: (PointFunction) -> PointFunction) -> View {
        var view = view
        let function = body(view.function ?? .identity)
        view.function = function.isIdentity ? nil : function
        view.maker = maker
        return view
    }

    private func clipped(_ node: OnnxNode) throws -> TracedValue {
        func bound(_ name: String, _ index: Int) throws -> Double? {
            if let stated = node.float(name) { return Double(stated) }
            guard let numbers = try optionalNumbers(index) else { return nil }
            guard let bound = numbers.uniformValue else { throw unknown("clips by an array") }
            return bound
        }
        let low = try bound("min", 1) ?? -.infinity
        let high = try bound("max", 2) ?? .infinity
        let body: (Double) -> Double = { min(max($0, low), high) }
        if case .view(let view) = input(0) { return .view(pointwise(view) { $0.then(body) }) }
        return try known(numbers(0).mapped(body))
    }

    private func accumulated(_ node: OnnxNode) throws -> TracedValue {
        let name = node.opType == "Sum" ? "Add" : node.opType
        guard let body = Self.binary[name], !node.inputs.isEmpty else {
            throw unknown("has no inputs")
        }
        var result = input(0)
        for index in node.inputs.indices.dropFirst() {
            result = try combined(result, input(index), name, body)
        }
        return result
    }

    /// A choice by numbers; a view is filled as attention masks are.
    private func chosen() throws -> TracedValue {
        let condition = try numbers(0)
        if let all = condition.uniformValue {
            let shapes = try (0...2).map { try shapeOfInput($0) }
            guard
                let shape = broadcast(shapes[0], shapes[1]).flatMap({ broadcast($0, shapes[2]) })
            else { throw unknown("chooses among \(shapes)") }
            let index = all != 0 ? 1 : 2
            if case .view(var view) = input(index) {
                guard let layout = view.layout.expanded(to: shape) else {
                    throw unknown("chooses among \(shapes)")
                }
                view.layout = layout
                return .view(view)
            }
            return try known(numbers(index).expanded(to: shape))
        }
        for (index, other) in [(1, 2), (2, 1)] {
            guard case .view(let view) = input(index) else { continue }
            guard let fill = try numbers(other).uniformValue, fill <= Self.leastMask else {
                throw unknown("replaces data")
            }
            let isKept: (Double) -> Bool = { ($0 != 0) == (index == 1) }
            guard let mask = condition.mapped(to: .float, { isKept($0) ? 0 : fill }) else {
                throw unknown("replaces data")
            }
            return .view(try shifted(view, by: mask))
        }
        let (yes, no) = (try numbers(1), try numbers(2))
        guard
            let shape = broadcast(yes.shape, no.shape).flatMap({ broadcast($0, condition.shape) }),
            let picks = condition.expanded(to: shape), let yes = yes.expanded(to: shape),
            let no = no.expanded(to: shape)
        else { throw unknown("chooses among arrays that do not fit each other") }
        let values = (0..<picks.count).map { picks[$0] != 0 ? yes[$0] : no[$0] }
        return try known(Numbers(yes.kind, shape, values))
    }

    /// What a mask adds at least to keep a softmax away: every exporter's fill is lower.
    static let leastMask = -9_999.0

    // MARK: Two arrays

    private func combined(
        _ left: TracedValue, _ right: TracedValue, _ name: String,
        _ body: @escaping (Double, Double) -> Double
    ) throws -> TracedValue {
        switch (left, right) {
        case (.unknown(let unknown), _), (_, .unknown(let unknown)): throw unknown
        case (.view(let x), .view(let y)): return .view(try combined(x, y, name, body))
        case (.view(let x), _):
            return .view(try combined(x, right, name, body, isReversed: false))
        case (_, .view(let y)):
            return .view(try combined(y, left, name, { body($1, $0) }, isReversed: true))
        default:
            guard let x = numbers(of: left), let y = numbers(of: right) else {
                throw unknown("computes with a stored tensor")
            }
            return try known(combined(x, y, name, body))
        }
    }

    private func numbers(of value: TracedValue) -> Numbers? {
        switch value {
        case .numbers(let numbers): return numbers
        case .constant(let constant): return constant.asNumbers
        default: return nil
        }
    }

    private func combined(
        _ x: Numbers, _ y: Numbers, _ name: String, _ body: (Double, Double) -> Double
    ) throws -> Numbers? {
        let isFloat = x.kind == .float || (y.kind == .float && name != "Pow")
        if name == "Div" && !isFloat {
            guard !y.values.contains(0) else { throw unknown("divides by zero") }
            return Numbers.combine(x, y, .integer) { ($0 / $1).rounded(.towardZero) }
        }
        return Numbers.combine(x, y, isFloat ? .float : x.kind, body)
    }

    /// A view and numbers or a stored vector.
    private func combined(
        _ view: View, _ other: TracedValue, _ name: String,
        _ body: @escaping (Double, Double) -> Double, isReversed: Bool
    ) throws -> View {
        if name == "Mul", case .constant(let constant) = other,
            let product = try weighted(view, by: constant)
        {
            return product
        }
        guard let numbers = numbers(of: other) else {
            throw unknown("takes in the tensor \"\(tensorName(other))\", which T5 has not")
        }
        if let value = numbers.uniformValue {
            let result = pointwise(view) { $0.then { body($0, value) } }
            return try spread(result, over: numbers.shape)
        }
        switch name {
        case "Add": return try shifted(view, by: numbers)
        case "Sub" where !isReversed:
            guard let negative = numbers.mapped({ -$0 }) else { break }
            return try shifted(view, by: negative)
        default: break
        }
        throw unknown("takes in an array of shape \(numbers.shape), which T5 has not")
    }

    private func tensorName(_ value: TracedValue) -> String {
        if case .constant(let constant) = value { return constant.tensor.name }
        return ""
    }

    private func spread(_ view: View, over shape: [Int]) throws -> View {
        var view = view
        guard let target = broadcast(view.shape, shape),
            let layout = view.layout.expanded(to: target)
        else { throw unknown("does not fit \(shape) to \(view.shape)") }
        view.layout = layout
        return view
    }

    func shifted(_ view: View, by numbers: Numbers) throws -> View {
        let spread = try spread(view, over: numbers.shape)
        return try make(.shifted(spread, numbers), spread.shape)
    }

    private func combined(
        _ x: View, _ y: View, _ name: String, _ body: @escaping (Double, Double) -> Double
    ) throws -> View {
        if x.term == y.term, x.layout == y.layout {
            return pointwise(x) { $0.combined(y.function ?? .identity, body) }
        }
        if name == "Mul", let scaled = try scaled(x, y) ?? scaled(y, x) { return scaled }
        guard let shape = broadcast(x.shape, y.shape) else {
            throw unknown("does not fit \(x.shape) to \(y.shape)")
        }
        let spreadX = try spread(x, over: shape), spreadY = try spread(y, over: shape)
        switch name {
        case "Add": return try make(.sum(spreadX, spreadY), shape)
        case "Mul":
            if let made = try normalized(x, by: y) ?? normalized(y, by: x) { return made }
            return try make(.elementProduct(spreadX, spreadY), shape)
        case "Div":
            let inverse = pointwise(y) { $0.then { 1 / $0 } }
            if let made = try normalized(x, by: inverse) { return made }
        default: break
        }
        throw unknown("combines two arrays as T5 never does")
    }
}
