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
        arguments: [Float(1), 1e-2, 1e-4, 0], [Precision.float32, .bf16])
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
        let x = try FloatBuffer(count: inputs), logits = try FloatBuffer(count: outputs)
        let row = Rows(base: x.base, count: 1, width: inputs)
        let exact = Rows(base: logits.base, count: 1, width: outputs)
        var screened = 0
        for seed in 0..<200 {
            for index in 0..<inputs {
                x.base[index] = number(index, 100 + seed) * Float(1 + seed % 7)
            }
            try product(row, matrix, into: exact, arena: arena, workers: workers)
            // Also where what would be the best may not be written.
            for omitted in [[], [Int32(largestIndex(exact[0]))]] {
                for id in omitted { exact[0][Int(id)] = -.infinity }
                let found = try head.largest(
                    row, leavingOut: omitted, arena: arena, workers: workers)
                guard let found else { continue }
                screened += 1
                #expect(Int(found) == largestIndex(exact[0]), "row \(seed), without \(omitted)")
            }
        }
        // Where all are alike it gives up; where they are far apart it never has to.
        #expect(apart < 1 || screened == 400, "\(screened) of 400")
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
            Rows(base: x.base, count: 1, width: 8), leavingOut: [], arena: Arena(),
            workers: Workers(threads: 1))
        #expect(found == nil)
    }
}
