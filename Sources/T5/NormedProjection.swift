import Tensors

/// out = norm(x) Wᵀ: how every layer begins.
///
/// x: [rows, d_model]; out: [rows, outputs].
///
/// - Parameter inverseRMS: [1, rows], overwritten: what the backward pass needs besides x.
func projectNormed(
    _ x: Rows, norm: Rows, _ weights: Projection, into out: Rows, inverseRMS: Rows, _ pass: Pass
) throws {
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let normed = try pass.arena.rows(x.count, x.width)
    rmsNorm(
        x, weight: norm.base, epsilon: pass.configuration.layerNormEpsilon, into: normed,
        inverseRMS: inverseRMS.base, workers: pass.workers)
    try project(normed, weights, into: out, pass)
}

/// Its backward pass: adds to dx, and to the gradients of what is trained.
///
/// - Parameter normGradient: without rows where the norm is not trained.
func projectNormedBackward(
    dout: Rows, _ x: Rows, inverseRMS: Rows, norm: Rows, _ weights: Projection,
    normGradient: Rows, gradients: Projection, addingTo dx: Rows, _ pass: Pass
) throws {
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let dnormed = try pass.arena.rows(x.count, x.width)
    let normed = try pass.arena.rows(x.count, x.width)
    // Only the gradients read it.
    if gradients.isTrained {
        rmsNormAgain(
            x, weight: norm.base, inverseRMS: inverseRMS.base, into: normed, workers: pass.workers)
    }
    try projectBackward(dout: dout, normed, weights, gradients: gradients, into: dnormed, pass)
    try rmsNormBackward(
        dnormed, x, weight: norm.base, inverseRMS: inverseRMS.base, addingTo: dx,
        dweight: normGradient.ifAny, arena: pass.arena, workers: pass.workers)
}
