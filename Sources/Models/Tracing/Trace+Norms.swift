/// Means of squares, norms by their roots, softmaxes.
extension Trace {
    /// nil for any other operation.
    func normalizedOperation(_ node: OnnxNode) throws -> [TracedValue]? {
        switch node.opType {
        case "ReduceMean":
            guard case .view(let view) = input(0) else { return nil }
            return [.view(try meanSquare(view, node))]
        case "SimplifiedLayerNormalization", "RMSNormalization":
            try requireNoBias(2)
            let data = try view(0)
            try requireLastAxis(node.int("axis") ?? -1, of: data)
            let epsilon = Double(node.float("epsilon") ?? 1e-5)
            return [.view(try norm(data, weight: 1, epsilon: epsilon))]
        case "SkipSimplifiedLayerNormalization":
            try requireNoBias(3)
            let left = try view(0), right = try view(1)
            guard left.shape == right.shape else { throw unknown("adds arrays of two shapes") }
            let sum = try make(.sum(left, right), left.shape)
            let epsilon = Double(node.float("epsilon") ?? 1e-12)
            let made = try norm(sum, weight: 2, epsilon: epsilon)
            let nothing = TracedValue.unknown(unknown("gives means that T5 has no use for"))
            return [.view(made), nothing, nothing, .view(sum)]
        case "Softmax":
            guard case .view(let data) = input(0) else { return nil }
            guard let axis = node.int("axis") else {
                throw unknown("states no axis, which means another one in old operator sets")
            }
            try requireLastAxis(axis, of: data)
            return [.view(try make(.softmax(data), data.shape))]
        case "BiasSoftmax":
            let data = try view(0)
            try requireLastAxis(node.int("axis") ?? 1, of: data)
            let sum: View
            switch input(1) {
            case .view(let bias):
                guard let layout = bias.layout.expanded(to: data.shape) else {
                    throw unknown("does not fit its bias")
                }
                var spread = bias
                spread.layout = layout
                sum = try make(.sum(data, spread), data.shape)
            default: sum = try shifted(data, by: try numbers(1))
            }
            return [.view(try make(.softmax(sum), data.shape))]
        default: return nil
        }
    }

    private func requireLastAxis(_ axis: Int, of view: View) throws {
        guard axis == -1 || axis == view.shape.count - 1 else {
            throw unknown("works along axis \(axis) of \(view.shape)")
        }
    }

    private func meanSquare(_ view: View, _ node: OnnxNode) throws -> View {
        let axes = try axes(node) ?? []
        guard axes.count == 1 else { throw unknown("takes a mean along axes \(axes)") }
        try requireLastAxis(axes[0], of: view)
        guard let function = view.function, function.isClose(to: .square) else {
            throw unknown("takes the mean of something else than squares")
        }
        var data = view
        data.function = nil
        let last = (node.int("keepdims") ?? 1) == 1 ? [1] : []
        return try make(.meanSquare(data), view.shape.dropLast() + last)
    }

    private func norm(_ data: View, weight: Int, epsilon: Double) throws -> View {
        guard let vector = consumed(constant(weight), weight), isVector(vector, of: data) else {
            throw unknown("has a weight of another size than its input's \(data.shape)")
        }
        return try make(.norm(data, weight: vector, epsilon: epsilon), data.shape)
    }

    private func isVector(_ constant: Constant, of view: View) -> Bool {
        constant.isFloating && constant.shape.last == view.shape.last
            && constant.view.count == view.shape.last && constant.shape.count <= view.shape.count
    }

    /// A normalised array times its weights, or the scale of a quantiser times that of a
    /// matrix; nil for any other product.
    func weighted(_ view: View, by constant: Constant) throws -> View? {
        guard view.function == nil else { return nil }
        switch terms[view.term].kind {
        case .scale(let step):
            return try make(.scaleProduct(step, constant), constant.shape)
        case .normalized(let data, let epsilon) where view.layout.isWhole:
            guard isVector(constant, of: view) else { return nil }
            let input = maker.graph.nodes[maker.node].inputs.firstIndex {
                if case .constant = value($0) { true } else { false }
            }
            guard let weight = consumed(constant, input ?? 1) else { return nil }
            return try make(.norm(data, weight: weight, epsilon: epsilon), view.shape)
        default: return nil
        }
    }

    /// `x / sqrt(mean(x^2) + epsilon)`, given as a product; nil for any other.
    func normalized(_ x: View, by y: View) throws -> View? {
        guard case .meanSquare(let data) = terms[y.term].kind, data.term == x.term,
            data.layout == x.layout, x.function == nil, data.function == nil,
            y.layout.isWhole, y.shape == Array(x.shape.dropLast()) + [1],
            let epsilon = y.function?.inverseRootOffset
        else { return nil }
        return try make(.normalized(x, epsilon: epsilon), x.shape)
    }
}
