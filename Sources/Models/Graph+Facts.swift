import Glibc

/// Constants of the network that its graph states in passing.
extension OnnxNode {
    /// As `dense_act_fn` names it; nil for a node that is no activation.
    var activation: String? {
        switch opType {
        case "Relu": "relu"
        case "Tanh", "FastGelu": "gelu_new"
        case "Gelu": string("approximate") == "tanh" ? "gelu_new" : "gelu"
        case "Erf", "BiasGelu": "gelu"
        case "Sigmoid", "Silu", "Swish": "silu"
        case "QuickGelu": abs((float("alpha") ?? 1.702) - 1) > 1e-3 ? "quick_gelu" : "silu"
        case "Elu": "elu"
        default: nil
        }
    }
}

extension Graph {
    /// The small constant added before a norm's square root.
    func epsilon(of norm: Norm) throws -> Float? {
        guard let input = norm.inputs.first else { return nil }
        for index in try trace([input]).passed where nodes[index].opType == "Add" {
            for value in nodes[index].inputs {
                if let number = constant(value)?.number, number > 0, number < 1e-3 {
                    return Float(number)
                }
            }
        }
        return nil
    }

    /// What the decoder's output is multiplied by on its way to the head.
    func headScale(of head: WeightProduct) throws -> Float? {
        var scale = head.alpha
        var value = head.input
        for _ in 0..<8 {
            guard let producer = producers[value], anchors[producer.node]?.norm == nil else {
                break
            }
            let node = nodes[producer.node]
            guard node.opType == "Mul" || node.opType == "Div" else {
                value = node.input(0)
                continue
            }
            let isSecond = constant(node.input(1)) != nil
            guard let factor = constant(node.input(isSecond ? 1 : 0))?.number else { break }
            scale = node.opType == "Mul" ? scale * Float(factor) : scale / Float(factor)
            value = node.input(isSecond ? 0 : 1)
        }
        return scale
    }

    /// relative_attention_max_distance, from the constants around the logarithm that finds
    /// the bucket: log(n / exact) / log(max / exact) * (buckets - exact).
    func maxDistance(of table: Table, isBidirectional: Bool) throws -> Int? {
        guard let all = table.weight.shape.first else { return nil }
        let buckets = isBidirectional ? all / 2 : all
        let exact = buckets / 2
        for log in try logarithms(above: table.indices) {
            var factor = 1.0
            var value = nodes[log].outputs.first ?? -1
            for _ in 0..<4 {
                let next = consumers[value]?.first {
                    ["Div", "Mul", "Cast"].contains(nodes[$0.node].opType)
                }
                guard let next else { break }
                let node = nodes[next.node]
                if node.opType != "Cast" {
                    guard let number = constant(node.input(1 - next.input))?.number else { break }
                    factor = node.opType == "Div" ? factor / number : factor * number
                }
                value = node.outputs.first ?? -1
            }
            let exponent = Double(buckets - exact) / factor
            // e^14: no model looks a million tokens back; quantised constants are garbage.
            guard factor != 1, exponent.isFinite, exponent > 0, exponent < 14 else { continue }
            return Int(exactly: (Double(exact) * exp(exponent)).rounded())
        }
        return nil
    }

    private func logarithms(above value: Int32) throws -> [Int] {
        var seen = Set<Int32>()
        var stack = [value]
        var found: [Int] = []
        while let value = stack.popLast() {
            try spend()
            guard seen.insert(value).inserted, let producer = producers[value] else { continue }
            let node = nodes[producer.node]
            if node.opType == "Log" { found.append(producer.node) }
            guard anchors[producer.node] == nil, !dataInputs(node, output: 0).isEmpty else {
                continue
            }
            stack += node.inputs.filter { $0 >= 0 }
        }
        return found
    }

    /// The parameter of a cross-attention key or value that is an output of the encoder's
    /// file: the one place where a name decides, e.g. `present_key_cross_0`.
    func cacheOutput(of product: WeightProduct) throws -> String? {
        var seen = Set<Int32>()
        var stack = [product.output]
        var names: [String] = []
        while let value = stack.popLast() {
            try spend()
            guard seen.insert(value).inserted else { continue }
            if outputs.contains(value) { names.append(model.valueName(value)) }
            for use in consumers[value] ?? [] {
                let node = nodes[use.node]
                guard anchors[use.node] == nil, carriesData(node, input: use.input) else {
                    continue
                }
                stack += node.outputs.filter { $0 >= 0 }
            }
        }
        guard let name = names.sorted().first else { return nil }
        let isKey = name.contains("key")
        let digits = name.drop { !$0.isNumber }.prefix { $0.isNumber }
        guard isKey || name.contains("value"), let block = Int(digits) else { return nil }
        return "decoder.block.\(block).layer.1.EncDecAttention.\(isKey ? "k" : "v")"
    }
}
