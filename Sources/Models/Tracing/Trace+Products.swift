import COnnx

/// Products with stored matrices, products of data, and rows of tables.
extension Trace {
    /// nil for any other operation.
    func multiplied(_ node: OnnxNode) throws -> [TracedValue]? {
        switch node.opType {
        case "MatMul", "FusedMatMul", "Gemm":
            guard let stored = constant(1) else {
                guard node.opType != "Gemm" else { throw unknown("multiplies data") }
                return [try matrixProduct(node)]
            }
            let data = try view(0)
            guard (node.int("transA") ?? 0) == 0, (node.int("transBatchA") ?? 0) == 0,
                (node.int("transBatchB") ?? 0) == 0
            else { throw unknown("transposes its data") }
            if node.opType == "Gemm" { try requireNoBias(2, times: node.float("beta")) }
            let isTransposed = (node.int("transB") ?? 0) == 0
            let weight = isTransposed ? stored.transposed : stored
            return [
                try product(
                    data, weight, input: 1, isTransposed: isTransposed,
                    alpha: node.opType == "MatMul" ? 1 : node.float("alpha") ?? 1)
            ]
        case "MatMulNBits":
            try requireNoBias(5)
            guard (node.int("weight_prepacked") ?? 0) == 0 else {
                throw unknown("has a matrix in an order of its own")
            }
            let weight = constant(1)?.blocks(
                node, scale: constant(2), zero: try optionalConstant(3),
                groups: try optionalConstant(4))
            return [try product(try view(0), weight, input: 1, isTransposed: true)]
        case "MatMulBnb4":
            let isWhole = (node.int("transB") ?? 1) == 1
            let weight = isWhole ? constant(1)?.codes(node, scale: constant(2)) : nil
            return [try product(try view(0), weight, input: 1, isTransposed: true)]
        case "Gather":
            return [try gathered(node)]
        case "GatherBlockQuantized":
            guard (node.int("gather_axis") ?? 0) == 0, let stored = constant(0) else {
                throw unknown("gathers otherwise than rows of a table")
            }
            let weight = stored.dequantized(
                scale: constant(2), zero: try optionalConstant(3),
                axis: node.int("quantize_axis") ?? 1, block: node.int("block_size") ?? 0)
            return [.view(try rows(weight, try numbers(1)))]
        default: return nil
        }
    }

    /// The stored tensor of an input; nil if it is left out.
    ///
    /// - Throws: `Unknown` for anything else.
    func optionalConstant(_ index: Int) throws -> Constant? {
        if isAbsent(index) { return nil }
        guard let constant = constant(index) else {
            throw unknown("input \(index) is computed, where a stored tensor is expected")
        }
        return constant
    }

    func requireNoBias(_ index: Int, times factor: Float? = nil) throws {
        guard isAbsent(index) || factor == 0 || zeros(index) else {
            throw unknown("adds a bias, which T5 has not")
        }
    }

    private func zeros(_ index: Int) -> Bool {
        (try? numbers(index))?.uniformValue == 0
    }

    // MARK: Stored matrices

    /// - Parameter weight: [out, in]; nil if it cannot be read.
    /// - Parameter isTransposed: true if the node itself reads [in, out].
    func product(
        _ data: View, _ weight: Constant?, input: Int, isTransposed: Bool, alpha: Float = 1
    ) throws -> TracedValue {
        guard let weight = consumed(weight, input, isTransposed: isTransposed), weight.isFloating,
            weight.shape.count == 2, let width = data.shape.last, width == weight.shape[1]
        else { throw unknown("multiplies by a matrix that is none of T5's") }
        let shape = data.shape.dropLast() + [weight.shape[0]]
        let scaled = alpha == 1 ? data : pointwise(data) { $0.then { $0 * Double(alpha) } }
        return .view(
            try make(
                .product(scaled, .init(weight: weight, output: node.outputs.first ?? -1)),
                Array(shape)))
    }

