import Tensors

/// One or more weight matrices that are applied to the same input, side by side: the three
/// of self-attention, the two of a gated feed-forward layer, or just one.
///
/// Serving keeps them packed as one matrix; training keeps each in its plain layout,
/// [outputs, inputs], inside a flat array. Products are bitwise the same either way.
package struct Projection: Sendable {
    package enum Storage: Sendable {
        case packed(PackedMatrix)
        case plain([Rows])
    }

    package let storage: Storage
    /// Low-rank changes that are trained in place of the weights themselves.
    package let adapters: [Adapter]
    /// The rows that are trained where the others are not: they stand for those of the weights.
    package let chosen: ChosenRows?

    package init(
        _ packed: PackedMatrix, adapters: [Adapter] = [], chosen: ChosenRows? = nil
    ) {
        storage = .packed(packed)
        self.adapters = adapters
        self.chosen = chosen
    }

    /// - Parameter parts: one or more matrices each; of gradients, as many as of the weights, and
    ///   one that is not trained has no rows.
    package init(_ parts: [Rows], adapters: [Adapter] = [], chosen: ChosenRows? = nil) {
        storage = .plain(parts)
        self.adapters = adapters
        self.chosen = chosen
    }

    package var outputs: Int {
        switch storage {
        case .packed(let matrix): matrix.outputs
        case .plain(let parts): parts.reduce(0) { $0 + $1.count }
        }
    }

    /// The weights in their plain layout; empty when packed.
    package var parts: [Rows] {
        if case .plain(let parts) = storage { parts } else { [] }
    }

    /// What keys and values that it computes are kept in: bf16 where weights are rounded.
    ///
    /// - Parameter plain: the precision of products with plain weights.
    func keyValuePrecision(plain: Precision) -> Precision {
        let precision = if case .packed(let matrix) = storage { matrix.precision } else { plain }
        return precision == .float32 ? .float32 : .bf16
    }

    /// Of gradients: whether anything here is trained.
    package var isTrained: Bool {
        chosen != nil || !adapters.isEmpty || parts.contains { !$0.isEmpty }
    }
}

/// A few rows of a table, by the token ids that they belong to.
package struct ChosenRows: Sendable {
    /// Ascending.
    package let ids: [Int32]
    /// [ids, width].
    package let rows: Rows

    package init(ids: [Int32], rows: Rows) {
        self.ids = ids
        self.rows = rows
    }

    /// Overwrites the columns of out, [rows, vocab_size], that belong to the ids with those of
    /// x Wᵀ.
    package func project(
        _ x: Rows, into out: Rows, precision: Precision, arena: Arena, workers: Workers
    ) throws {
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let own = try logits(x, precision: precision, arena: arena, workers: workers)
        for row in 0..<x.count {
            for (column, id) in ids.enumerated() { out[row][Int(id)] = own[row][column] }
        }
    }

    /// x Wᵀ, [rows, ids], in the arena.
    package func logits(
        _ x: Rows, precision: Precision, arena: Arena, workers: Workers
    ) throws -> Rows {
        let own = try arena.rows(x.count, ids.count)
        try product(
            x, weight: rows, into: own, adds: false, precision: precision, arena: arena,
            workers: workers)
        return own
    }

    /// The columns of `values`, [rows, vocab_size], that belong to the ids, [rows, ids].
    package func columns(of values: Rows, arena: Arena) throws -> Rows {
        let picked = try arena.rows(values.count, ids.count)
        for row in 0..<values.count {
            for (column, id) in ids.enumerated() {
                picked[row][column] = values[row][Int(id)]
            }
        }
        return picked
    }
}

/// A change `scale * b a` of some of a projection's outputs (Hu and others, 2022: LoRA).
package struct Adapter: Sendable {
    package let outputs: Range<Int>
    /// [rank, inputs].
    package let a: Rows
    /// [outputs, rank].
    package let b: Rows
    package let scale: Float
}

