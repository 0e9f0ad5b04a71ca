import CUnsay
import Support
import Tensors

/// Reads stored weights a block of rows at a time, on several threads, so that neither a whole
/// copy nor the pages of the files pile up in memory.
struct BlockReader {
    let workers: Workers

    /// Floats of a block: half of a second-level cache.
    private static let blockSize = 1 << 17

    /// Calls `body` for blocks of rows that are together all rows of constants of one shape,
    /// with each constant's values, in no order and from several threads.
    ///
    /// - Throws: the first failure of reading or of `body`.
    func forEachBlock(
        of constants: [Constant],
        _ body: (Range<Int>, [UnsafeBufferPointer<Float>]) throws -> Void
    ) throws {
        guard let first = constants.first, first.rowCount > 0 else { return }
        let rows = first.rowCount
        let columns = first.view.count / rows
        guard columns > 0 else { return }
        let least = constants.map(\.leastRows).max() ?? 1
        let height = max(1, min(rows, max(Self.blockSize / columns, least)))
        // Rows that lie in memory as they are wanted are not copied.
        let direct = constants.map { constant -> UnsafePointer<Float>? in
            guard let floats = constant.floats, floats.columnStride == 1,
                floats.rowStride == columns || rows == 1,
                Int(bitPattern: floats.base) % MemoryLayout<Float>.alignment == 0
            else { return nil }
            return floats.base.assumingMemoryBound(to: Float.self)
        }
        let scratch = ScratchPool(count: height * columns * constants.count)
        try workers.forEachThrowing((rows + height - 1) / height) { chunk in
            let part = chunk * height..<min((chunk + 1) * height, rows)
            try scratch.with { buffer in
                var values: [UnsafeBufferPointer<Float>] = []
                for (index, constant) in constants.enumerated() {
                    var base = UnsafePointer(buffer.base + index * height * columns)
                    if let rows = direct[index] {
                        base = rows + part.lowerBound * columns
                    } else {
                        try constant.read(
                            rows: part, into: buffer.base + index * height * columns)
                    }
                    values.append(UnsafeBufferPointer(start: base, count: part.count * columns))
                }
                try body(part, values)
                for constant in constants { constant.release(rows: part) }
            }
        }
        for constant in constants { constant.release() }
    }
}
