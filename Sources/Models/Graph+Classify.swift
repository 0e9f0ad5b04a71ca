import COnnx

/// Finds the anchors of a graph: products, attentions, norms, tables, softmaxes.
extension Graph {
    func classify() {
        for (index, node) in nodes.enumerated() {
            anchors[index] = anchor(node)
        }
    }

    private func anchor(_ node: OnnxNode) -> Anchor? {
        switch node.opType {
        case "MatMul", "FusedMatMul", "Gemm", "MatMulInteger", "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul", "QLinearMatMul", "MatMulNBits", "MatMulBnb4":
            return product(node)
        case "Attention" where node.domain == "com.microsoft":
            return packedAttention(node)
        case "MultiHeadAttention", "DecoderMaskedMultiHeadAttention", "Attention":
            let isFused = node.domain == "com.microsoft"
            return .attention(
                AttentionProduct(
                    form: .separate(
                        query: node.input(0), key: node.input(1), value: node.input(2)),
                    bias: node.input(isFused ? 5 : 3),
                    heads: node.int("num_heads") ?? node.int("q_num_heads")))
        case "SimplifiedLayerNormalization", "RMSNormalization":
            return norm(node, inputs: [node.input(0)], weightInput: 1, epsilon: 1e-5)
        case "SkipSimplifiedLayerNormalization":
            return norm(
                node, inputs: [node.input(0), node.input(1)], weightInput: 2, epsilon: 1e-12)
        case "Mul":
            return multiplication(node)
        case "Gather":
            return gather(node)
        case "GatherBlockQuantized":
            let weight = constant(node.input(0))?.dequantized(
                scale: constant(node.input(2)), zero: constant(node.input(3)),
                axis: node.int("quantize_axis") ?? 1, block: node.int("block_size") ?? 0)
            return weight.map { .table(Table(weight: $0, indices: node.input(1))) }
        case "RelativePositionBias":
            guard let stored = constant(node.input(0)), stored.shape.count == 2,
                stored.view.isRowMajor
            else { return nil }
            // ONNX Runtime stores this table by columns, under the dims of one by rows.
            var view = stored.view
            view.strides = [1, stored.shape[0]]
            return stored.with(view).map {
                .table(Table(weight: $0, indices: -1, maxDistance: node.int("max_distance")))
            }
        case "Softmax", "BiasSoftmax":
            return .softmax
        default:
            return nil
        }
    }

    private func consuming(
        _ constant: Constant?, _ node: OnnxNode, _ input: Int, isTransposed: Bool = false
    ) -> Constant? {
        var constant = constant
        constant?.consumer =
            node.position < 0
            ? nil : .init(position: node.position, input: input, isTransposed: isTransposed)
        return constant
    }

    // MARK: Products

    private func product(_ node: OnnxNode) -> Anchor? {
        let weightInput = node.opType == "QLinearMatMul" ? 3 : 1
        guard let stored = constant(node.input(weightInput)) else {
            switch node.opType {
            case "MatMul", "FusedMatMul", "MatMulInteger":
                return .attention(
                    AttentionProduct(form: .plain(left: node.input(0), right: node.input(1))))
            default: return nil
            }
        }
        guard constant(node.input(0)) == nil else { return nil }
        // These state their sizes apart, [out, in].
        let isPacked = node.opType == "MatMulNBits" || node.opType == "MatMulBnb4"
        guard isPacked || stored.shape.count == 2 else { return nil }
        let keepsOrder = (node.int("transB") ?? 0) != 0
        var alpha: Float = 1
        var weight: Constant?
        switch node.opType {
        case "MatMulNBits":
            weight = stored.blocks(
                node, scale: constant(node.input(2)), zero: constant(node.input(3)),
                groups: constant(node.input(4)))
        case "MatMulBnb4":
            weight = stored.codes(node, scale: constant(node.input(2)))
        case "FusedMatMul", "Gemm":
            alpha = node.float("alpha") ?? 1
            weight = stored
        case "MatMulInteger":
            weight = stored.dequantized(
                scale: scaleAfter(node), zero: constant(node.input(3)), axis: 1, block: 0)
        case "MatMulIntegerToFloat":
            weight = stored.dequantized(
                scale: constant(node.input(3)), zero: constant(node.input(5)), axis: 1, block: 0)
        case "DynamicQuantizeMatMul":
            weight = stored.dequantized(
                scale: constant(node.input(2)), zero: constant(node.input(3)), axis: 1, block: 0)
        case "QLinearMatMul":
            weight = stored.dequantized(
                scale: constant(node.input(4)), zero: constant(node.input(5)), axis: 1, block: 0)
        default:
            weight = stored
        }
        let turned = keepsOrder || isPacked ? weight : weight?.transposed
        guard let weight = consuming(turned, node, weightInput, isTransposed: !keepsOrder),
            weight.isFloating, let output = node.outputs.first
        else { return nil }
        return .product(
            WeightProduct(input: node.input(0), output: output, weight: weight, alpha: alpha))
    }

