import COnnx
import CUnsay
import Support

/// How stored integers become weights. For reading: changed weights are saved as floats.
enum Quantization: Equatable {
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

    enum BlockZero: Equatable {
        case middle
        /// Packed like the weights, one row of whole bytes for each row of blocks.
        case packed([UInt8])
        case floats([Float])
    }

    /// Whether scales, zero points and payload are those of a tensor of such dims; nothing is
    /// decoded before.
    func check(_ tensor: StoredTensor, name: String) throws {
        let refusal = Failure(
            UNSAY_E_FORMAT, "\(name): its scales do not fit its shape \(tensor.dims)")
        switch self {
        case .linear(let scale, let scaleShape, let zero, let axis, let block):
            guard StoredIntegers(tensor) != nil, zero.count <= 1 || zero.count == scale.count else {
                throw refusal
            }
            if scale.count == 1 { return }
            let dims = tensor.dims
            guard dims.count == 2, dims.indices.contains(axis), dims.allSatisfy({ $0 > 0 }) else {
                throw refusal
            }
            if scaleShape.count == 1 {
                guard scale.count == dims[axis] else { throw refusal }
                return
            }
            guard scaleShape.count == 2, scaleShape[1 - axis] == dims[1 - axis],
                scaleShape[axis] > 0, scale.count == scaleShape[0] &* scaleShape[1],
                (dims[axis] - 1) / span(block, dims[axis], scaleShape[axis]) < scaleShape[axis]
            else { throw refusal }

        case .blocks(
            let rows, let columns, let bits, let block, let scale, let zero, let groups):
            guard bits == 2 || bits == 4 || bits == 8, block >= 8, block % 8 == 0, rows > 0,
                columns > 0, columns <= tensor.bytes.count * 8
            else { throw refusal }
            let blocks = (columns - 1) / block + 1
            let (rowBytes, overflow) = blocks.multipliedReportingOverflow(by: block / 8 * bits)
            guard !overflow, rows <= tensor.bytes.count,
                rowBytes.multipliedReportingOverflow(by: rows) == (tensor.bytes.count, false),
                scale.count == rows * blocks, groups?.count ?? columns == columns,
                groups?.allSatisfy({ 0..<blocks ~= $0 }) ?? true
            else { throw refusal }
            switch zero {
            case .packed(let bytes):
                guard bytes.count == rows * ((blocks * bits + 7) / 8) else { throw refusal }
            case .floats(let floats): guard floats.count == scale.count else { throw refusal }
            case .middle: break
            }

        case .codebook(let rows, let columns, let codes, let block, let scale):
            let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
            guard !overflow, count > 0, block > 0, codes.count == 16,
                tensor.bytes.count == (count + 1) / 2, scale.count == (count - 1) / block + 1
            else { throw refusal }
        }
    }

    /// Elements that share a scale, along the axis.
    private func span(_ block: Int, _ length: Int, _ groups: Int) -> Int {
        block > 0 ? block : max((length + groups - 1) / max(groups, 1), 1)
    }

    /// The index of the scale of element `at` of a linearly quantised tensor.
    func group(
        _ at: Int, _ tensor: StoredTensor, _ scaleCount: Int, _ scaleShape: [Int], _ axis: Int,
        _ block: Int
    ) -> Int {
        if scaleCount == 1 { return 0 }
        let width = tensor.dims[1]
        let (i, j) = (at / width, at % width)
        guard scaleShape.count == 2 else { return axis == 0 ? i : j }
        let length = span(block, tensor.dims[axis], scaleShape[axis])
        return axis == 0 ? i / length * width + j : i * scaleShape[1] + j / length
    }

