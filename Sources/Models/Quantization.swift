import COnnx
import CUnsay
import Support

/// How stored integers become weights. For reading: changed weights are saved as floats.
enum Quantization {
    /// `(integer - zero) * scale`. One scale for all; one per index of `axis`; or one per
    /// block of `block` along `axis` (scales then have the tensor's rank).
    case linear(scale: [Float], scaleShape: [Int], zero: [Float], axis: Int, block: Int)
    /// MatMulNBits: `[out, blocks, block * bits / 8]` bytes, low bits first. `groups` is the
    /// index of each column's scale, where that is not its block's.
    case blocks(
        rows: Int, columns: Int, bits: Int, block: Int, scale: [Float], zero: BlockZero,
        groups: [Int]?)
    /// MatMulBnb4: half bytes, the high one first, choose among 16 values; one factor for each
    /// `block` of elements in row-major order.
    case codebook(rows: Int, columns: Int, values: [Float], block: Int, scale: [Float])

    enum BlockZero {
        case middle
        /// Packed like the weights, one row of whole bytes for each row of blocks.
        case packed([UInt8])
        case floats([Float])
    }

    /// The shape of what `decode` returns, from the tensor's own dims.
    func shape(of dims: [Int]) -> [Int] {
        switch self {
        case .linear: dims
        case .blocks(let rows, let columns, _, _, _, _, _): [rows, columns]
        case .codebook(let rows, let columns, _, _, _): [rows, columns]
        }
    }

    /// The weights, row-major.
    func decode(_ tensor: StoredTensor, name: String) throws -> [Float] {
        let refusal = Failure(
            UNSAY_E_FORMAT, "\(name): its scales do not fit its shape \(tensor.dims)")
        switch self {
        case .linear(let scale, let scaleShape, let zero, let axis, let block):
            guard let stored = Self.numbers(of: tensor) else { throw refusal }
            var values = stored.map { Float($0) }
            let dims = tensor.dims
            if scale.count == 1 {
                let zero = zero.first ?? 0
                for i in values.indices { values[i] = (values[i] - zero) * scale[0] }
                return values
            }
            let isBlocked = scaleShape.count != 1
            guard dims.indices.contains(axis), !values.isEmpty, !scale.isEmpty,
                !isBlocked || scaleShape.count == dims.count
            else { throw refusal }
            let inner = dims[(axis + 1)...].reduce(1, *)
            let length = dims[axis]
            let groups = isBlocked ? scaleShape[axis] : length
            let span =
                scaleShape.count == 1
                ? 1 : block > 0 ? block : (length + groups - 1) / max(groups, 1)
            let outer = isBlocked ? dims[..<axis].reduce(1, *) : 1
            let across = isBlocked ? inner : 1
            guard span > 0, groups > 0, (length - 1) / span < groups,
                groups <= scale.count, scale.count == outer &* groups &* across,
                zero.isEmpty || zero.count == 1 || zero.count == scale.count
            else { throw refusal }
            for i in values.indices {
                let along = i / inner % length / span
                let group =
                    isBlocked ? (i / (inner * length) * groups + along) * inner + i % inner : along
                let offset = zero.isEmpty ? 0 : zero.count == 1 ? zero[0] : zero[group]
                values[i] = (values[i] - offset) * scale[group]
            }
            return values

        case .blocks(
            let rows, let columns, let bits, let block, let scale, let zero, let groups):
            guard bits == 2 || bits == 4 || bits == 8, block >= 8, block % 8 == 0, rows > 0,
                columns > 0, columns <= tensor.bytes.count * 8
            else { throw refusal }
            let blocks = (columns - 1) / block + 1
            let (rowBytes, overflow) = blocks.multipliedReportingOverflow(by: block / 8 * bits)
            guard !overflow, rows <= tensor.bytes.count,
                rowBytes.multipliedReportingOverflow(by: rows) == (tensor.bytes.count, false),
                scale.count == rows * blocks,
                groups?.count ?? columns == columns,
                groups?.allSatisfy({ 0..<blocks ~= $0 }) ?? true
            else { throw refusal }
            let mask = UInt8(truncatingIfNeeded: (1 << bits) - 1)
            func element(_ bytes: some Collection<UInt8>, at index: Int) -> Float {
                let byte = bytes[bytes.index(bytes.startIndex, offsetBy: index * bits / 8)]
                return Float(byte >> UInt8(index * bits % 8) & mask)
            }
            let zeroRow = (blocks * bits + 7) / 8
            switch zero {
            case .packed(let bytes): guard bytes.count == rows * zeroRow else { throw refusal }
            case .floats(let floats): guard floats.count == scale.count else { throw refusal }
            case .middle: break
            }
            var values = [Float](repeating: 0, count: rows * columns)
            for row in 0..<rows {
                let bytes = tensor.bytes[row * rowBytes..<(row + 1) * rowBytes]
                for column in 0..<columns {
                    let group = groups?[column] ?? column / block
                    let offset: Float =
                        switch zero {
                        case .middle: Float(1 << (bits - 1))
                        case .packed(let packed):
                            element(packed[row * zeroRow..<(row + 1) * zeroRow], at: group)
                        case .floats(let floats): floats[row * blocks + group]
                        }
                    values[row * columns + column] =
                        (element(bytes, at: column) - offset) * scale[row * blocks + group]
                }
            }
            return values

        case .codebook(let rows, let columns, let codes, let block, let scale):
            let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
            guard !overflow, count > 0, block > 0, codes.count == 16,
                tensor.bytes.count == (count + 1) / 2, scale.count == (count - 1) / block + 1
            else { throw refusal }
            return (0..<count).map { index in
                let byte = tensor.bytes[index / 2]
                return codes[Int(index % 2 == 0 ? byte >> 4 : byte & 15)] * scale[index / block]
            }
        }
    }

