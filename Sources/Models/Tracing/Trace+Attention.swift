import T5

/// onnxruntime's fused attentions and ONNX's own, spelled out as the products that they are.
extension Trace {
    /// nil for any other operation.
    func attended(_ node: OnnxNode) throws -> [TracedValue]? {
        switch (node.domain, node.opType) {
        case ("com.microsoft", "Attention"): return try packedAttention(node)
        case ("com.microsoft", "MultiHeadAttention"): return try multiHeadAttention(node)
        case ("", "Attention"): return try plainAttention(node)
        case ("com.microsoft", "RelativePositionBias"): return [try relativeBias(node)]
        default: return nil
        }
    }

    /// [batch, length, heads * width] as [batch, heads, length, width].
    private func heads(_ view: View, _ count: Int) throws -> View {
        var view = view
        let shape = view.shape
        guard shape.count == 3, count > 0, shape[2] % count == 0,
            let layout = view.layout.reshaped([shape[0], shape[1], count, shape[2] / count])?
                .transposed([0, 2, 1, 3])
        else { throw unknown("has \(count) heads for \(shape)") }
        view.layout = layout
        return view
    }

    /// [batch, heads, length, width] as [batch, length, heads * width].
    private func merged(_ view: View) throws -> View {
        var view = view
        let shape = view.shape
        guard
            let layout = view.layout.transposed([0, 2, 1, 3])?.reshaped([
                shape[0], shape[2], shape[1] * shape[3],
            ])
        else { throw unknown("has heads of shape \(shape)") }
        view.layout = layout
        return view
    }

    /// Softmax(query key^T * scale + masks) value, all [batch, heads, length, width].
    private func attend(
        _ query: View, _ key: View, _ value: View, scale: Float?, masks: [TracedValue]
    ) throws -> View {
        var scores = try matrixProduct(query, try swapped(key))
        let width = Double(query.shape.last ?? 1)
        let factor = scale.map(Double.init) ?? 1 / width.squareRoot()
        if factor != 1 { scores = pointwise(scores) { $0.then { $0 * factor } } }
        for mask in masks {
            switch mask {
            case .absent: continue
            case .unknown(let unknown): throw unknown
            case .numbers(let numbers): scores = try shifted(scores, by: numbers)
            case .constant(let constant):
                guard let numbers = constant.asNumbers else { throw unknown("has a stored mask") }
                scores = try shifted(scores, by: numbers)
            case .view(var bias):
                guard let layout = bias.layout.expanded(to: scores.shape) else {
                    throw unknown("adds \(bias.shape) to scores of shape \(scores.shape)")
                }
                bias.layout = layout
                scores = try make(.sum(scores, bias), scores.shape)
            }
        }
        return try matrixProduct(try make(.softmax(scores), scores.shape), value)
    }

    /// A padding mask, [batch, keys] of ones and zeros, as what is added to scores.
    private func padding(_ index: Int, filter: Float?) throws -> TracedValue {
        guard let mask = try optionalNumbers(index) else { return .absent }
        guard mask.shape.count == 2, mask.values.allSatisfy({ $0 == 0 || $0 == 1 }) else {
            throw unknown("has a mask of shape \(mask.shape), expected one of ones and zeros")
        }
        let fill = Double(filter ?? -10_000)
        return try known(
            mask.mapped(to: .float) { $0 == 1 ? 0 : fill }?.reshaped([
                mask.shape[0], 1, 1, mask.shape[1],
            ]))
    }

    private func packedAttention(_ node: OnnxNode) throws -> [TracedValue] {
        let data = try view(0)
        try requireNoBias(2)
        guard let stored = constant(1), stored.shape.count == 2, isAbsent(4), isAbsent(6),
            (node.int("unidirectional") ?? 0) == 0, (node.int("do_rotary") ?? 0) == 0,
            stored.isFloating
        else { throw unknown("attends otherwise than T5's encoder") }
        let sizes = node.ints("qkv_hidden_sizes") ?? [Int](repeating: stored.shape[1] / 3, count: 3)
        guard sizes.count == 3, sizes.allSatisfy({ $0 > 0 }) else {
            throw unknown("has sizes \(sizes)")
        }
        var begin = 0
        var parts: [View] = []
        for size in sizes {
            // Columns of one tensor have no initializer of their own to become.
            guard let part = stored.with(stored.view.columns(begin, size))?.transposed,
                part.shape[1] == data.shape.last
            else { throw unknown("has a matrix \(stored.shape) for sizes \(sizes)") }
            let made = try make(
                .product(data, .init(weight: part, output: -1)), data.shape.dropLast() + [size])
            parts.append(try heads(made, node.int("num_heads") ?? 0))
            begin += size
        }
        let context = try attend(
            parts[0], parts[1], parts[2], scale: node.float("scale"),
            masks: [try padding(3, filter: node.float("mask_filter_value")), input(5)])
        return [.view(try merged(context))]
    }

