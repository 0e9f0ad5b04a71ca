import Glibc
import Tensors
import Testing

extension Kernels {
    @Suite("Activations")
    struct ActivationTests {
        static let kinds: [Activation] = [.relu, .geluNew, .gelu, .silu]

        /// The definition, in double.
        static func exact(_ kind: Activation, _ x: Double) -> Double {
            switch kind {
            case .relu: max(x, 0)
            case .geluNew: x / 2 * (1 + tanh(sqrt(2 / Double.pi) * (x + 0.044715 * x * x * x)))
            case .gelu: x / 2 * (1 + erf(x / 2.0.squareRoot()))
            case .silu: x / (1 + exp(-x))
            }
        }

        @Test("an activation agrees with its definition, plain and gated", arguments: kinds)
        func values(kind: Activation) throws {
            try Variant.forEach { variant in
                for gated in [false, true] {
                    let x = try Sample(4, gated ? 86 : 43, gap: 1, seed: 1, scale: 12)
                    let out = try Sample(4, 43, gap: 2, seed: 2)
                    activate(
                        kind, gated: gated, x.rows, into: out.rows, workers: Workers(threads: 2))
                    let expected = (0..<4 * 43).map { i in
                        let row = x.rows[i / 43], column = i % 43
                        let value = Self.exact(kind, Double(row[column]))
                        return gated ? value * Double(row[column + 43]) : value
                    }
                    let worst = largestDifference(out.values, expected)
                    #expect(worst.value < 5e-6, "\(variant) \(kind) gated \(gated): \(worst)")
                    #expect(out.strayWrites == 0)
                }
            }
        }

        @Test("its backward pass agrees with slopes of the definition", arguments: kinds)
        func slopes(kind: Activation) throws {
            try Variant.forEach { variant in
                for gated in [false, true] {
                    let x = try Sample(3, gated ? 58 : 29, seed: 1, scale: 8)
                    let dout = try Sample(3, 29, gap: 1, seed: 2)
                    let dx = try Sample(3, gated ? 58 : 29, gap: 3, seed: 3)
                    activateBackward(
                        kind, gated: gated, dout: dout.rows, x.rows, into: dx.rows,
                        workers: Workers(threads: 2))
                    let expected = (0..<dx.values.count).map { i in
                        let row = x.rows[i / x.rows.width].map(Double.init)
                        let column = i % x.rows.width,
                            up = Double(dout.rows[i / x.rows.width][column % 29])
                        if column >= 29 { return up * Self.exact(kind, row[column - 29]) }
                        let gate = gated ? row[column + 29] : 1
                        let step = 1e-5
                        let rise =
                            Self.exact(kind, row[column] + step)
                            - Self.exact(kind, row[column] - step)
                        return up * gate * rise / (2 * step)
                    }
                    let worst = largestDifference(dx.values, expected)
                    #expect(worst.value < 5e-6, "\(variant) \(kind) gated \(gated): \(worst)")
                    #expect(dx.strayWrites == 0)
                }
            }
        }

        @Test("an activation and its backward pass give the same bits in place", arguments: kinds)
        func inPlace(kind: Activation) throws {
            let workers = Workers(threads: 2)
            try Variant.forEach { variant in
                for gated in [false, true] {
                    let x = try Sample(3, gated ? 86 : 43, gap: 1, seed: 1, scale: 8)
                    let dout = try Sample(3, 43, seed: 2), out = try Sample(3, 43, seed: 3)
                    let dx = try Sample(3, x.rows.width, seed: 4)
                    activate(kind, gated: gated, x.rows, into: out.rows, workers: workers)
                    activateBackward(
                        kind, gated: gated, dout: dout.rows, x.rows, into: dx.rows,
                        workers: workers)

                    let into = try Sample(3, x.rows.width, gap: 2, seed: 5)
                    let left = into.rows.columns(0..<43)
                    left.copy(from: dout.rows)
                    activateBackward(
                        kind, gated: gated, dout: left, x.rows, into: into.rows, workers: workers)
                    #expect(sameBits(into.values, dx.values), "\(variant) gated \(gated)")
                    into.rows.copy(from: x.rows)
                    activate(kind, gated: gated, into.rows, into: left, workers: workers)
                    let found = (0..<3).flatMap { Array(left[$0]) }
                    #expect(sameBits(found, out.values), "\(variant) gated \(gated)")
                    #expect(into.strayWrites == 0)
                }
            }
        }

        @Test("activations stay finite far out", arguments: kinds)
        func extremes(kind: Activation) throws {
            try Variant.forEach { variant in
                let x = try Sample(1, 4) { _, i in [-1e6, -200, 200, 1e6][i] }
                let dout = try Sample(1, 4) { _, _ in 1 }
                let out = try Sample(1, 4, seed: 1), dx = try Sample(1, 4, seed: 1)
                activate(kind, gated: false, x.rows, into: out.rows, workers: Workers(threads: 1))
                activateBackward(
                    kind, gated: false, dout: dout.rows, x.rows, into: dx.rows,
                    workers: Workers(threads: 1))
                #expect(out.values == [0, 0, 200, 1e6], "\(variant): \(out.values)")
                #expect(dx.values == [0, 0, 1, 1], "\(variant): \(dx.values)")
            }
        }
    }
}
