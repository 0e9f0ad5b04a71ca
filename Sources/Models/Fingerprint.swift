import CUnsay
import Support
import T5

/// Copies weight `index` of a layout into a buffer of its `count` floats, overwriting it.
package typealias WeightReader = (Int, UnsafeMutableBufferPointer<Float>) throws -> Void

/// The SHA-256 of all weights in canonical order, 32 bytes.
///
/// What is digested, for each parameter in the layout's order: its name in UTF-8, a zero byte,
/// its rank as 4 bytes, each dimension as 8 bytes, its values row by row as 4 bytes each;
/// numbers are little-endian, values are IEEE 754 bit patterns. So -0.0 differs from 0.0.
///
/// - Parameter includes: the weights that count, by name.
/// - Throws: `UNSAY_E_MEMORY`; whatever `read` throws.
package func fingerprint(
    layout: ParameterLayout, of includes: (String) -> Bool = { _ in true }, read: WeightReader
) throws -> [UInt8] {
    var digest = SHA256()
    for (index, parameter) in layout.parameters.enumerated() where includes(parameter.name) {
        let values = try weight(index, layout, read)
        let header =
            Array(parameter.name.utf8) + [0] + littleEndian(UInt32(parameter.shape.count))
            + parameter.shape.flatMap { littleEndian(UInt64($0)) }
        header.withUnsafeBytes { digest.update($0) }
        values.withBytes { digest.update($0) }
    }
    return digest.finish()
}

/// The values of one weight in a block of their own.
package func weight(_ index: Int, _ layout: ParameterLayout, _ read: WeightReader) throws -> Bytes {
    let parameter = layout.parameters[index]
    let size = parameter.count * MemoryLayout<Float>.stride
    return try Bytes(capacity: size, purpose: parameter.name) { out in
        try read(index, out.bindMemory(to: Float.self))
        return size
    }
}
