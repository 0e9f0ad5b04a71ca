/// Steele, Lea and Flood's SplitMix64 (2014): the same numbers everywhere.
///
/// It is no `RandomNumberGenerator`: what a toolchain's own algorithms draw may change with it.
package struct SplitMix64: Sendable {
    package var state: UInt64

    package init(state: UInt64) { self.state = state }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Draws evenly from `0..<bound` by Lemire's method (2019): the high half of a product whose
    /// low half would favour nobody.
    ///
    /// - Parameter bound: above 0.
    package mutating func next(below bound: UInt64) -> UInt64 {
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let least = (0 &- bound) % bound
            while product.low < least { product = next().multipliedFullWidth(by: bound) }
        }
        return product.high
    }

    /// Returns the numbers from 0 to `count - 1` in an order drawn by Fisher and Yates' shuffle,
    /// first place first.
    package mutating func shuffled(_ count: Int) -> [Int] {
        var order = Array(0..<count)
        for place in order.indices.dropLast() {
            let drawn = Int(next(below: UInt64(count - place)))
            order.swapAt(place, place + drawn)
        }
        return order
    }
}
