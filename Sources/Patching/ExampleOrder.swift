/// Which examples each step takes: all of them once, shuffled, then again in another order.
struct ExampleOrder {
    private let seed: UInt64
    private var epoch: UInt64 = 0
    private var pending: [Int] = []

    init(seed: UInt64) { self.seed = seed }

    /// The next `size` of `count` examples, or all where there are fewer.
    mutating func next(_ size: Int, of count: Int) -> [Int] {
        guard count > size else { return Array(0..<count) }
        var batch: [Int] = []
        while batch.count < size {
            if pending.isEmpty {
                var generator = SplitMix64(state: seed &+ epoch &* 0x9E37_79B9_7F4A_7C15)
                pending = Array(0..<count).shuffled(using: &generator)
                epoch += 1
            }
            batch.append(pending.removeFirst())
        }
        return batch
    }
}

/// Steele, Lea and Flood's SplitMix64 (2014): the same numbers everywhere.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