    private func multiHeadAttention(_ node: OnnxNode) throws -> [TracedValue] {
        try requireNoBias(3)
        guard (node.int("unidirectional") ?? 0) == 0, isAbsent(8), isAbsent(9),
            let count = node.int("num_heads")
        else { throw unknown("attends otherwise than T5") }
        let query = try heads(try view(0), count)
        func withHeads(_ index: Int) throws -> View {
            let view = try view(index)
            return view.shape.count == 4 ? view : try heads(view, count)
        }
        var (key, value) = (try withHeads(1), try withHeads(2))
        if !isAbsent(6) {
            key = try appended(try view(6), key)
            value = try appended(try view(7), value)
        }
        let context = try attend(
            query, key, value, scale: node.float("scale"),
            masks: [try padding(4, filter: node.float("mask_filter_value")), input(5)])
        return [.view(try merged(context)), .view(key), .view(value)]
    }

    private func appended(_ past: View, _ new: View) throws -> View {
        var shape = new.shape
        guard past.shape.count == 4, shape.count == 4 else { throw unknown("has an odd past") }
        shape[2] += past.shape[2]
        return try make(.joined([past, new], axis: 2), shape)
    }

    private func plainAttention(_ node: OnnxNode) throws -> [TracedValue] {
        guard (node.int("is_causal") ?? 0) == 0, (node.float("softcap") ?? 0) == 0,
            (node.int("qk_matmul_output_mode") ?? 0) == 0, isAbsent(6)
        else { throw unknown("attends otherwise than T5") }
        let isFlat = try view(0).shape.count == 3
        func withHeads(_ index: Int, _ attribute: String) throws -> View {
            let view = try view(index)
            return view.shape.count == 4 ? view : try heads(view, node.int(attribute) ?? 0)
        }
        let query = try withHeads(0, "q_num_heads")
        var (key, value) = (
            try withHeads(1, "kv_num_heads"), try withHeads(2, "kv_num_heads")
        )
        if !isAbsent(4) {
            key = try appended(try view(4), key)
            value = try appended(try view(5), value)
        }
        var mask = input(3)
        if case .numbers(let numbers) = mask, numbers.kind == .bool {
            mask = try known(numbers.mapped(to: .float) { $0 != 0 ? 0 : -Double.infinity })
        }
        let context = try attend(
            query, key, value, scale: node.float("scale"), masks: [mask])
        return [.view(isFlat ? try merged(context) : context), .view(key), .view(value)]
    }

    private func relativeBias(_ node: OnnxNode) throws -> TracedValue {
        guard let stored = consumed(constant(0), 0), stored.shape.count == 2,
            stored.view.isRowMajor, stored.view.first == 0,
            let queries = try numbers(1).integer, let keys = try numbers(2).integer,
            queries > 0, keys > 0, Numbers.count([queries, keys, stored.shape[1]]) != nil
        else { throw unknown("has no table of biases") }
        let maxDistance = node.int("max_distance") ?? 128
        let isBidirectional = (node.int("is_bidirectional") ?? 0) != 0
        guard maxDistance > stored.shape[0] / 2, stored.shape[0] >= 4 else {
            throw unknown("has max_distance \(maxDistance) for \(stored.shape[0]) buckets")
        }
        try spend(queries * keys)
        let buckets = (0..<queries).flatMap { query in
            (0..<keys).map { key in
                Double(
                    relativePositionBucket(
                        key - query, bidirectional: isBidirectional, buckets: stored.shape[0],
                        maxDistance: maxDistance))
            }
        }
        guard let indices = Numbers(.integer, [queries, keys], buckets) else {
            throw unknown("has too many positions")
        }
        // onnxruntime stores this table by columns, under the dims of one by rows.
        var view = stored.view
        view.strides = [1, stored.shape[0]]
        var made = try rows(stored.with(view), indices, maxDistance: maxDistance)
        guard
            let layout = made.layout.transposed([2, 0, 1])?.reshaped([
                1, stored.shape[1], queries, keys,
            ])
        else { throw unknown("has no table of biases") }
        made.layout = layout
        return .view(made)
    }
}
