import CKernels
import Glibc
import Tensors
import Testing

extension Kernels {
    @Suite("Optimizers")
    struct OptimizerTests {
        @Test("AdamW agrees with its formulas in double, decaying to zero or to a reference")
        func adamw() throws {
            var settings = kernel_adamw_settings(
                rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-6, correction1: 0.19,
                correction2: 0.0199, decay: 0.1, scale: 0.5)
            try Variant.forEach { variant in
                for hasReference in [false, true] {
                    let count = 37
                    let g = try Sample(1, count, seed: 1), reference = try Sample(1, count, seed: 2)
                    let w = try Sample(1, count, seed: 3), m = try Sample(1, count, seed: 4)
                    let v = try Sample(1, count) { _, i in abs(formula(i, seed: 5)) }
                    let expected = (0..<count).map { i in
                        let gradient = 0.5 * Double(g.base[i])
                        let mean = 0.9 * Double(m.base[i]) + 0.1 * gradient
                        let square = 0.99 * Double(v.base[i]) + 0.01 * gradient * gradient
                        let to = hasReference ? Double(reference.base[i]) : 0
                        let before = Double(w.base[i])
                        let step = 0.01 * (mean / 0.19) / (sqrt(square / 0.0199) + 1e-6)
                        return (before - step - 0.01 * 0.1 * (before - to), mean, square)
                    }
                    kernel_adamw(
                        &settings, g.base, hasReference ? reference.base : nil, count, w.base,
                        m.base,
                        v.base)
                    for (sample, wanted) in [
                        (w, expected.map(\.0)), (m, expected.map(\.1)), (v, expected.map(\.2)),
                    ] {
                        let worst = largestDifference(sample.values, wanted)
                        #expect(worst.value < 1e-6, "\(variant): \(worst)")
                        #expect(sample.strayWrites == 0)
                    }
                }
            }
        }

        @Test("the sum of squares is kept in double")
        func squareSum() throws {
            try Variant.forEach { variant in
                let x = try Sample(1, 10_001) { _, i in i == 0 ? 4096 : 0.001 }
                let exact = x.doubles.reduce(0) { $0 + $1 * $1 }
                let found = kernel_square_sum(x.base, 10_001)
                #expect(abs(found / exact - 1) < 1e-11, "\(variant): \(found), not \(exact)")
            }
        }
    }
}
