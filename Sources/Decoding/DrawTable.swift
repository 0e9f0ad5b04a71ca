import Glibc

/// Probabilities of a row of logits, to draw from.
struct DrawTable {
    private let values: UnsafeMutableBufferPointer<Float>
    private let largest: Float
    private let total: Double

    /// - Parameter values: logits; -inf is never drawn.
    init(_ values: UnsafeMutableBufferPointer<Float>) {
        self.values = values
        let largest = values.max() ?? 0
        self.largest = largest
        total = values.reduce(0.0) { $0 + Self.weight($1, largest) }
    }

    /// - Parameter uniform: in 0..<1.
    /// - Returns: the index where the sum of probabilities first exceeds it.
    func index(at uniform: Double) -> Int {
        let goal = uniform * total
        var sum = 0.0
        var last = 0
        for (index, value) in values.enumerated() where value > -.infinity {
            sum += Self.weight(value, largest)
            last = index
            if sum > goal { break }
        }
        return last
    }

    private static func weight(_ value: Float, _ largest: Float) -> Double {
        value == -.infinity ? 0 : Double(exp(value - largest))
    }
}