    /// bitsandbytes' 16 values of a 4-bit float and of NF4, as onnxruntime has them
    /// (blockwise_quant_block_bnb4.h).
    static let fp4: [Float] = [
        0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25,
        -0.0, -5.208333333e-03, -0.66666667, -1, -0.33333333, -0.5, -0.16666667, -0.25,
    ]
    static let nf4: [Float] = [
        -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1,
    ]

    /// The numbers of a tensor of any numeric type; nil for others.
    static func numbers(of tensor: StoredTensor) -> [Double]? {
        let bytes = tensor.bytes
        let count = tensor.elementCount
        func load<Integer: FixedWidthInteger>(_ type: Integer.Type) -> [Double]? {
            guard bytes.count >= count * MemoryLayout<Integer>.size else { return nil }
            return (0..<count).map {
                Double(
                    bytes.loadUnaligned(
                        fromByteOffset: $0 * MemoryLayout<Integer>.size, as: Integer.self))
            }
        }
        switch tensor.dataType {
        case Int32(ONNX_UINT8), 9: return load(UInt8.self)
        case Int32(ONNX_INT8): return load(Int8.self)
        case Int32(ONNX_INT32): return load(Int32.self)
        case Int32(ONNX_INT64): return load(Int64.self)
        case Int32(ONNX_UINT4), Int32(ONNX_INT4):
            guard bytes.count >= (count + 1) / 2 else { return nil }
            let isSigned = tensor.dataType == Int32(ONNX_INT4)
            return (0..<count).map {
                let half = Int(bytes[$0 / 2] >> ($0 % 2 == 0 ? 0 : 4) & 15)
                return Double(isSigned && half > 7 ? half - 16 : half)
            }
        default:
            guard tensor.isFloating, bytes.count > 0 else { return nil }
            var floats = [Float](repeating: 0, count: count)
            var view = onnx_view(
                first: 0, rows: 1, columns: UInt64(count), row_stride: 0, column_stride: 1)
            let status = onnx_read_floats(
                bytes.baseAddress, UInt64(count), tensor.dataType, &view, 1, &floats, nil)
            return status == ONNX_OK ? floats.map(Double.init) : nil
        }
    }
}
