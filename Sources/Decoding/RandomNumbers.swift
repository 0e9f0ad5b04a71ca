import Glibc

/// Numbers drawn at random by counting: number n of a stream is a function of the stream and n
/// alone, so that it does not matter who draws it, when, or what else is drawn.
///
/// The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), applied
/// twice.
struct RandomNumbers: Sendable {
    private let key: UInt64

    /// The stream of hypothesis `hypothesis` of the input with ids `source`: it depends on the
    /// seed and on the input's ids, never on its place in a batch.
    init(seed: UInt64, source: [Int32], hypothesis: Int) {
        var key = Self.mix(seed ^ 0x9E37_79B9_7F4A_7C15)
        for id in source { key = Self.mix(key ^ UInt64(UInt32(bitPattern: id))) }
        self.key = Self.mix(key ^ UInt64(hypothesis) &* 0xD1B5_4A32_D192_ED03)
    }

    /// Uniform in 0..<1, of 53 bits.
    func uniform(_ step: Int, _ number: Int = 0) -> Double {
        let counter = UInt64(truncatingIfNeeded: step) << 40 ^ UInt64(truncatingIfNeeded: number)
        let bits = Self.mix(Self.mix(key ^ counter &* 0x9E37_79B9_7F4A_7C15) &+ counter)
        return Double(bits >> 11) * 0x1p-53
    }

    /// Of the standard Gumbel distribution. Adding one to each of several log-probabilities and
    /// taking the largest draws from them, without replacement.
    func gumbel(_ step: Int, _ number: Int) -> Double {
        -log(-log(max(uniform(step, number), 0x1p-54)))
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
