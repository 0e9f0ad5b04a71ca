import CKernels
import Tensors
import Testing

extension Kernels {
    @Suite("Products")
    struct ProductTests {
        static let rowCounts = Array(1...14) + [47, 97]
        static let columnCounts = [1, 31, 32, 33, 100]
        static let depths = [1, 7, 191, 192, 193, 256, 384, 385, 700, 1200]

        @Test(
            "a product is right, and a row's bits do not depend on the other rows",
            arguments: depths)
        func shapes(depth: Int) throws {
            let x = try Sample(97, depth, gap: 2, seed: 1)
            for columns in Self.columnCounts {
                let w = try Sample(columns, depth, seed: 2)
                let panels = try FloatBuffer(
                    count: kernel_panels_bytes(KERNEL_FLOAT32, columns, depth) / 4, zeroed: true)
                kernel_pack(
                    KERNEL_FLOAT32, w.base, depth, 1, 0, columns, depth, panels.base, nil)
                let expected = naiveProduct(x.rows, w.rows)
                try Variant.forEach { variant in
                    var whole: [Float] = []
                    for rows in Self.rowCounts.reversed() {
                        let out = try Sample(rows, columns, gap: 3, seed: 3)
                        var call = floatShape(x.rows.rows(0..<rows), columns, into: out.rows)
                        kernel_product(&call, x.base, nil, panels.base, nil, out.base)
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
            let panels = try FloatBuffer(
                count: kernel_panels_bytes(KERNEL_FLOAT32, columns, depth) / 4, zeroed: true)
            kernel_pack(
                KERNEL_FLOAT32, source.base, depth, 1, 0, columns, depth, panels.base, nil)
            try Variant.forEach { variant in
                let plain = try Sample(rows, columns, seed: 6),
                    other = try Sample(rows, columns, seed: 6)
                var shape = floatShape(x.rows, columns, into: plain.rows)
                shape.adds = 1
                kernel_product(&shape, x.base, nil, panels.base, nil, plain.base)
                shape.row_stride = 1
                shape.depth_stride = turned.rows.stride
                kernel_product(&shape, turned.base, nil, panels.base, nil, other.base)
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
                try product(
                    x.rows, packed, outputs: 32..<64, into: out.rows, adds: true, arena: Arena(),
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

        @Test(
            "a packed product has the same bits on any number of threads",
            arguments: [(Precision.float32, 0), (.bf16, 0), (.int8, 8), (.int8, 16)])
        func threads(kind: (precision: Precision, inputBits: Int)) throws {
            // Large enough to be divided, with depth blocks and panels that are not full.
            let (depth, columns) = (801, 2001)
            let w = try Sample(columns, depth, seed: 2)
            let packed = try PackedMatrix(
                outputs: columns, inputs: depth, precision: kind.precision,
                inputBits: kind.inputBits)
            packed.pack(
                w.base, outputs: 0..<columns, outputStride: depth, workers: Workers(threads: 3))
            try Variant.forEach { variant in
                for rows in [1, 8, 50, 200] {
                    let x = try Sample(rows, depth, seed: 1)
                    let results = try [1, 2, 3].map { threads in
                        let out = try Sample(rows, columns, seed: 5)
                        try product(
                            x.rows, packed, into: out.rows, arena: Arena(),
                            workers: Workers(threads: threads))
                        return out.values
                    }
                    #expect(sameBits(results[0], results[1]), "\(variant), \(rows) rows")
                    #expect(sameBits(results[0], results[2]), "\(variant), \(rows) rows")
                }
            }
        }

        @Test(
            "products with rounded weights are right to their rounding, and a row's bits do not depend on the other rows",
            arguments: [(Precision.bf16, 0), (.int8, 8), (.int8, 16)], [1, 7, 192, 193, 385, 700])
        func rounded(kind: (precision: Precision, inputBits: Int), depth: Int) throws {
            let precision = kind.precision
            let x = try Sample(97, depth, gap: 2, seed: 1)
            for columns in Self.columnCounts {
                let w = try Sample(columns, depth, seed: 2)
                let packed = try PackedMatrix(
                    outputs: columns, inputs: depth, precision: precision,
                    inputBits: kind.inputBits)
                packed.pack(
                    w.base, outputs: 0..<columns, outputStride: depth, workers: Workers(threads: 2))
                let kept = try Sample(columns, depth, seed: 9)
                packed.unpack(outputs: 0..<columns, into: kept.base, stride: depth)
                let rounding = largestDifference(kept.values, w.doubles).value
                // Half a unit of 127 to the largest of 0.5; 8 bits of a number below 0.5.
                #expect(rounding <= (precision == .int8 ? 0.5 / 254 + 1e-6 : 0.5 / 512))
                #expect(precision == .int8 || rounding > 0 || depth == 1)
                let expected = naiveProduct(x.rows, kept.rows)
                var others: [Float] = []
                try Variant.forEach { variant in
                    var whole: [Float] = []
                    for rows in Self.rowCounts.reversed() {
                        let out = try Sample(rows, columns, gap: 3, seed: 3)
                        try product(
                            x.rows.rows(0..<rows), packed, into: out.rows, arena: Arena(),
                            workers: Workers(threads: 1 + rows % 3))
                        if whole.isEmpty { whole = out.values }
                        let shape = "\(variant): \(rows) x \(depth) x \(columns)"
                        #expect(out.strayWrites == 0, "\(shape)")
                        #expect(
                            sameBits(out.values, Array(whole.prefix(rows * columns))), "\(shape)")
                    }
                    let worst = largestDifference(whole, expected)
                    // Inputs of int8 weights have 8 or 16 bits, of bf16 weights 8 bits where the
                    // processor multiplies those.
                    let int8 = kind.inputBits == 8 ? 4e-2 : 2e-4
                    let limit =
                        precision == .int8 ? int8 : variant == .avx512Pairs ? 2e-2 : 3e-5
                    #expect(
                        worst.value < limit,
                        "\(variant): \(columns) columns: \(whole[worst.index]), not \(expected[worst.index])"
                    )
                    guard precision == .int8 else { return }
                    if others.isEmpty { others = whole }
                    #expect(sameBits(whole, others), "\(variant): int8 is exact at every level")
                }
            }
        }

        @Test("an int8 row that is not finite is NaN, and others are as they were")
        func notFinite() throws {
            let source = try Sample(33, 40, seed: 5)
            for bits in [8, 16] { try notFinite(inputBits: bits, source) }
        }

        private func notFinite(inputBits: Int, _ source: Sample) throws {
            let w = try PackedMatrix(
                outputs: 33, inputs: 40, precision: .int8, inputBits: inputBits)
            w.pack(source.base, outputs: 0..<33, outputStride: 40, workers: Workers(threads: 1))
            for bad in [Float.nan, .infinity, -.infinity] {
                for place in [0, 17, 39] {
                    try Variant.forEach { variant in
                        let x = try Sample(2, 40, seed: 6)
                        x.rows[0][place] = bad
                        let out = try Sample(2, 33, seed: 7)
                        try product(
                            x.rows, w, into: out.rows, arena: Arena(), workers: Workers(threads: 1))
                        let values = out.values
                        #expect(
                            values[..<33].allSatisfy { $0.isNaN }, "\(variant), \(bad) at \(place)")
                        #expect(values[33...].allSatisfy { $0.isFinite }, "\(variant)")
                    }
                }
            }
            let zero = try Sample(1, 40) { _, _ in 0 }
            let out = try Sample(1, 33, seed: 7)
            try product(zero.rows, w, into: out.rows, arena: Arena(), workers: Workers(threads: 1))
            #expect(out.values.allSatisfy { $0 == 0 }, "no input, no output")
        }

        @Test(
            "outputs of int8 weights that are not finite are NaN, and others are as they were",
            arguments: [Float.nan, .infinity, -.infinity])
        func notFiniteWeights(bad: Float) throws {
            let source = try Sample(33, 40, seed: 5)
            source.rows[7][17] = bad
            for bits in [8, 16] {
                let w = try PackedMatrix(
                    outputs: 33, inputs: 40, precision: .int8, inputBits: bits)
                w.pack(source.base, outputs: 0..<33, outputStride: 40, workers: Workers(threads: 1))
                try Variant.forEach { variant in
                    let x = try Sample(1, 40, seed: 6)
                    let out = try Sample(1, 33, seed: 7)
                    try product(
                        x.rows, w, into: out.rows, arena: Arena(), workers: Workers(threads: 1))
                    for (output, value) in out.values.enumerated() {
                        #expect(
                            value.isNaN == (output == 7), "\(variant): output \(output): \(value)")
                    }
                }
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

/// A product of float32 rows and panels.
func floatShape(_ x: Rows, _ columns: Int, into out: Rows) -> kernel_product_shape {
    kernel_product_shape(
        rows: x.count, columns: columns, depth: x.width, row_stride: x.stride, depth_stride: 1,
        out_stride: out.stride, first_panel: 0, end_panel: (columns + 31) / 32,
        weights: KERNEL_FLOAT32, input_bits: 0, adds: 0, is_packed: 0)
}
