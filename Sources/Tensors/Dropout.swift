import CKernels

/// Dropout whose choices depend on a key and on where a value stands, on nothing else.
package struct Dropout: Sendable {
    /// The share of values that become 0; below 1.
    package let rate: Float
    /// Of each sequence of a batch.
    package let keys: [UInt64]

    package init(rate: Float, keys: [UInt64]) {
        self.rate = rate
        self.keys = keys
    }

    /// The same for another place in the network: other values are chosen there.
    package func at(_ place: UInt64) -> Dropout {
        Dropout(rate: rate, keys: keys.map { mixed($0, place) })
    }

    func kernel(sequence: Int, head: Int = 0) -> kernel_dropout {
        kernel_dropout(
            key: mixed(keys[sequence], UInt64(head)),
            // checked: a rate is in 0..<1
            threshold: UInt32(min(Double(rate) * 4_294_967_296, 4_294_967_295)),
            factor: 1 / (1 - rate))
    }
}

/// A key made of two: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
package func mixed(_ key: UInt64, _ other: UInt64) -> UInt64 {
    var z = key &+ (other &+ 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}

/// x = dropout(x), and as much its backward pass. x: `[rows, width]`, the rows of `sequences`.
package func drop(_ x: Rows, _ sequences: Ragged, _ dropout: Dropout, workers: Workers) {
    assert(sequences.count == dropout.keys.count && sequences.total == x.count)
    let kernels = dropout.keys.indices.map { dropout.kernel(sequence: $0) }
    workers.split(x.count, smallest: rowsPerChunk(width: 4 * x.width)) { rows in
        for row in rows {
            let sequence = sequences.sequence(of: row)
            var kernel = kernels[sequence]
            let first = (row - sequences.offsets[sequence]) * x.width
            kernel_drop(&kernel, UInt64(first), x.width, x.base + row * x.stride)
        }
    }
}
