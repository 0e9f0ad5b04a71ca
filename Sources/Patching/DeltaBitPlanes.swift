import CUnsay
import Support

/// Packs differences of floats: XOR, the four bytes of each value apart, then zstd.
///
/// Small changes leave sign and exponent alone, so the planes of high bytes are nearly zero.
enum BitPlanes {
    /// Packs `old` XOR `new`, two blocks of as many floats.
    static func pack(_ old: Bytes, _ new: Bytes, purpose: String) throws -> Bytes {
        let planes = try Bytes(capacity: old.count, purpose: purpose) { out in
            old.withBytes { old in
                new.withBytes { new in
                    let old = old.bindMemory(to: UInt32.self), new = new.bindMemory(to: UInt32.self)
                    for index in old.indices {
                        let bits = old[index] ^ new[index]
                        for plane in 0..<4 {
                            out[plane * old.count + index] = UInt8(
                                truncatingIfNeeded: bits >> UInt32(24 - 8 * plane))
                        }
                    }
                }
            }
            return old.count
        }
        return try planes.withBytes { try Zstandard.compress($0) }
    }

    /// XORs what was packed onto `values`, a block of floats.
    ///
    /// - Throws: `UNSAY_E_FORMAT` if it is damaged or of another size, `UNSAY_E_MEMORY`:
    ///   `values` are then untouched.
    static func unpack(
        _ packed: UnsafeRawBufferPointer, onto values: UnsafeMutableRawBufferPointer,
        named name: String
    ) throws {
        let planes = try Bytes(capacity: values.count, purpose: name) { out in
            try Zstandard.decompress(packed, into: out, named: name)
            return out.count
        }
        planes.withBytes { planes in
            let values = values.bindMemory(to: UInt32.self)
            for index in values.indices {
                var bits: UInt32 = 0
                for plane in 0..<4 {
                    bits = bits << 8 | UInt32(planes[plane * values.count + index])
                }
                values[index] ^= bits
            }
        }
    }
}
