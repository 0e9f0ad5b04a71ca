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

    package init(_ packed: PackedMatrix) { storage = .packed(packed) }
    package init(_ parts: [Rows]) { storage = .plain(parts) }

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
}

/// out (+)= x Wᵀ. x: [rows, inputs]; out: [rows, outputs].
package func project(
    _ x: Rows, _ weights: Projection, into out: Rows, adds: Bool = false, _ pass: Pass
)
    throws
{
    switch weights.storage {
    case .packed(let matrix):
        product(x, matrix, into: out, adds: adds, workers: pass.workers)
    case .plain(let parts):
        var first = 0
        for part in parts {
            let mark = pass.arena.mark()
            defer { pass.arena.rewind(to: mark) }
            try product(
                x, weight: part, into: out.columns(first..<first + part.count), adds: adds,
                arena: pass.arena, workers: pass.workers)
            first += part.count
        }
    }
}

/// The backward pass: dx (+)= dout W, and adds doutᵀ x to the gradients.
///
/// - Parameter dx: nil where nobody below wants it.
package func projectBackward(
    dout: Rows, _ x: Rows, _ weights: Projection, gradients: Projection, into dx: Rows?,
    adds: Bool = false, _ pass: Pass
) throws {
    var first = 0
    for (part, gradient) in zip(weights.parts, gradients.parts) {
        let mark = pass.arena.mark()
        defer { pass.arena.rewind(to: mark) }
        let dpart = dout.columns(first..<first + part.count)
        try productBackwardWeight(
            dpart, x, into: gradient, arena: pass.arena, workers: pass.workers)
        if let dx {
            try productBackwardInput(
                dpart, weight: part, into: dx, adds: adds || first > 0, arena: pass.arena,
                workers: pass.workers)
        }
        first += part.count
    }
}