/// out (+)= x Wᵀ. x: [rows, inputs]; out: [rows, outputs].
package func project(
    _ x: Rows, _ weights: Projection, into out: Rows, adds: Bool = false, _ pass: Pass
)
    throws
{
    switch weights.storage {
    case .packed(let matrix):
        try product(
            x, matrix, into: out, adds: adds, arena: pass.arena, workers: pass.workers)
        assert(weights.chosen == nil || !adds)
        try weights.chosen?.project(
            x, into: out, precision: pass.precision, arena: pass.arena, workers: pass.workers)
    case .plain(let parts):
        var first = 0
        for part in parts {
            let mark = pass.arena.mark()
            defer { pass.arena.rewind(to: mark) }
            try product(
                x, weight: part, into: out.columns(first..<first + part.count), adds: adds,
                precision: pass.precision, arena: pass.arena, workers: pass.workers)
            first += part.count
        }
    }
    for adapter in weights.adapters {
        let mark = pass.arena.mark()
        defer { pass.arena.rewind(to: mark) }
        let low = try lowRank(x, adapter, pass)
        try product(
            low, weight: adapter.b, into: out.columns(adapter.outputs), adds: true,
            arena: pass.arena, workers: pass.workers)
    }
}

/// The backward pass: dx (+)= dout W, and adds doutᵀ x to the gradients of what is trained.
///
/// - Parameter dx: nil where nobody below wants it.
package func projectBackward(
    dout: Rows, _ x: Rows, _ weights: Projection, gradients: Projection, into dx: Rows?,
    adds: Bool = false, _ pass: Pass
) throws {
    var first = 0
    for (index, part) in weights.parts.enumerated() {
        let dpart = dout.columns(first..<first + part.count)
        let gradient = index < gradients.parts.count ? gradients.parts[index] : nil
        if let gradient, !gradient.isEmpty {
            try productBackwardWeight(
                dpart, x, into: gradient, precision: pass.precision, arena: pass.arena,
                workers: pass.workers)
        }
        if let dx {
            try productBackwardInput(
                dpart, weight: part, into: dx, adds: adds || first > 0,
                precision: pass.precision, arena: pass.arena, workers: pass.workers)
        }
        first += part.count
    }
    if let dx, case .packed(let matrix) = weights.storage {
        try productBackwardInput(
            dout, packed: matrix, into: dx, adds: adds, precision: pass.precision,
            arena: pass.arena, workers: pass.workers)
    }
    for (adapter, gradient) in zip(weights.adapters, gradients.adapters) {
        try adapterBackward(
            dout: dout.columns(adapter.outputs), x, adapter, gradient: gradient, addingTo: dx, pass)
    }
}

/// scale * x aᵀ, [rows, rank], in the arena.
private func lowRank(_ x: Rows, _ adapter: Adapter, _ pass: Pass) throws -> Rows {
    let low = try pass.arena.rows(x.count, adapter.a.count)
    try product(
        x, weight: adapter.a, into: low, adds: false, arena: pass.arena, workers: pass.workers)
    scale(low, by: adapter.scale, into: low, workers: pass.workers)
    return low
}

private func adapterBackward(
    dout: Rows, _ x: Rows, _ adapter: Adapter, gradient: Adapter, addingTo dx: Rows?, _ pass: Pass
) throws {
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let low = try lowRank(x, adapter, pass)
    try productBackwardWeight(
        dout, low, into: gradient.b, arena: pass.arena, workers: pass.workers)
    let dlow = try pass.arena.rows(low.count, low.width)
    try productBackwardInput(
        dout, weight: adapter.b, into: dlow, adds: false, arena: pass.arena, workers: pass.workers)
    scale(dlow, by: adapter.scale, into: dlow, workers: pass.workers)
    try productBackwardWeight(dlow, x, into: gradient.a, arena: pass.arena, workers: pass.workers)
    if let dx {
        try productBackwardInput(
            dlow, weight: adapter.a, into: dx, adds: true, arena: pass.arena,
            workers: pass.workers)
    }
}
