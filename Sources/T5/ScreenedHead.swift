import Support
import Tensors

/// Finds the likeliest token of a row without the exact logits of all: cheaper products tell,
/// with a bound of their error, which few tokens can be it, and only their logits are computed.
/// The id is that of the exact head by construction.
///
/// Of a head in float32 or bf16, a copy in int8 is cheaper. With w an output's weights, v their
/// copy, x the row and u the row in 16 bits,
///
///     |x.w - u.v| <= |x| |w - v| + |x - u| |v|,    |x - u| <= 0.51 sqrt(K) max|x| / 32639
///
/// (0.51 for 1/2 with the rounding of the division), and the exact product rounds by at most
/// K 2^-24 |x| |w|, the other one by less (Higham, Accuracy and Stability of Numerical
/// Algorithms, 2002, section 3.1). So an error is at most |x| times a number of each output.
/// Where a head in bf16 rounds x, the rounded row is what both multiply. It may also take
/// products below 2^-126 for 0, which bounds of at least `leastError` for rows of at least
/// `leastSize` allow for.
///
/// Of a head in int8, which takes rows in 16 bits, u, rows in 8 bits are cheaper, t: the error is
/// at most |u - t| |v|, and three roundings each of |u| |v| 2^-24.
package final class ScreenedHead: Sendable {
    private let exact: PackedMatrix
    private let cheap: PackedMatrix
    /// Of each output: its error for a row of size 1.
    private let errors: FloatBuffer

    /// Their product, 1e-32, is more than 2^16 products below 2^-126.
    private static let leastError = 1e-20
    private static let leastSize = 1e-12

    /// One row is as fast as its weights are read, several as they are multiplied.
    static func isFaster(_ precision: Precision, rows: Int) -> Bool {
        switch precision {
        case .float32: rows == 1 || (rows <= 64 && Precision.multipliesRounded)
        case .bf16: rows == 1 || (rows <= 16 && Precision.multipliesRounded)
        case .int8: rows > 1 && rows <= 64 && Precision.multipliesRounded
        }
    }

    /// - Throws: `UNSAY_E_MEMORY`.
    package init(_ exact: PackedMatrix, workers: Workers) throws {
        let (outputs, inputs) = (exact.outputs, exact.inputs)
        self.exact = exact
        let isCopied = exact.precision != .int8
        cheap =
            isCopied
            ? try PackedMatrix(outputs: outputs, inputs: inputs, precision: .int8)
            : PackedMatrix(exact, inputBits: 8)
        errors = try FloatBuffer(count: outputs)
        let cheap = cheap, errors = errors
        let block = PackedMatrix.panelWidth
        let scratch = ScratchPool(count: (isCopied ? 2 : 1) * block * inputs)
        let alone = Workers(threads: 1)
        let rounding = Double(inputs + 64) * 0x1p-23
        let inputError = 0.51 * Double(inputs).squareRoot() / 32639
        try workers.forEachThrowing((outputs + block - 1) / block) { chunk in
            let range = chunk * block..<min((chunk + 1) * block, outputs)
            try scratch.with { buffer in
                // Of int8 the weights are the same: nothing is lost.
                let before = buffer.base, after = isCopied ? before + block * inputs : before
                exact.unpack(outputs: range, into: before, stride: inputs)
                if isCopied {
                    cheap.pack(before, outputs: range, outputStride: inputs, workers: alone)
                    cheap.unpack(outputs: range, into: after, stride: inputs)
                }
                for row in 0..<range.count {
                    var squares = 0.0, lost = 0.0
                    for index in row * inputs..<(row + 1) * inputs {
                        let w = Double(before[index])
                        let d = w - Double(after[index])
                        squares += w * w
                        lost += d * d
                    }
                    let (size, loss) = (squares.squareRoot(), lost.squareRoot())
                    let error =
                        isCopied ? loss + rounding * size + inputError * (size + loss) : size
                    // 1e-5: the roundings of this sum and of the comparisons.
                    errors.base[range.lowerBound + row] = Float(
                        max(error, Self.leastError) * (1 + 1e-5))
                }
            }
        }
    }

    /// Of each row the lowest index of the largest of x Wᵀ, some outputs left out; nil if that
    /// is better computed in full for all rows.
    ///
    /// - Parameters:
    ///   - x: [rows, inputs].
    ///   - omitted: of each row, the outputs that are left out.
    package func largest(
        _ x: Rows, leavingOut omitted: [[Int32]], arena: Arena, workers: Workers
    ) throws -> [Int32]? {
        assert(omitted.count == x.count)
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        let x = try rounded(x, arena)
        let sizes = (0..<x.count).map { size(x[$0]) }
        let isKnown = sizes.map { $0.isFinite && Double($0) >= Self.leastSize }
        guard isKnown.contains(true) else { return nil }
        let scores = try arena.rows(x.count, cheap.outputs)
        try product(x, cheap, into: scores, arena: arena, workers: workers)
        for (row, ids) in omitted.enumerated() {
            for id in ids { scores[row][Int(id)] = -.infinity }
        }
        // Of the rows that are better computed in full: none.
        var candidates = [[Int32]](repeating: [], count: x.count)
        candidates.withUnsafeMutableBufferPointer { found in
            nonisolated(unsafe) let found = found
            workers.forEach(x.count) { row in
                guard isKnown[row] else { return }
                let ids = candidateIndices(
                    scores[row], errors: errors, size: sizes[row], most: Self.most)
                if ids.count <= Self.most { found[row] = ids }
            }
        }
        let whole = candidates.indices.filter { candidates[$0].isEmpty }
        guard whole.count < x.count else { return nil }
        // The panels of the candidates, in place of their scores.
        let places = candidates.enumerated().flatMap { row, ids in
            Set(ids.map { Int($0) / PackedMatrix.panelWidth }).map { (row: row, panel: $0) }
        }
        try product(x, exact, at: places, into: scores, arena: arena, workers: workers)
        var largest = candidates.enumerated().map { row, ids in
            ids.dropFirst().reduce(ids.first ?? 0) { best, id in
                scores[row][Int(id)] > scores[row][Int(best)] ? id : best
            }
        }
        let ofWhole = try largestOfAll(
            x, whole, leavingOut: omitted, arena: arena, workers: workers)
        for (row, id) in zip(whole, ofWhole) { largest[row] = id }
        return largest
    }

    /// The same of some rows, by all their exact logits.
    private func largestOfAll(
        _ x: Rows, _ some: [Int], leavingOut omitted: [[Int32]], arena: Arena, workers: Workers
    ) throws -> [Int32] {
        guard !some.isEmpty else { return [] }
        let chosen = try arena.rows(some.count, x.width)
        let logits = try arena.rows(some.count, exact.outputs)
        for (index, row) in some.enumerated() {
            chosen.rows(index..<index + 1).copy(from: x.rows(row..<row + 1))
        }
        try product(chosen, exact, into: logits, arena: arena, workers: workers)
        return some.enumerated().map { index, row in
            for id in omitted[row] { logits[index][Int(id)] = -.infinity }
            return Int32(largestIndex(logits[index]))
        }
    }

    /// The rows that the exact head multiplies.
    private func rounded(_ x: Rows, _ arena: Arena) throws -> Rows {
        guard exact.precision == .bf16, Precision.multipliesRounded else { return x }
        let rounded = try arena.rows(x.count, x.width)
        for row in 0..<x.count {
            for index in 0..<x.width { rounded[row][index] = roundedToBF16(x[row][index]) }
        }
        return rounded
    }

    /// What a row's errors are multiples of.
    private func size(_ row: UnsafeMutableBufferPointer<Float>) -> Float {
        var squares = 0.0, most: Float = 0
        for value in row {
            squares += Double(value) * Double(value)
            most = max(most, abs(value))
        }
        let length = squares.squareRoot()
        guard exact.precision == .int8, length.isFinite else { return Float(length * (1 + 1e-6)) }
        // A rounding to 8 bits may go to either side where this one is near the middle.
        let unit = Double(most) / 127, inverse = unit > 0 ? 1 / unit : 0
        var lost = 0.0
        for value in row {
            let scaled = Double(value) * inverse
            let distance = abs(scaled - scaled.rounded()) + 1e-4
            lost += distance * distance
        }
        let ofWide = 0.51 * Double(row.count).squareRoot() * Double(most) / 32639
        return Float((lost.squareRoot() * unit + ofWide + 0x1p-21 * length) * (1 + 1e-6))
    }

    /// More candidates than this are as slow as all of them.
    private static let most = 256
}
