import CKernels
import Glibc
import Tensors
import Testing

extension Kernels {
    @Suite("Rows")
    struct RowTests {
        @Test("exp is within 2 ulp, and right at its ends")
        func exponential() throws {
            try Variant.forEach { variant in
                let x = try Sample(1, 20_001) { _, i in -87.3 + Float(i) * 0.0088 }
                let out = try Sample(1, 20_001, seed: 1)
                _ = kernel_exp(x.base, 0.25, 20_001, out.base)
                var worst = 0.0
                for (x, y) in zip(x.values, out.values) where x - 0.25 >= -87.3 && x < 88.5 {
                    let exact = exp(Double(x - 0.25))
                    worst = max(worst, abs(Double(y) - exact) / Double(Float(exact).ulp))
                }
                #expect(worst < 2, "\(variant): \(worst) ulp")
                let total = kernel_exp(x.base, 0, 18_001, out.base)
                let sum = out.doubles.prefix(18_001).reduce(0, +)
                #expect(abs(Double(total) / sum - 1) < 1e-6, "\(variant): \(total), not \(sum)")

                let ends: [Float] = [
                    -.infinity, -1000, -87.31, 88.73, 1000, .infinity, .nan, 0, 88.72,
                ]
                let edge = try Sample(1, ends.count) { _, i in ends[i] }
                _ = kernel_exp(edge.base, 0, ends.count, edge.base)
                #expect(Array(edge.values[0..<3]) == [0, 0, 0], "\(variant): \(edge.values)")
                #expect(Array(edge.values[3..<6]) == [.infinity, .infinity, .infinity])
                #expect(edge.values[6].isNaN && edge.values[7] == 1 && edge.values[8].isFinite)
            }
        }

        @Test(
            "log-sum-exp is right for long, large and empty-handed rows",
            arguments: [1, 3, 16, 37, 32_128])
        func logSumExp(count: Int) throws {
            try Variant.forEach { variant in
                let x = try Sample(1, count) { _, i in 500 + 20 * formula(i, seed: 1) }
                let exact = 500 + log(x.doubles.reduce(0) { $0 + exp($1 - 500) })
                let found = kernel_log_sum_exp(x.base, count)
                #expect(abs(Double(found) - exact) < 1e-4, "\(variant): \(found), not \(exact)")

                x.rows.fill(-.infinity)
                #expect(kernel_log_sum_exp(x.base, count) == -.infinity)
                x.base[count / 2] = .nan
                #expect(kernel_log_sum_exp(x.base, count).isNaN)
            }
        }

        @Test("argmax is the lowest index of the largest value")
        func argmax() throws {
            try Variant.forEach { variant in
                for count in [1, 5, 16, 50] {
                    let x = try Sample(1, count, seed: count)
                    x.base[count / 3] = 3
                    x.base[count - 1] = 3
                    #expect(kernel_argmax(x.base, count) == count / 3, "\(variant): \(count)")
                }
            }
        }

        @Test("the next value above a floor is found, whatever comes before it")
        func nextAbove() throws {
            try Variant.forEach { variant in
                for count in [1, 5, 16, 50] {
                    let x = try Sample(1, count, seed: count)
                    x.base[count / 2] = .nan
                    x.base[count - 1] = -.infinity
                    for floor in [0, 0.2, 0.6, -0.1, -.infinity, 2] as [Float] {
                        for first in 0...count {
                            let found = kernel_next_above(x.base, first, count, 0.25, floor)
                            let expected = (first..<count).first { x.base[$0] + 0.25 > floor }
                            #expect(found == expected ?? count, "\(variant): above \(floor)")
                        }
                    }
                }
            }
        }

