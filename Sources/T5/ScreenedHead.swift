import Support
import Tensors

/// Finds the likeliest token of a row without the exact logits of all: those of a copy of the
/// head in int8 tell, with a bound of their error, which few tokens can be it, and only their
/// logits are computed. The id is that of the exact head by construction.
///
/// With w an output's weights, v their copy in int8, x the row and u the row in 16 bits,
///
///     |x.w - u.v| <= |x| |w - v| + |x - u| |v|,    |x - u| <= 0.51 sqrt(K) max|x| / 32639
///
/// (0.51 for 1/2 with the rounding of the division), and the exact product rounds by at most
/// K 2^-24 |x| |w|, the other one by less (Higham, Accuracy and Stability of Numerical
/// Algorithms, 2002, section 3.1). So an error is at most |x| times a number of each output.
/// Where a head in bf16 rounds x, the rounded row is what both multiply. It may also take
/// products below 2^-126 for 0, which bounds of at least `leastError` for rows of at least
/// `leastSize` allow for.
package final class ScreenedHead: Sendable {
    private let exact: PackedMatrix
    private let copy: PackedMatrix
    /// Of each output: its error for a row of length 1.
    private let errors: FloatBuffer

    /// Their product, 1e-32, is more than 2^16 products below 2^-126.
    private static let leastError: Double = 1e-20
    private static let leastSize: Float = 1e-12

    /// - Parameter exact: in float32 or bf16.
    /// - Throws: `UNSAY_E_MEMORY`.
    package init(_ exact: PackedMatrix, workers: Workers) throws {
        let (outputs, inputs) = (exact.outputs, exact.inputs)
        self.exact = exact
        copy = try PackedMatrix(outputs: outputs, inputs: inputs, precision: .int8)
        errors = try FloatBuffer(count: outputs)
        let copy = copy, errors = errors
        let block = PackedMatrix.panelWidth
        let scratch = ScratchPool(count: 2 * block * inputs)
        let alone = Workers(threads: 1)
        let rounding = Double(inputs + 64) * 0x1p-23
        let inputError = 0.51 * Double(inputs).squareRoot() / 32639
        try workers.forEachThrowing((outputs + block - 1) / block) { chunk in
            let range = chunk * block..<min((chunk + 1) * block, outputs)
            try scratch.with { buffer in
                let before = buffer.base, after = buffer.base + block * inputs
                exact.unpack(outputs: range, into: before, stride: inputs)
                copy.pack(before, outputs: range, outputStride: inputs, workers: alone)
                copy.unpack(outputs: range, into: after, stride: inputs)
                for row in 0..<range.count {
                    var squares = 0.0, lost = 0.0
                    for index in row * inputs..<(row + 1) * inputs {
                        let w = Double(before[index])
                        let d = w - Double(after[index])
                        squares += w * w
                        lost += d * d
                    }
                    let (size, loss) = (squares.squareRoot(), lost.squareRoot())
                    let error = loss + rounding * size + inputError * (size + loss)
                    // 1e-5: the roundings of this sum and of the comparisons.
                    errors.base[range.lowerBound + row] = Float(
                        max(error, Self.leastError) * (1 + 1e-5))
                }
            }
        }
    }

    /// The lowest index of the largest of x Wᵀ, some outputs left out; nil if that is better
    /// computed in full.
    ///
    /// - Parameter x: one row, [1, inputs].
    package func largest(
        _ x: Rows, leavingOut omitted: [Int32], arena: Arena, workers: Workers
    ) throws -> Int32? {
        let mark = arena.mark()
        defer { arena.rewind(to: mark) }
        var x = x
        if exact.precision == .bf16, Precision.roundsInputsToBF16 {
            let rounded = try arena.rows(1, x.width)
            for index in 0..<x.width { rounded[0][index] = roundedToBF16(x[0][index]) }
            x = rounded
        }
        let squares = x[0].reduce(0.0) { $0 + Double($1) * Double($1) }
        let size = Float(squares.squareRoot() * (1 + 1e-6))
        guard size.isFinite, size >= Self.leastSize else { return nil }
        let scores = try arena.rows(1, copy.outputs)
        try product(x, copy, into: scores, arena: arena, workers: workers)
        for id in omitted { scores[0][Int(id)] = -.infinity }
        let candidates = candidateIndices(scores[0], errors: errors, size: size, most: Self.most)
        guard !candidates.isEmpty, candidates.count <= Self.most else { return nil }
        // The panels of the candidates, in place of their scores.
        let width = PackedMatrix.panelWidth
        for panel in Set(candidates.map { Int($0) / width }) {
            try product(
                x, exact, outputs: panel * width..<min((panel + 1) * width, exact.outputs),
                into: scores, arena: arena, workers: Workers(threads: 1))
        }
        var best = candidates[0]
        for id in candidates.dropFirst() where scores[0][Int(id)] > scores[0][Int(best)] {
            best = id
        }
        return best
    }

    /// More candidates than this are as slow as all of them.
    private static let most = 256
}
