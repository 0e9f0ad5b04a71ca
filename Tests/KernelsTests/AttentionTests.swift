import Glibc
import Tensors
import Testing

extension Kernels {
    @Suite("Attention")
    struct AttentionTests {
        /// Two heads over a ragged batch, with everything its two passes need.
        struct Case {
            let heads = 2, dKV: Int, causal: Bool
            let queries: Ragged, keys: Ragged
            let q: Sample, k: Sample, v: Sample, dout: Sample, table: Sample?
            let out: Sample, logSums: Sample

            init(dKV: Int, queries: [Int], keys: [Int], causal: Bool, hasBias: Bool) throws {
                (self.dKV, self.causal) = (dKV, causal)
                self.queries = Ragged(lengths: queries)
                self.keys = Ragged(lengths: keys)
                let width = 2 * dKV
                q = try Sample(self.queries.total, width, gap: 1, seed: 1, scale: 3)
                k = try Sample(self.keys.total, width, gap: 3, seed: 2)
                v = try Sample(self.keys.total, width, gap: 2, seed: 3)
                dout = try Sample(self.queries.total, width, gap: 5, seed: 4)
                out = try Sample(self.queries.total, width, gap: 5, seed: 5)
                logSums = try Sample(2, self.queries.total, gap: 1, seed: 6)
                let distances = self.queries.longest + self.keys.longest
                table = hasBias ? try Sample(2, distances, gap: 2, seed: 7, scale: 4) : nil
            }

            var bias: DistanceBias? {
                table.map { DistanceBias(table: $0.rows, zero: queries.longest) }
            }

            func run(threads: Int, _ precision: Precision = .float32) throws {
                try attention(
                    q: q.rows, k: k.rows, v: v.rows, heads: 2, queries: queries, keys: keys,
                    bias: bias, causal: causal, keyValues: precision, into: out.rows,
                    logSums: logSums.rows, arena: Arena(), workers: Workers(threads: threads))
            }

            /// The definition, in double.
            func exact() -> (out: [Double], logSums: [Double]) {
                let width = 2 * dKV
                var out = [Double](repeating: 0, count: queries.total * width)
                var logSums = [Double](repeating: 0, count: 2 * queries.total)
                for head in 0..<2 {
                    for sequence in 0..<queries.count {
                        let keyRows = keys.range(sequence)
                        for (position, row) in queries.range(sequence).enumerated() {
                            let columns = head * dKV..<(head + 1) * dKV
                            let seen = causal ? min(position + 1, keyRows.count) : keyRows.count
                            let scores = (0..<seen).map { j in
                                let key = k.rows[keyRows.lowerBound + j]
                                let bias = table.map {
                                    $0.rows[head][queries.longest + j - position]
                                }
                                return columns.reduce(Double(bias ?? 0)) {
                                    $0 + Double(q.rows[row][$1]) * Double(key[$1])
                                }
                            }
                            let total = scores.reduce(0) { $0 + exp($1) }
                            logSums[head * queries.total + row] = log(total)
                            for (j, score) in scores.enumerated() {
                                for c in columns {
                                    out[row * width + c] +=
                                        exp(score) / total
                                        * Double(v.rows[keyRows.lowerBound + j][c])
                                }
                            }
                        }
                    }
                }
                return (out, logSums)
            }
        }

        static let widths = [1, 8, 12, 32, 64, 80]

        @Test(
            "attention agrees with its definition for any head width", arguments: widths,
            [Precision.float32, .bf16])
        func forward(dKV: Int, precision: Precision) throws {
            // Of bf16, scores of about 10 lose about 2^-9 of themselves.
            let limit = precision == .float32 ? 1e-5 : 0.1
            for causal in [false, true] {
                let sample = try Case(
                    dKV: dKV, queries: [1, 70, 3, 40],
                    keys: causal ? [1, 70, 3, 40] : [5, 130, 64, 1],
                    causal: causal, hasBias: causal)
                let (out, logSums) = sample.exact()
                try Variant.forEach { variant in
                    try sample.run(threads: 1, precision)
                    let one = sample.out.values + sample.logSums.values
                    let worst = largestDifference(one, out + logSums)
                    #expect(worst.value < limit, "\(variant), causal \(causal): \(worst)")
                    #expect(sample.out.strayWrites == 0 && sample.logSums.strayWrites == 0)
                    try sample.run(threads: 3, precision)
                    #expect(sameBits(sample.out.values + sample.logSums.values, one), "\(variant)")
                    try Self.step(sample, variant, precision)
                }
            }
        }