        @Test(
            "the layer norm agrees with double, its backward pass with slopes",
            arguments: [1, 12, 33, 64])
        func rmsNorm(width: Int) throws {
            let x = try Sample(70, width, gap: 1, seed: 1), weight = try Sample(1, width, seed: 2)
            let dout = try Sample(70, width, gap: 2, seed: 3)
            let out = try Sample(70, width, seed: 4), inverse = try Sample(70, 1, seed: 5)
            let one = Workers(threads: 1)
            func forward() -> Double {
                Tensors.rmsNorm(
                    x.rows, weight: weight.base, epsilon: 0.1, into: out.rows,
                    inverseRMS: inverse.base, workers: one)
                return dot(out, dout)
            }
            try Variant.forEach { variant in
                _ = forward()
                for row in [0, 1, 69] {
                    let values = x.rows[row].map(Double.init)
                    let rms = sqrt(values.reduce(0) { $0 + $1 * $1 } / Double(width) + 0.1)
                    let exact = values.indices.map { values[$0] / rms * Double(weight.base[$0]) }
                    let worst = largestDifference(Array(out.rows[row]), exact)
                    #expect(worst.value < 1e-6, "\(variant): \(worst)")
                }
                var first: [Float] = []
                for threads in [1, 3] {
                    let dx = try Sample(70, width) { _, _ in 1 }
                    let dweight = try Sample(1, width) { _, _ in 2 }
                    try rmsNormBackward(
                        dout.rows, x.rows, weight: weight.base, inverseRMS: inverse.base,
                        addingTo: dx.rows, dweight: dweight.base, arena: Arena(),
                        workers: Workers(threads: threads))
                    let both = dx.values + dweight.values
                    if first.isEmpty { first = both }
                    #expect(sameBits(both, first), "\(variant): \(threads) threads")
                }
                for i in stride(from: 0, to: 70 * width, by: 7 * width + 5) {
                    let exact = slope(at: i, of: x, step: 4e-3, forward) + 1
                    #expect(
                        abs(Double(first[i]) - exact) < 2e-3,
                        "\(variant): \(first[i]), not \(exact)")
                }
                for i in stride(from: 0, to: width, by: 5) {
                    let exact = slope(at: i, of: weight, step: 4e-3, forward) + 2
                    let found = first[70 * width + i]
                    #expect(abs(Double(found) - exact) < 2e-3, "\(variant): \(found), not \(exact)")
                }
                _ = forward()
            }
        }

        @Test(
            "the layer norm computed again has the bits it had", arguments: [1, 12, 33, 64, 768])
        func rmsNormAgain(width: Int) throws {
            let x = try Sample(70, width, gap: 1, seed: 1), weight = try Sample(1, width, seed: 2)
            let out = try Sample(70, width, gap: 2, seed: 3), inverse = try Sample(70, 1, seed: 4)
            try Variant.forEach { variant in
                Tensors.rmsNorm(
                    x.rows, weight: weight.base, epsilon: 0.1, into: out.rows,
                    inverseRMS: inverse.base, workers: Workers(threads: 1))
                for threads in [1, 3] {
                    let again = try Sample(70, width, gap: 3, seed: 5)
                    Tensors.rmsNormAgain(
                        x.rows, weight: weight.base, inverseRMS: inverse.base, into: again.rows,
                        workers: Workers(threads: threads))
                    #expect(sameBits(again.values, out.values), "\(variant): \(threads) threads")
                    #expect(again.strayWrites == 0)
                }
            }
        }

        @Test("sums and multiples of rows touch nothing else")
        func sums() throws {
            try Variant.forEach { variant in
                let x = try Sample(5, 19, gap: 2, seed: 1), out = try Sample(5, 19, gap: 1, seed: 2)
                let expected = zip(x.values, out.values).map { ($0 + $1) * 0.5 }
                add(x.rows, to: out.rows, workers: Workers(threads: 2))
                scale(out.rows, by: 0.5, into: out.rows, workers: Workers(threads: 2))
                #expect(sameBits(out.values, expected) && out.strayWrites == 0, "\(variant)")
            }
        }
    }
}
