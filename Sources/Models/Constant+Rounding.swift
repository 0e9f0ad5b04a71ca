import COnnx

/// How far stored numbers may lie from those that they were rounded from.
extension Constant {
    /// Overwrites `out`, [rows.count, columns], with the largest rounding error of each
    /// element of some rows; 0 where nothing was rounded.
    ///
    /// - Parameter values: what `read` gave for the same rows.
    func readRounding(
        rows: Range<Int>, of values: UnsafeBufferPointer<Float>,
        into out: UnsafeMutablePointer<Float>
    ) {
        if let quantization, let matrix = matrix() {
            quantization.readRounding(tensor, matrix, rows: rows, into: out)
            if scale != 1 { for index in values.indices { out[index] *= abs(scale) } }
            return
        }
        // Half a step of the mantissa, and a hair for the arithmetic behind.
        let half: Float =
            switch tensor.dataType {
            case Int32(ONNX_FLOAT16): 0x1.04p-11
            case Int32(ONNX_BFLOAT16): 0x1.04p-8
            default: 0
            }
        let least: Float = tensor.dataType == Int32(ONNX_FLOAT16) ? 0x1p-25 : 0
        for index in values.indices { out[index] = max(abs(values[index]) * half, least) }
    }
}

extension Quantization {
    /// As `read`, but the largest rounding error of each element.
    fileprivate func readRounding(
        _ tensor: StoredTensor, _ view: onnx_view, rows: Range<Int>,
        into out: UnsafeMutablePointer<Float>
    ) {
        let columns = Int(view.columns)
        let (first, down, across) = (Int(view.first), Int(view.row_stride), Int(view.column_stride))
        for row in rows {
            let line = out + (row - rows.lowerBound) * columns
            for column in 0..<columns {
                line[column] =
                    switch self {
                    case .linear(let scale, let scaleShape, _, let axis, let block):
                        // Half a step; a whole one where the largest value may be cut off.
                        abs(
                            scale[
                                group(
                                    first + row * down + column * across, tensor, scale.count,
                                    scaleShape, axis, block)])
                            * (tensor.dataType == Int32(ONNX_INT4)
                                || tensor.dataType == Int32(ONNX_UINT4) ? 1.05 : 0.55)
                    case .blocks(_, let all, _, let block, let scale, _, let groups):
                        abs(
                            scale[
                                row * ((all - 1) / block + 1)
                                    + (groups?[column] ?? column / block)]) * 1.05
                    case .codebook(_, let all, let codes, let block, let scale):
                        abs(scale[(row * all + column) / block]) * Self.widestGap(codes) * 0.55
                    }
            }
        }
    }

    private static func widestGap(_ codes: [Float]) -> Float {
        let sorted = codes.sorted()
        return zip(sorted.dropFirst(), sorted).map { $0 - $1 }.max() ?? 0
    }
}
