import Support
import Testing

@testable import Patching

@Suite("The order of examples")
struct ExampleOrderTests {
    /// Two epochs of 12 examples, 4 a step.
    private func epochs(seed: UInt64) -> [[Int]] {
        var order = ExampleOrder(seed: seed)
        return (0..<2).map { _ in (0..<3).flatMap { _ in order.next(4, of: 12) } }
    }

    @Test("is these very numbers for these seeds, whatever compiles it")
    func pinned() {
        #expect(
            epochs(seed: 0) == [
                [10, 5, 2, 11, 4, 7, 1, 0, 8, 3, 6, 9], [5, 1, 11, 3, 6, 4, 10, 8, 2, 0, 7, 9],
            ])
        #expect(
            epochs(seed: 42) == [
                [8, 2, 4, 6, 1, 11, 7, 5, 9, 10, 0, 3], [1, 4, 5, 3, 10, 6, 0, 8, 2, 9, 7, 11],
            ])
    }

    @Test("takes each example once an epoch, all of them at once where a step has room")
    func epochsAreWhole() {
        for epoch in epochs(seed: 7) { #expect(epoch.sorted() == Array(0..<12)) }
        var order = ExampleOrder(seed: 7)
        #expect(order.next(12, of: 12) == Array(0..<12))
        #expect(order.next(1, of: 0) == [])
    }

    @Test("draws below a bound evenly, where the bound is no power of two, too")
    func bounds() {
        var generator = SplitMix64(state: 1)
        var counts = [0, 0, 0]
        for _ in 0..<30_000 { counts[Int(generator.next(below: 3))] += 1 }
        // Five standard deviations of a binomial of 30,000 and a third.
        for count in counts { #expect(abs(count - 10_000) < 409, "\(counts)") }
        // Nearly half of all draws are drawn again here: every one lies below.
        let bound: UInt64 = 1 << 63 + 1
        for _ in 0..<100 { #expect(generator.next(below: bound) < bound) }
        #expect(generator.next(below: 1) == 0)
    }
}
