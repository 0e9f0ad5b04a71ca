import COnnx

/// Operations on integers that stand for floats. What they round is not followed: the float
/// network is what a model means.
extension Trace {
    /// nil for any other operation.
    func quantizedOperation(_ node: OnnxNode) throws -> [TracedValue]? {
        switch node.opType {
        case "QuantizeLinear":
            guard case .view(let view) = input(0) else { return [input(0)] }
            let step = try fixedStep(1, 2)
            return [.view(try make(.quantized(view, step), view.shape))]
        case "DynamicQuantizeLinear":
            let view = try view(0)
            let step = Term.Step.dynamic(node.outputs.first ?? -1)
            return [
                .view(try make(.quantized(view, step), view.shape)),
                .view(try make(.scale(step), [])), .view(try make(.zero(step), [])),
            ]
        case "DequantizeLinear":
            return [try dequantized(node)]
        case "MatMulInteger":
            let (data, step) = try quantized(0)
            try requireZero(2, of: step)
            guard let stored = consumed(constant(1), 1, isTransposed: true),
                stored.shape.count == 2, data.shape.last == stored.shape[0]
            else {
                throw unknown("multiplies integers that are no stored matrix")
            }
            let product = Term.IntegerProduct(
                stored: stored, zero: try optionalConstant(3), step: step)
            return [
                .view(
                    try make(
                        .integerProduct(data, product),
                        data.shape.dropLast() + [stored.shape[1]]))
            ]
        case "MatMulIntegerToFloat":
            try requireNoBias(6)
            let (data, step) = try quantized(0)
            try requireScale(2, of: step)
            try requireZero(4, of: step)
            let weight = constant(1)?.dequantized(
                scale: constant(3), zero: try optionalConstant(5), axis: 1, block: 0)
            return [try product(data, weight?.transposed, input: 1, isTransposed: true)]
        case "DynamicQuantizeMatMul":
            try requireNoBias(4)
            let weight = constant(1)?.dequantized(
                scale: constant(2), zero: try optionalConstant(3), axis: 1, block: 0)
            return [try product(try view(0), weight?.transposed, input: 1, isTransposed: true)]
        case "QLinearMatMul":
            let (data, step) = try quantized(0)
            guard step == (try fixedStep(1, 2)) else {
                throw unknown("reads integers by another scale than they were made by")
            }
            let weight = constant(3)?.dequantized(
                scale: constant(4), zero: try optionalConstant(5), axis: 1, block: 0)
            let made = try product(data, weight?.transposed, input: 3, isTransposed: true)
            guard case .view(let view) = made else { return [made] }
            return [.view(try make(.quantized(view, try fixedStep(6, 7)), view.shape))]
        default: return nil
        }
    }

    private func fixedStep(_ scale: Int, _ zero: Int) throws -> Term.Step {
        guard let factor = try numbers(scale).uniformValue else {
            throw unknown("makes integers by several scales")
        }
        let offset = try optionalNumbers(zero)?.uniformValue ?? 0
        return .fixed(scale: factor, zero: offset)
    }

    /// The data behind integers, and how they became such.
    private func quantized(_ index: Int) throws -> (View, Term.Step) {
        let integers = try view(index)
        guard integers.function == nil,
            case .quantized(let view, let step) = terms[integers.term].kind,
            let shown = shown(view, through: integers.layout)
        else { throw unknown("multiplies what no quantiser made") }
        return (shown, step)
    }

    /// A view seen through the layout of the term that holds it.
    private func shown(_ view: View, through layout: Layout) -> View? {
        if layout == Layout(view.shape) { return view }
        // What a quantiser read in its own order moves like the array itself.
        guard view.layout.isWhole else { return nil }
        var view = view
        view.layout = layout
        return view
    }

    private func requireZero(_ index: Int, of step: Term.Step) throws {
        if case .view(let zero) = input(index), case .zero(let other) = terms[zero.term].kind,
            other == step, zero.function == nil
        {
            return
        }
        if case .fixed(_, let stated) = step,
            (try optionalNumbers(index)?.uniformValue ?? 0) == stated
        {
            return
        }
        throw unknown("takes another zero point than its integers were made by")
    }

    private func requireScale(_ index: Int, of step: Term.Step) throws {
        if case .view(let scale) = input(index), case .scale(let other) = terms[scale.term].kind,
            other == step, scale.function == nil
        {
            return
        }
        if case .fixed(let stated, _) = step,
            try optionalNumbers(index)?.uniformValue == stated
        {
            return
        }
        throw unknown("takes another scale than its integers were made by")
    }

    private func dequantized(_ node: OnnxNode) throws -> TracedValue {
        if case .view(let integers) = input(0) {
            guard integers.function == nil else { throw unknown("scales computed integers") }
            switch terms[integers.term].kind {
            case .quantized(let view, let step):
                guard step == (try fixedStep(1, 2)),
                    let shown = shown(view, through: integers.layout)
                else { throw unknown("takes another scale than its integers were made by") }
                return .view(shown)
            case .rows(let table) where !table.weight.isFloating:
                // onnxruntime's quantiser gathers integers and scales them further down.
                guard let scale = constant(1), scale.isScalar,
                    let weight = table.weight.dequantized(
                        scale: scale, zero: try optionalConstant(2), axis: 1, block: 0)
                else { throw unknown("scales the integers of a table by columns") }
                // onnxruntime's optimiser gives every reader a DequantizeLinear of its own.
                let known = dequantizedRows[integers.term].flatMap { term -> View? in
                    guard case .rows(let other) = terms[term].kind,
                        other.weight.quantization == weight.quantization
                    else { return nil }
                    return View(term: term, layout: integers.layout, maker: maker)
                }
                var made =
                    try known
                    ?? make(
                        .rows(.init(weight: weight, indices: table.indices)),
                        terms[integers.term].shape)
                dequantizedRows[integers.term] = made.term
                made.layout = integers.layout
                return .view(made)
            default: throw unknown("scales what no quantiser made")
            }
        }
        if let output = node.outputs.first, let constant = maker.graph.constant(output) {
            if constant.quantization == nil { return .constant(constant) }
            if constant.isWeight { return .constant(constant) }
        }
        let stored = try numbers(0)
        guard stored.kind != .float else { return .numbers(stored) }
        let zero = try optionalNumbers(2)?.uniformValue ?? 0
        guard let scale = try numbers(1).uniformValue else { throw unknown("has several scales") }
        return try known(
            stored.cast(to: .float)?.mapped { ($0 - zero) * scale })
    }

    /// An integer product times its scales is a product of floats; nil for anything else.
    func scaled(_ x: View, _ y: View) throws -> View? {
        guard x.function == nil, y.function == nil,
            case .integerProduct(let data, let product) = terms[x.term].kind,
            case .scaleProduct(let step, let scale) = terms[y.term].kind, step == product.step,
            let weight = product.stored.dequantized(
                scale: scale, zero: product.zero, axis: 1, block: 0)?.transposed
        else { return nil }
        var made = try make(
            .product(data, .init(weight: weight, output: node.outputs.first ?? -1)),
            terms[x.term].shape)
        made.layout = x.layout
        return made
    }
}