    /// A constant that knows who reads it, so that it may be given an initializer of its own.
    func consumed(_ constant: Constant?, _ input: Int, isTransposed: Bool = false) -> Constant? {
        var constant = constant
        constant?.consumer =
            node.position < 0
            ? nil : .init(position: node.position, input: input, isTransposed: isTransposed)
        return constant
    }

    // MARK: Data

    private func matrixProduct(_ node: OnnxNode) throws -> TracedValue {
        var left = try view(0), right = try view(1)
        guard (node.int("transBatchA") ?? 0) == 0, (node.int("transBatchB") ?? 0) == 0 else {
            throw unknown("transposes a batch")
        }
        if (node.int("transA") ?? 0) != 0 { left = try swapped(left) }
        if (node.int("transB") ?? 0) != 0 { right = try swapped(right) }
        let made = try matrixProduct(left, right)
        let alpha = node.opType == "FusedMatMul" ? node.float("alpha") ?? 1 : 1
        return .view(alpha == 1 ? made : pointwise(made) { $0.then { $0 * Double(alpha) } })
    }

    func matrixProduct(_ left: View, _ right: View) throws -> View {
        let (x, y) = (left.shape, right.shape)
        guard x.count >= 2, y.count == x.count, x.last == y[y.count - 2],
            x.dropLast(2) == y.dropLast(2)
        else { throw unknown("multiplies \(x) by \(y)") }
        return try make(.matrixProduct(left, right), x.dropLast() + [y[y.count - 1]])
    }

    /// The last two axes exchanged.
    func swapped(_ view: View) throws -> View {
        var view = view
        let rank = view.shape.count
        guard rank >= 2,
            let layout = view.layout.transposed(Array(0..<rank - 2) + [rank - 1, rank - 2])
        else { throw unknown("transposes what is no matrix") }
        view.layout = layout
        return view
    }

    // MARK: Tables

    private func gathered(_ node: OnnxNode) throws -> TracedValue {
        let axis = node.int("axis") ?? 0
        if let table = constant(0), table.isWeight {
            guard axis == 0 else { throw unknown("gathers along axis \(axis) of a table") }
            return .view(try rows(table, try numbers(1)))
        }
        if case .view = input(0) { throw unknown("picks from data") }
        let data = try numbers(0), indices = try numbers(1)
        let shape = data.shape
        let at = axis < 0 ? axis + shape.count : axis
        guard shape.indices.contains(at), let picks = picks(indices, below: shape[at]) else {
            throw unknown("gathers outside of an array of shape \(shape)")
        }
        let strides = rowMajorStrides(shape)
        let inner = Array(shape[(at + 1)...]), outer = Array(shape[..<at])
        let target = outer + indices.shape + inner
        if data.isUniform { return try known(Numbers(data.kind, target, data.values)) }
        guard let count = Numbers.count(target) else { throw unknown("gathers too much") }
        var values: [Double] = []
        values.reserveCapacity(count)
        let width = inner.reduce(1, *)
        for row in 0..<outer.reduce(1, *) {
            for pick in picks {
                let begin = row * shape[at] * width + pick * strides[at]
                values.append(contentsOf: data.values[begin..<begin + width])
            }
        }
        return try known(Numbers(data.kind, target, values))
    }

    private func picks(_ indices: Numbers, below size: Int) -> [Int]? {
        var picks: [Int] = []
        picks.reserveCapacity(indices.count)
        for index in 0..<indices.count {
            let value = indices[index] < 0 ? indices[index] + Double(size) : indices[index]
            guard value >= 0, value < Double(size) else { return nil }
            picks.append(Int(value))
        }
        return picks
    }

    /// Rows of a stored table.
    func rows(_ stored: Constant?, _ indices: Numbers, maxDistance: Int? = nil) throws -> View {
        guard let table = consumed(stored, 0), table.shape.count == 2 else {
            throw unknown("gathers rows of what is no table")
        }
        let made = Term.Table(weight: table, indices: indices, maxDistance: maxDistance)
        return try make(.rows(made), indices.shape + [table.shape[1]])
    }
}