    /// Overwrites `out`, [rows.count, view's columns], with rows of a view of the weights.
    /// `check` has passed.
    func read(
        _ tensor: StoredTensor, _ view: onnx_view, rows: Range<Int>,
        into out: UnsafeMutablePointer<Float>
    ) {
        let columns = Int(view.columns)
        let (first, down, across) = (Int(view.first), Int(view.row_stride), Int(view.column_stride))
        switch self {
        case .linear(let scale, let scaleShape, let zero, let axis, let block):
            guard let integers = StoredIntegers(tensor) else { return }
            integers.read { integer in
                for row in rows {
                    let line = out + (row - rows.lowerBound) * columns
                    for column in 0..<columns {
                        let at = first + row * down + column * across
                        let group = group(at, tensor, scale.count, scaleShape, axis, block)
                        let offset = zero.isEmpty ? 0 : zero[zero.count == 1 ? 0 : group]
                        line[column] = (integer(at) - offset) * scale[group]
                    }
                }
            }

        case .blocks(_, let all, let bits, let block, let scale, let zero, let groups):
            let blocks = (all - 1) / block + 1
            let rowBytes = blocks * (block / 8 * bits)
            let zeroRow = (blocks * bits + 7) / 8
            let mask = UInt8(truncatingIfNeeded: (1 << bits) - 1)
            func element(_ byte: UInt8, at index: Int) -> Float {
                Float(byte >> UInt8(index * bits % 8) & mask)
            }
            for row in rows {
                let line = out + (row - rows.lowerBound) * columns
                for column in 0..<columns {
                    let group = groups?[column] ?? column / block
                    let offset: Float =
                        switch zero {
                        case .middle: Float(1 << (bits - 1))
                        case .packed(let packed):
                            element(packed[row * zeroRow + group * bits / 8], at: group)
                        case .floats(let floats): floats[row * blocks + group]
                        }
                    let byte = tensor.bytes[row * rowBytes + column * bits / 8]
                    line[column] =
                        (element(byte, at: column) - offset) * scale[row * blocks + group]
                }
            }

        case .codebook(_, let all, let codes, let block, let scale):
            for row in rows {
                let line = out + (row - rows.lowerBound) * columns
                for column in 0..<columns {
                    let index = row * all + column
                    let byte = tensor.bytes[index / 2]
                    line[column] =
                        codes[Int(index % 2 == 0 ? byte >> 4 : byte & 15)] * scale[index / block]
                }
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

    /// The numbers of a small tensor of any numeric type; nil for others.
    static func numbers(of tensor: StoredTensor) -> [Double]? {
        if let integers = StoredIntegers(tensor) {
            var numbers: [Double] = []
            integers.read { integer in
                numbers = (0..<tensor.elementCount).map { Double(integer($0)) }
            }
            return numbers
        }
        if tensor.dataType == Int32(ONNX_INT64) {
            guard tensor.bytes.count >= tensor.elementCount * 8 else { return nil }
            return (0..<tensor.elementCount).map {
                Double(tensor.bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self))
            }
        }
        guard tensor.isFloating, tensor.bytes.count > 0 else { return nil }
        var floats = [Float](repeating: 0, count: tensor.elementCount)
        var view = onnx_view(
            first: 0, rows: 1, columns: UInt64(floats.count), row_stride: 0, column_stride: 1)
        let status = onnx_read_floats(
            tensor.bytes.baseAddress, UInt64(floats.count), tensor.dataType, &view, 1, &floats, nil)
        return status == ONNX_OK ? floats.map(Double.init) : nil
    }
}

/// Integers of up to 32 bits where they are stored, one at a time.
struct StoredIntegers {
    private let tensor: StoredTensor

    /// nil for a tensor of another type, or whose bytes are not there.
    init?(_ tensor: StoredTensor) {
        let count = tensor.elementCount
        let bytes =
            switch tensor.dataType {
            case Int32(ONNX_UINT8), Int32(ONNX_INT8), Int32(ONNX_BOOL): count
            case Int32(ONNX_INT32): count &* 4
            case Int32(ONNX_UINT4), Int32(ONNX_INT4): count / 2 + count % 2
            default: -1
            }
        guard bytes >= 0, tensor.bytes.count >= bytes else { return nil }
        self.tensor = tensor
    }

    /// Calls `body` once with a function from an element's index to its value; 32-bit ones
    /// are rounded to a float's 24 bits.
    func read(_ body: ((Int) -> Float) -> Void) {
        let bytes = tensor.bytes
        switch tensor.dataType {
        case Int32(ONNX_INT8): body { Float(Int8(bitPattern: bytes[$0])) }
        case Int32(ONNX_INT32):
            body { Float(bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self)) }
        case Int32(ONNX_UINT4): body { Float(bytes[$0 / 2] >> ($0 % 2 == 0 ? 0 : 4) & 15) }
        case Int32(ONNX_INT4):
            body {
                let half = Int(bytes[$0 / 2] >> ($0 % 2 == 0 ? 0 : 4) & 15)
                return Float(half > 7 ? half - 16 : half)
            }
        default: body { Float(bytes[$0]) }
        }
    }
}
