import COnnx

/// The operations on quantised weights, and what they become when the weight is a float.
extension Graph {
    /// The node that makes a value, in this graph or around it.
    func maker(of value: Int32) -> OnnxNode? {
        producers[value].map { nodes[$0.node] } ?? outer?.maker(of: value)
    }

    /// The edits that let a node read a float weight instead of its quantised one; nil for an
    /// operation that takes a float already, or that is none of the known ones.
    func floatEdits(
        of node: OnnxNode, reading weight: ModelRewriter.Input
    ) -> [Int: ModelRewriter.Edit]? {
        func product(of data: Int32, noBias bias: Int? = nil) -> [Int: ModelRewriter.Edit]? {
            guard bias.map({ node.input($0) < 0 }) ?? true else { return nil }
            return [node.position: .init(opType: "MatMul", inputs: [.value(data), weight])]
        }
        switch node.opType {
        case "MatMulNBits": return product(of: node.input(0), noBias: 5)
        case "MatMulBnb4": return product(of: node.input(0))
        case "DynamicQuantizeMatMul": return product(of: node.input(0), noBias: 4)
        case "MatMulIntegerToFloat":
            return unquantized(node.input(0)).flatMap { product(of: $0, noBias: 6) }
        case "MatMulInteger":
            guard let data = unquantized(node.input(0)), var edits = product(of: data),
                let scaling = scaling(after: node)
            else { return nil }
            edits[scaling.node.position] = .init(
                opType: "Identity", inputs: [.value(scaling.value)])
            return edits
        case "QLinearMatMul":
            guard let data = unquantized(node.input(0)), var edits = product(of: data) else {
                return nil
            }
            return dequantizing(node, &edits) ? edits : nil
        case "GatherBlockQuantized":
            guard (node.int("gather_axis") ?? 0) == 0 else { return nil }
            return [
                node.position: .init(opType: "Gather", inputs: [weight, .value(node.input(1))])
            ]
        case "Gather":
            guard constant(node.input(0))?.isFloating == false else { return nil }
            var edits = [
                node.position: ModelRewriter.Edit(
                    opType: nil, inputs: [weight, .value(node.input(1))])
            ]
            return dequantizing(node, &edits) ? edits : nil
        default: return nil
        }
    }

    /// What a quantised value was before.
    private func unquantized(_ value: Int32) -> Int32? {
        guard let maker = maker(of: value),
            maker.opType == "DynamicQuantizeLinear" || maker.opType == "QuantizeLinear"
        else { return nil }
        return maker.input(0)
    }

    /// The one product that scales a MatMulInteger's result, and the value that it scales.
    private func scaling(after node: OnnxNode) -> (node: OnnxNode, value: Int32)? {
        guard let sum = node.outputs.first, let cast = onlyConsumer(of: sum),
            cast.opType == "Cast", let value = cast.outputs.first,
            let scaling = onlyConsumer(of: value), scaling.opType == "Mul", scaling.position >= 0,
            let factor = scaling.inputs.first(where: { $0 != value }),
            maker(of: factor)?.opType == "Mul"
        else { return nil }
        return (scaling, value)
    }

    private func onlyConsumer(of value: Int32) -> OnnxNode? {
        guard let uses = consumers[value], uses.count == 1 else { return nil }
        return nodes[uses[0].node]
    }

    /// Turns every DequantizeLinear behind a node, past what only moves elements, into an
    /// Identity; false if anything else reads the integers.
    private func dequantizing(_ node: OnnxNode, _ edits: inout [Int: ModelRewriter.Edit]) -> Bool {
        var values = node.outputs
        var steps = 0
        while let value = values.popLast() {
            guard value >= 0, !outputs.contains(value) else { return false }
            for use in consumers[value] ?? [] {
                steps += 1
                let user = nodes[use.node]
                guard use.input == 0, user.position >= 0, steps < 1024 else { return false }
                switch user.opType {
                case "DequantizeLinear":
                    edits[user.position] = .init(opType: "Identity", inputs: [.value(value)])
                case "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Slice", "Identity", "Expand":
                    values += user.outputs
                default: return false
                }
            }
        }
        return true
    }
}