        /// A step for the last query of each sequence, against what the whole gave.
        static func step(_ sample: Case, _ variant: Variant, _ precision: Precision) throws {
            let shape = KeyValueShape(heads: 2, dKV: sample.dKV, precision: precision)
            let last = (0..<sample.queries.count).map { sample.queries.range($0).upperBound - 1 }
            // Only without a causal mask does a query see all keys of its sequence.
            let seen = (0..<sample.keys.count).map { s in
                sample.causal ? sample.queries.range(s).count : sample.keys.range(s).count
            }
            let width = 2 * sample.dKV
            let q = try Sample(last.count, width) { s, c in sample.q.rows[last[s]][c] }
            let out = try Sample(last.count, width, gap: 1, seed: 8)
            let (k, v) = (sample.k.rows, sample.v.rows)
            // Room for more positions than there are, set one after the other, but for the last.
            let caches = try (0..<last.count).map { s in
                let memory = try FloatBuffer(count: shape.floats(seen[s] + 9), zeroed: true)
                let cache = KeyValues(base: memory.base, shape, capacity: seen[s] + 9)
                for position in 0..<seen[s] - 1 {
                    let row = sample.keys.range(s).lowerBound + position
                    for head in 0..<2 {
                        let column = head * sample.dKV
                        cache.set(
                            position, head: head, k: k.base + row * k.stride + column,
                            v: v.base + row * v.stride + column)
                    }
                }
                return (cache: cache, memory: memory)
            }
            // The views do not keep their memory alive.
            defer { withExtendedLifetime(caches) {} }
            let ends = (0..<last.count).map { sample.keys.range($0).lowerBound + seen[$0] - 1 }
            let newK = try Sample(last.count, width, gap: 2) { s, c in k[ends[s]][c] }
            let newV = try Sample(last.count, width, gap: 3) { s, c in v[ends[s]][c] }
            attentionStep(
                q: q.rows, new: (newK.rows, newV.rows), caches.map(\.cache), counts: seen,
                heads: 2, dKV: sample.dKV, bias: sample.bias, into: out.rows,
                workers: Workers(threads: 2))
            let whole = last.flatMap { Array(sample.out.rows[$0]) }
            #expect(sameBits(out.values, whole), "\(variant): one query alone, \(sample.dKV) wide")
        }

        @Test("no keys give zeros")
        func noKeys() throws {
            let sample = try Case(dKV: 8, queries: [2], keys: [0], causal: false, hasBias: false)
            try sample.run(threads: 1)
            #expect(sample.out.values.allSatisfy { $0 == 0 })
            #expect(sample.logSums.values.allSatisfy { $0 == -.infinity })
        }

        @Test("the backward pass agrees with slopes of the definition", arguments: [1, 8, 12, 40])
        func backward(dKV: Int) throws {
            for causal in [false, true] {
                // More than a group of queries and a block of keys, and fewer.
                let sample = try Case(
                    dKV: dKV, queries: [99, 5], keys: causal ? [99, 5] : [70, 1],
                    causal: causal, hasBias: true)
                guard let table = sample.table else { continue }
                let objective = {
                    zip(sample.exact().out, sample.dout.doubles).reduce(0) { $0 + $1.0 * $1.1 }
                }
                try Variant.forEach { variant in
                    try sample.run(threads: 1)
                    let width = 2 * dKV
                    let dq = try Sample(sample.q.rows.count, width, gap: 1) { _, _ in 1 }
                    let dk = try Sample(sample.k.rows.count, width, gap: 3) { _, _ in 2 }
                    let dv = try Sample(sample.v.rows.count, width, gap: 2) { _, _ in 3 }
                    let dtable = try Sample(2, table.rows.width, gap: 2) { _, _ in 4 }
                    try attentionBackward(
                        dout: sample.dout.rows, q: sample.q.rows, k: sample.k.rows,
                        v: sample.v.rows,
                        out: sample.out.rows, logSums: sample.logSums.rows, heads: 2,
                        queries: sample.queries, keys: sample.keys, bias: sample.bias,
                        causal: causal,
                        addingTo: dq.rows, dk: dk.rows, dv: dv.rows,
                        dbias: DistanceBias(table: dtable.rows, zero: sample.queries.longest),
                        arena: Arena(), workers: Workers(threads: 2))
                    let pairs = [
                        (sample.q, dq, 1.0), (sample.k, dk, 2), (sample.v, dv, 3),
                        (table, dtable, 4),
                    ]
                    for (of, gradient, before) in pairs {
                        let found = gradient.values
                        for i in stride(from: 0, to: found.count, by: max(1, found.count / 7)) {
                            let exact = slope(at: i, of: of, step: 1e-3, objective) + before
                            let name =
                                "\(variant), causal \(causal), gradient \(Int(before)), element \(i)"
                            #expect(
                                abs(Double(found[i]) - exact) < 1e-5,
                                "\(name): \(found[i]), not \(exact)")
                        }
                        #expect(gradient.strayWrites == 0)
                    }
                }
            }
        }
    }
}
