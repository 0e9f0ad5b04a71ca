import CKernels
import Support

/// T5's layer norm: out = x / rms(x) * weight, row by row. x, out: `[rows, width]`.
///
/// - Parameter inverseRMS: `[rows]`, overwritten with 1 / rms for the backward pass; or nil.
package func rmsNorm(
    _ x: Rows, weight: UnsafePointer<Float>, epsilon: Float, into out: Rows,
    inverseRMS: UnsafeMutablePointer<Float>?, workers: Workers
) {
    assert(out.count == x.count && out.width == x.width, "out is shaped as x")
    let weight = Shared(weight), inverseRMS = Shared(inverseRMS)
    workers.split(x.count, smallest: rowsPerChunk(width: x.width)) { rows in
        kernel_rms_norm(
            x.base + rows.lowerBound * x.stride, x.stride, weight.pointer, epsilon, rows.count,
            x.width, out.base + rows.lowerBound * out.stride, out.stride,
            inverseRMS.pointer.map { $0 + rows.lowerBound })
    }
}

/// The same out, to the bit, from the `inverseRMS` that `rmsNorm` wrote: cheaper to compute again
/// than to keep.
package func rmsNormAgain(
    _ x: Rows, weight: UnsafePointer<Float>, inverseRMS: UnsafePointer<Float>, into out: Rows,
    workers: Workers
) {
    assert(out.count == x.count && out.width == x.width, "out is shaped as x")
    let weight = Shared(weight), inverseRMS = Shared(inverseRMS)
    workers.split(x.count, smallest: rowsPerChunk(width: x.width)) { rows in
        kernel_rms_norm_again(
            x.base + rows.lowerBound * x.stride, x.stride, weight.pointer,
            inverseRMS.pointer + rows.lowerBound, rows.count, x.width,
            out.base + rows.lowerBound * out.stride, out.stride)
    }
}

/// Its backward pass. Adds to dx, `[rows, width]`, and to dweight, `[width]`, unless that is nil.
///
/// dweight is summed over chunks of rows that do not depend on the threads.
///
/// - Throws: `UNSAY_E_MEMORY`, before anything is written.
package func rmsNormBackward(
    _ dout: Rows, _ x: Rows, weight: UnsafePointer<Float>, inverseRMS: UnsafePointer<Float>,
    addingTo dx: Rows, dweight: UnsafeMutablePointer<Float>?, arena: Arena, workers: Workers
) throws {
    assert(dout.count == x.count && dout.width == x.width, "dout is shaped as x")
    assert(dx.count == x.count && dx.width == x.width, "dx is shaped as x")
    let size = 32  // rows a chunk: part of the result
    let chunks = (x.count + size - 1) / size
    let mark = arena.mark()
    defer { arena.rewind(to: mark) }
    let sums = try arena.rows(chunks, x.width, zeroed: true)
    let weight = Shared(weight), inverseRMS = Shared(inverseRMS)
    workers.forEach(chunks) { chunk in
        let first = chunk * size
        kernel_rms_norm_backward(
            dout.base + first * dout.stride, dout.stride, x.base + first * x.stride, x.stride,
            weight.pointer, inverseRMS.pointer + first, min(size, x.count - first), x.width,
            dx.base + first * dx.stride, dx.stride, sums.base + chunk * sums.stride)
    }
    guard let dweight else { return }
    for chunk in 0..<chunks {
        kernel_add(sums.base + chunk * sums.stride, x.width, 1, x.width, dweight, x.width)
    }
}

/// Rows of `width` that take a thread about 10 microseconds.
func rowsPerChunk(width: Int) -> Int { max(1, 32_768 / max(width, 1)) }