    /// The scale of a MatMulInteger's matrix: the constant among the factors after its Cast.
    private func scaleAfter(_ node: OnnxNode) -> Constant? {
        var value = node.outputs.first ?? -1
        for _ in 0..<6 {
            var next: Int32 = -1
            for use in consumers[value] ?? [] where takeStep() {
                let user = nodes[use.node]
                if user.opType == "Cast" { next = user.outputs.first ?? -1 }
                guard user.opType == "Mul" else { continue }
                let other = user.input(1 - use.input)
                if let scale = constant(other) { return scale }
                guard let producer = producers[other], nodes[producer.node].opType == "Mul" else {
                    continue
                }
                return nodes[producer.node].inputs.lazy.compactMap { self.constant($0) }.first
            }
            value = next
        }
        return nil
    }

    private func packedAttention(_ node: OnnxNode) -> Anchor? {
        guard let stored = constant(node.input(1)), stored.shape.count == 2 else { return nil }
        let sizes = node.ints("qkv_hidden_sizes") ?? [Int](repeating: stored.shape[1] / 3, count: 3)
        guard sizes.count == 3, stored.isFloating else { return nil }
        var begin = 0
        var weights: [Constant] = []
        for size in sizes {
            guard let part = stored.with(stored.view.columns(begin, size))?.transposed else {
                return nil
            }
            weights.append(part)
            begin += size
        }
        return .attention(
            AttentionProduct(
                form: .packed(input: node.input(0), weights: weights),
                bias: node.input(5), heads: node.int("num_heads")))
    }

    // MARK: Norms and tables

    private func norm(
        _ node: OnnxNode, inputs: [Int32], weightInput: Int, epsilon: Float
    ) -> Anchor? {
        guard let weight = consuming(constant(node.input(weightInput)), node, weightInput),
            weight.isFloating
        else { return nil }
        return .norm(
            Norm(inputs: inputs, weight: weight, epsilon: node.float("epsilon") ?? epsilon))
    }

    /// A product with a constant vector is a norm's last step if a mean was taken just before.
    private func multiplication(_ node: OnnxNode) -> Anchor? {
        for input in 0...1 {
            let other = node.input(1 - input)
            guard let weight = constant(node.input(input)), constant(other) == nil,
                weight.shape.filter({ $0 != 1 }).count == 1, weight.isFloating,
                isNormalized(other)
            else { continue }
            return consuming(weight, node, input).map { .norm(Norm(inputs: [other], weight: $0)) }
        }
        return nil
    }

    private static let means: Set<String> = [
        "ReduceMean", "ReduceSumSquare", "ReduceSum", "LpNormalization", "ReduceL2",
        "MeanVarianceNormalization",
    ]

    private func isNormalized(_ value: Int32) -> Bool {
        var seen = Set<Int32>()
        var queue = [(value: value, depth: 0)]
        var next = 0
        while next < queue.count {
            let (value, depth) = queue[next]
            next += 1
            guard depth <= 9, queue.count < 4096, takeStep(), seen.insert(value).inserted,
                let producer = producers[value]
            else { continue }
            let node = nodes[producer.node]
            if Self.means.contains(node.opType) { return true }
            switch node.opType {
            case "MatMul", "Gather", "Gemm", "Softmax": continue
            case "Cast", "QuantizeLinear", "DequantizeLinear", "Identity", "Constant":
                queue += node.inputs.map { ($0, depth) }
            default:
                queue += node.inputs.map { ($0, depth + 1) }
            }
        }
        return false
    }

