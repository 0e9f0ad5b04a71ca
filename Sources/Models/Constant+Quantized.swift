import COnnx

/// Stored integers as the floats that they stand for.
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
