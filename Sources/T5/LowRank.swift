/// A change of a weight as the product of two factors, [outputs, rank] and [rank, inputs].
package struct LowRank: Sendable {
    /// [rank, inputs].
    package let a: [Float]
    /// [outputs, rank], its scale multiplied in.
    package let b: [Float]
    package let rank: Int

    package init(a: [Float], b: [Float], rank: Int) {
        self.a = a
        self.b = b
        self.rank = rank
    }

    /// weight + b a, each element summed in double in order of the rank, then rounded once.
    ///
    /// Products of two floats are exact in double, so the bits are the same on every machine.
    package func add(to weight: UnsafeMutableBufferPointer<Float>) {
        change(weight) { $0 + $1 }
    }

    /// weight - b a, as `add` rounds it: nearly what was added to.
    package func subtract(from weight: UnsafeMutableBufferPointer<Float>) {
        change(weight) { $0 - $1 }
    }

    private func change(
        _ weight: UnsafeMutableBufferPointer<Float>, _ combine: (Double, Double) -> Double
    ) {
        let inputs = a.count / max(rank, 1)
        guard inputs > 0 else { return }
        var sums = [Double](repeating: 0, count: inputs)
        for row in 0..<weight.count / inputs {
            for i in sums.indices { sums[i] = 0 }
            for k in 0..<rank {
                let factor = Double(b[row * rank + k])
                for i in 0..<inputs { sums[i] += factor * Double(a[k * inputs + i]) }
            }
            // Where nothing is added, -0.0 stays what it is.
            for i in 0..<inputs where sums[i] != 0 {
                let value = Double(weight[row * inputs + i])
                weight[row * inputs + i] = Float(combine(value, sums[i]))
            }
        }
    }
}
