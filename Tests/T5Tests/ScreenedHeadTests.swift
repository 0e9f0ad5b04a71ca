import T5
import Tensors
import Testing

@Suite("The screened head")
struct ScreenedHeadTests {
    /// A number between -1 and 1 by formula.
    private func number(_ index: Int, _ seed: Int) -> Float {
        let mixed =
            (UInt64(bitPattern: Int64(index &* 2_654_435 &+ seed &* 40_503))
                &* 0x9e37_79b9_7f4a_7c15) >> 40
        return Float(mixed) / Float(1 << 23) - 1
    }

    @Test(
        "names the token that the exact logits name, however close others come",
        arguments: [Float(1), 1e-2, 1e-4, 0], Precision.allCases)
    func sameToken(apart: Float, precision: Precision) throws {
        let (outputs, inputs) = (1000, 48)
        let workers = Workers(threads: 2)
        let plain = try FloatBuffer(count: outputs * inputs)
        for output in 0..<outputs {
            for index in 0..<inputs {
                // Outputs that are `apart` from one another, so that int8 confuses them.
                plain.base[output * inputs + index] =
                    number(index, 1) + apart * number(output * inputs + index, 2)
            }
        }
        let matrix = try PackedMatrix(outputs: outputs, inputs: inputs, precision: precision)
        matrix.pack(
            plain.base, outputs: 0..<outputs, outputStride: inputs, workers: workers)
        let head = try ScreenedHead(matrix, workers: workers)
        let arena = Arena()
        let count = 200
        let x = try FloatBuffer(count: count * inputs)
        let logits = try FloatBuffer(count: count * outputs)
        let rows = Rows(base: x.base, count: count, width: inputs)
        let exact = Rows(base: logits.base, count: count, width: outputs)
        for row in 0..<count {
            for index in 0..<inputs {
                rows[row][index] = number(index, 100 + row) * Float(1 + row % 7)
            }
            // One input so much larger than the others that 8 bits tell little of those.
            if row % 2 > 0 { rows[row][row % inputs] *= 40 }
        }
        try product(rows, matrix, into: exact, arena: arena, workers: workers)
        var screened = 0
        // Alone and with others, also where what would be the best may not be written.
        for isOmitted in [false, true] {
            let omitted = (0..<count).map { isOmitted ? [Int32(largestIndex(exact[$0]))] : [] }
            for (row, ids) in omitted.enumerated() {
                for id in ids { exact[row][Int(id)] = -.infinity }
            }
            let best = (0..<count).map { Int32(largestIndex(exact[$0])) }
            for size in [1, 7] {
                for first in stride(from: 0, to: count, by: size) {
                    let some = first..<min(first + size, count)
                    let found = try head.largest(
                        rows.rows(some), leavingOut: Array(omitted[some]), arena: arena,
                        workers: workers)
                    guard let found else { continue }
                    screened += found.count
                    #expect(found == Array(best[some]), "rows \(some), without \(omitted[some])")
                }
            }
        }
        // Where all are alike it gives up; where they are far apart it seldom has to.
        #expect(apart < 1 || screened > 3 * count, "\(screened) of \(4 * count)")
    }

    @Test("computes in full those rows alone that need it", arguments: Precision.allCases)
    func mixedRows(precision: Precision) throws {
        let (outputs, inputs) = (1000, 48)
        let workers = Workers(threads: 2)
        let plain = try FloatBuffer(count: outputs * inputs)
        for index in 0..<outputs * inputs {
            // By their first input, outputs are next to equal.
            plain.base[index] = index % inputs == 0 ? 1 + 1e-4 * number(index, 1) : number(index, 2)
        }
        let matrix = try PackedMatrix(outputs: outputs, inputs: inputs, precision: precision)
        matrix.pack(plain.base, outputs: 0..<outputs, outputStride: inputs, workers: workers)
        let head = try ScreenedHead(matrix, workers: workers)
        let arena = Arena()
        let count = 7
        let x = try FloatBuffer(count: count * inputs, zeroed: true)
        let logits = try FloatBuffer(count: count * outputs)
        let rows = Rows(base: x.base, count: count, width: inputs)
        let exact = Rows(base: logits.base, count: count, width: outputs)
        let needsAll = [1, 2, 5]
        for row in 0..<count {
            if needsAll.contains(row) {
                rows[row][0] = 1
                for index in 1..<inputs { rows[row][index] = 1e-4 * number(index, 3 + row) }
            } else {
                for index in 1..<inputs { rows[row][index] = number(index, 3 + row) }
            }
        }
        rows[5][3] = .nan
        try product(rows, matrix, into: exact, arena: arena, workers: workers)
        let omitted = (0..<count).map { [Int32(largestIndex(exact[$0]))] }
        for (row, ids) in omitted.enumerated() { exact[row][Int(ids[0])] = -.infinity }
        let best = (0..<count).map { Int32(largestIndex(exact[$0])) }
        let found = try head.largest(rows, leavingOut: omitted, arena: arena, workers: workers)
        #expect(found == best)
        for row in 0..<count {
            let alone = try head.largest(
                rows.rows(row..<row + 1), leavingOut: [omitted[row]], arena: arena,
                workers: workers)
            #expect((alone == nil) == needsAll.contains(row), "row \(row)")
        }
    }

    @Test("leaves rows that are not finite to the exact head")
    func notFinite() throws {
        let matrix = try PackedMatrix(outputs: 40, inputs: 8)
        let plain = try FloatBuffer(count: 320, zeroed: true)
        matrix.pack(plain.base, outputs: 0..<40, outputStride: 8, workers: Workers(threads: 1))
        let head = try ScreenedHead(matrix, workers: Workers(threads: 1))
        let x = try FloatBuffer(count: 8, zeroed: true)
        x.base[3] = .nan
        let found = try head.largest(
            Rows(base: x.base, count: 1, width: 8), leavingOut: [[]], arena: Arena(),
            workers: Workers(threads: 1))
        #expect(found == nil)
    }
}