    private func gather(_ node: OnnxNode) -> Anchor? {
        guard let stored = constant(node.input(0)), constant(node.input(1)) == nil,
            stored.shape.count == 2, (node.int("axis") ?? 0) == 0
        else { return nil }
        let weight = stored.isFloating ? stored : dequantizedLater(node, stored)
        return consuming(weight, node, 0).map { .table(Table(weight: $0, indices: node.input(1))) }
    }

    /// ONNX Runtime's dynamic quantiser gathers integers and scales them further down.
    private func dequantizedLater(_ node: OnnxNode, _ stored: Constant) -> Constant? {
        var value = node.outputs.first ?? -1
        for _ in 0..<10 {
            var next: Int32 = -1
            for use in consumers[value] ?? [] where use.input == 0 && takeStep() {
                let user = nodes[use.node]
                switch user.opType {
                case "DequantizeLinear":
                    return stored.dequantized(
                        scale: constant(user.input(1)), zero: constant(user.input(2)),
                        axis: user.int("axis") ?? 1, block: user.int("block_size") ?? 0)
                case "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Slice", "Identity", "Expand":
                    next = user.outputs.first ?? -1
                default: break
                }
            }
            value = next
        }
        return nil
    }
}

extension Constant {
    /// Integers as the numbers they stand for; nil if scale or zero point are no constants.
    func dequantized(scale: Constant?, zero: Constant?, axis: Int, block: Int) -> Constant? {
        guard quantization == nil, let scale, let scales = scale.numbers else { return nil }
        let zeros = zero?.numbers ?? []
        guard scales.count == 1 || (view.isRowMajor && view.first == 0 && shape == tensor.dims)
        else { return nil }
        var constant = self
        constant.quantization = .linear(
            scale: scales.map { Float($0) }, scaleShape: scale.shape,
            zero: zeros.map { Float($0) }, axis: axis < 0 ? axis + shape.count : axis,
            block: max(block, 0))
        constant.valueType = scale.valueType
        return constant
    }

    /// The matrix of a MatMulNBits, [out, in].
    func blocks(
        _ node: OnnxNode, scale: Constant?, zero: Constant?, groups: Constant?
    ) -> Constant? {
        guard quantization == nil, let scales = scale?.numbers, let columns = node.int("K"),
            let rows = node.int("N"), let block = node.int("block_size"), rows > 0, columns > 0,
            rows <= Int(Int32.max), columns <= Int(Int32.max)
        else { return nil }
        var zeros = Quantization.BlockZero.middle
        if let zero, zero.tensor.dataType == Int32(ONNX_UINT8) {
            zeros = .packed(Array(zero.tensor.bytes))
        } else if let numbers = zero?.numbers {
            zeros = .floats(numbers.map { Float($0) })
        }
        var constant = self
        constant.quantization = .blocks(
            rows: rows, columns: columns, bits: node.int("bits") ?? 4, block: block,
            scale: scales.map { Float($0) }, zero: zeros, groups: groups?.integers)
        constant.view = StridedView([rows, columns])
        constant.valueType = scale?.valueType ?? Int32(ONNX_FLOAT)
        return constant
    }

    /// The matrix of a MatMulBnb4, [out, in].
    func codes(_ node: OnnxNode, scale: Constant?) -> Constant? {
        guard quantization == nil, let scales = scale?.numbers, let columns = node.int("K"),
            let rows = node.int("N"), let block = node.int("block_size"), rows > 0, columns > 0,
            rows <= Int(Int32.max), columns <= Int(Int32.max)
        else { return nil }
        var constant = self
        constant.quantization = .codebook(
            rows: rows, columns: columns,
            values: node.int("quant_type") == 0 ? Quantization.fp4 : Quantization.nf4,
            block: block, scale: scales.map { Float($0) })
        constant.view = StridedView([rows, columns])
        constant.valueType = scale?.valueType ?? Int32(ONNX_FLOAT)
        return constant
    }
}
