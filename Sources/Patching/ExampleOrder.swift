import Support

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
            let taken = min(size - batch.count, pending.count)
            batch += pending.prefix(taken)
            pending.removeFirst(taken)
        }
        return batch
    }

    var json: JSON {
        .object([
            "epoch": .string(String(epoch)),
            "pending": .array(pending.map { .number(Double($0)) }),
        ])
    }

    /// nil unless it is an order of `count` examples.
    init?(_ json: JSON, seed: UInt64, count: Int) {
        guard let epoch = json["epoch"]?.string.flatMap(UInt64.init),
            let pending = json["pending"]?.array?.map(\.int)
        else { return nil }
        self.seed = seed
        self.epoch = epoch
        self.pending = pending.compactMap { $0 }
        guard self.pending.count == pending.count,
            self.pending.allSatisfy({ (0..<count).contains($0) })
        else { return nil }
    }
}
