import CKernels
import Tensors
import Testing

extension Kernels {
    @Suite("Products")
    struct ProductTests {
        static let rowCounts = Array(1...14) + [47, 97]
        static let columnCounts = [1, 31, 32, 33, 100]
        static let depths = [1, 7, 191, 192, 193, 256, 700]

        @Test(
            "a product is right, and a row's bits do not depend on the other rows",
            arguments: depths)
        func shapes(depth: Int) throws {
            let x = try Sample(97, depth, gap: 2, seed: 1)
            for columns in Self.columnCounts {
                let w = try Sample(columns, depth, seed: 2)
                let panels = try FloatBuffer(
                    count: kernel_panels_size(columns, depth), zeroed: true)
                kernel_pack(w.base, depth, 1, 0, columns, depth, panels.base)
                let expected = naiveProduct(x.rows, w.rows)
                try Variant.forEach { variant in
                    var whole: [Float] = []
                    for rows in Self.rowCounts.reversed() {
                        let out = try Sample(rows, columns, gap: 3, seed: 3)
                        kernel_product(
                            rows, columns, depth, x.base, x.rows.stride, 1, panels.base, 0,
                            (columns + 31) / 32, out.base, out.rows.stride, 0)
                        if whole.isEmpty { whole = out.values }
                        let shape = "\(variant): \(rows) x \(depth) x \(columns)"
                        #expect(out.strayWrites == 0, "\(shape)")
                        #expect(
                            sameBits(out.values, Array(whole.prefix(rows * columns))), "\(shape)")
                    }
                    let worst = largestDifference(whole, expected)
                    #expect(
                        worst.value < 1e-5,
                        "\(variant): \(columns) columns: \(whole[worst.index]), not \(expected[worst.index])"
                    )
                }
            }
        }

        @Test("a transposed left factor gives the bits of a plain one")
        func transposed() throws {
            let (rows, depth, columns) = (29, 300, 45)
            let x = try Sample(rows, depth, seed: 4)
            let turned = try Sample(depth, rows, gap: 5) { k, r in x.rows[r][k] }
            let w = try PackedMatrix(outputs: columns, inputs: depth)
            let source = try Sample(columns, depth, seed: 5)
            w.pack(
                source.base, outputs: 0..<columns, outputStride: depth, workers: Workers(threads: 1)
            )
            let panels = try FloatBuffer(count: kernel_panels_size(columns, depth), zeroed: true)
            kernel_pack(source.base, depth, 1, 0, columns, depth, panels.base)
            try Variant.forEach { variant in
                let plain = try Sample(rows, columns, seed: 6),
                    other = try Sample(rows, columns, seed: 6)
                kernel_product(
                    rows, columns, depth, x.base, depth, 1, panels.base, 0, 2, plain.base, columns,
                    1)
                kernel_product(
                    rows, columns, depth, turned.base, 1, turned.rows.stride, panels.base, 0, 2,
                    other.base, columns, 1)
                #expect(sameBits(plain.values, other.values), "\(variant)")
            }
        }

        @Test("adds adds to what was there, and other panels are left alone")
        func adds() throws {
            let (rows, depth, columns) = (9, 520, 100)
            let x = try Sample(rows, depth, seed: 1), w = try Sample(columns, depth, seed: 2)
            let packed = try PackedMatrix(outputs: columns, inputs: depth)
            packed.pack(
                w.base, outputs: 0..<columns, outputStride: depth, workers: Workers(threads: 1))
            let products = naiveProduct(x.rows, w.rows)
            try Variant.forEach { variant in
                let out = try Sample(rows, columns, seed: 3)
                let before = out.doubles
                product(
                    x.rows, packed, outputs: 32..<64, into: out.rows, adds: true,
                    workers: Workers(threads: 2))
                let expected = before.indices.map { i in
                    before[i] + (32..<64 ~= i % columns ? products[i] : 0)
                }
                let worst = largestDifference(out.values, expected)
                #expect(worst.value < 1e-5, "\(variant): element \(worst.index)")
            }
        }

        @Test("products and their backward passes agree with double sums on any number of threads")
        func passes() throws {
            let (rows, inputs, outputs) = (150, 130, 70)
            let x = try Sample(rows, inputs, gap: 1, seed: 1)
            let w = try Sample(outputs, inputs, gap: 2, seed: 2)
            let dy = try Sample(rows, outputs, gap: 3, seed: 3)
            let turnedW = try Sample(inputs, outputs) { i, o in w.rows[o][i] }
            let turnedX = try Sample(inputs, rows) { i, r in x.rows[r][i] }
            let turnedDY = try Sample(outputs, rows) { o, r in dy.rows[r][o] }
            let arena = Arena()
            var first: [[Float]] = []
            for threads in [1, 2, 5] {
                let workers = Workers(threads: threads)
                let y = try Sample(rows, outputs, seed: 4)
                let dx = try Sample(rows, inputs) { _, _ in 1 }
                let dw = try Sample(outputs, inputs, gap: 1) { _, _ in 2 }
                try product(
                    x.rows, weight: w.rows, into: y.rows, adds: false, arena: arena,
                    workers: workers)
                try productBackwardInput(
                    dy.rows, weight: w.rows, into: dx.rows, adds: true, arena: arena,
                    workers: workers)
                try productBackwardWeight(
                    dy.rows, x.rows, into: dw.rows, arena: arena, workers: workers)
                let results = [y.values, dx.values, dw.values]
                let expected = [
                    naiveProduct(x.rows, w.rows),
                    naiveProduct(dy.rows, turnedW.rows).map { $0 + 1 },
                    naiveProduct(turnedDY.rows, turnedX.rows).map { $0 + 2 },
                ]
                for (result, wanted) in zip(results, expected) {
                    let worst = largestDifference(result, wanted)
                    #expect(worst.value < 1e-5, "\(threads) threads: \(worst)")
                }
                if first.isEmpty { first = results }
                #expect(zip(results, first).allSatisfy(sameBits), "\(threads) threads")
            }
        }

        @Test("a packed product has the same bits on any number of threads")
        func threads() throws {
            let (depth, columns) = (300, 900)
            let w = try Sample(columns, depth, seed: 2)
            let packed = try PackedMatrix(outputs: columns, inputs: depth)
            packed.pack(
                w.base, outputs: 0..<columns, outputStride: depth, workers: Workers(threads: 3))
            for rows in [1, 8, 200] {
                let x = try Sample(rows, depth, seed: 1)
                let results = try [1, 2, 3].map { threads in
                    let out = try Sample(rows, columns, seed: 5)
                    product(x.rows, packed, into: out.rows, workers: Workers(threads: threads))
                    return out.values
                }
                #expect(sameBits(results[0], results[1]) && sameBits(results[0], results[2]))
            }
        }

        @Test("packing any range, in any orientation, then unpacking gives the weights back")
        func packing() throws {
            let (outputs, inputs) = (77, 37)
            let plain = try Sample(outputs, inputs, gap: 3, seed: 1)
            let turned = try Sample(inputs, outputs, gap: 1) { i, o in plain.rows[o][i] }
            let spread = try Sample(outputs, 2 * inputs) { o, i in
                i % 2 == 0 ? plain.rows[o][i / 2] : 0
            }
            let kinds = [
                (plain.base, plain.rows.stride, 1), (turned.base, 1, turned.rows.stride),
                (spread.base, 2 * inputs, 2),
            ]
            for (source, outputStride, inputStride) in kinds {
                let matrix = try PackedMatrix(outputs: outputs, inputs: inputs)
                for range in [0..<5, 5..<64, 64..<70, 70..<77] {
                    matrix.pack(
                        source + range.lowerBound * outputStride, outputs: range,
                        outputStride: outputStride, inputStride: inputStride,
                        workers: Workers(threads: 2))
                }
                let out = try Sample(outputs, inputs, gap: 2, seed: 9)
                for range in [0..<33, 33..<34, 34..<77] {
                    matrix.unpack(
                        outputs: range, into: out.base + range.lowerBound * out.rows.stride,
                        stride: out.rows.stride)
                }
                #expect(
                    sameBits(out.values, plain.values), "strides \(outputStride), \(inputStride)")
                #expect(out.strayWrites == 0)
                let gathered = try Sample(3, inputs, seed: 9)
                gather(
                    [76, 0, 33], from: matrix, into: gathered.rows, workers: Workers(threads: 1))
                let wanted = [76, 0, 33].flatMap { Array(plain.rows[$0]) }
                #expect(sameBits(gathered.values, wanted))
            }
        }
    }
}
