import CKernels

/// The activation of the feed-forward layers.
package enum Activation: Sendable {
    case relu
    /// The tanh approximation: transformers' `gelu_new`.
    case geluNew
    /// With the error function.
    case gelu
    case silu

    var kernel: kernel_activation {
        switch self {
        case .relu: KERNEL_RELU
        case .geluNew: KERNEL_GELU_NEW
        case .gelu: KERNEL_GELU
        case .silu: KERNEL_SILU
        }
    }
}

/// out = act(x), or, gated, act(left half of x) * right half of x.
///
/// x: `[rows, width]` or `[rows, 2 width]`; out: `[rows, width]`, may be the left of x.
package func activate(
    _ activation: Activation, gated: Bool, _ x: Rows, into out: Rows, workers: Workers
) {
    assert(x.width == out.width * (gated ? 2 : 1) && x.count == out.count, "x and out match")
    workers.split(x.count, smallest: rowsPerChunk(width: 4 * out.width)) { rows in
        kernel_activate(
            activation.kernel, gated ? 1 : 0, x.base + rows.lowerBound * x.stride, x.stride,
            rows.count, out.width, out.base + rows.lowerBound * out.stride, out.stride)
    }
}

/// Its backward pass. Overwrites dx, shaped as x; dout: `[rows, width]`, may be the left of dx.
package func activateBackward(
    _ activation: Activation, gated: Bool, dout: Rows, _ x: Rows, into dx: Rows, workers: Workers
) {
    assert(x.width == dout.width * (gated ? 2 : 1) && x.count == dout.count, "x and dout match")
    assert(dx.width == x.width && dx.count == x.count, "dx is shaped as x")
    workers.split(x.count, smallest: rowsPerChunk(width: 8 * dout.width)) { rows in
        kernel_activate_backward(
            activation.kernel, gated ? 1 : 0, dout.base + rows.lowerBound * dout.stride,
            dout.stride, x.base + rows.lowerBound * x.stride, x.stride, rows.count, dout.width,
            dx.base + rows.lowerBound * dx.stride, dx.stride)
    }
}

/// out += x, shaped alike.
package func add(_ x: Rows, to out: Rows, workers: Workers) {
    assert(x.count == out.count && x.width == out.width, "rows of the same shape")
    workers.split(x.count, smallest: rowsPerChunk(width: x.width)) { rows in
        kernel_add(
            x.base + rows.lowerBound * x.stride, x.stride, rows.count, x.width,
            out.base + rows.lowerBound * out.stride, out.stride)
    }
}

/// out = x * factor, shaped alike; out may be x.
package func scale(_ x: Rows, by factor: Float, into out: Rows, workers: Workers) {
    assert(x.count == out.count && x.width == out.width, "rows of the same shape")
    workers.split(x.count, smallest: rowsPerChunk(width: x.width)) { rows in
        kernel_scale(
            x.base + rows.lowerBound * x.stride, x.stride, factor, rows.count, x.width,
            out.base + rows.lowerBound * out.stride, out.stride)
    }
}
