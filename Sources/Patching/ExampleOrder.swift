import Support

/// Which examples each step takes: all of them once, shuffled, then again in another order.
///
/// The seed alone decides the orders, whatever compiled the library: the generator and its
/// shuffle are `SplitMix64`'s own.
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
                pending = generator.shuffled(count)
                epoch &+= 1
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

    /// - Throws: `UNSAY_E_FORMAT` unless it is an order of `count` examples.
    init(_ saved: SavedFields, seed: UInt64, count: Int) throws {
        let pending = saved.json["order"]?["pending"]?.array?.map { $0.int ?? -1 }
        guard let pending, pending.allSatisfy((0..<count).contains),
            Set(pending).count == pending.count
        else {
            throw saved.damaged("order.pending", expected: "different examples of \(count)")
        }
        self.seed = seed
        self.pending = pending
        epoch = try saved.bits("order.epoch", in: 0...1 << 53)
    }
}
