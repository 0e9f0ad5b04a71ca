import CUnsay
import Support

/// Reads the fields of one protobuf message in the order in which they stand.
struct WireReader {
    enum Value {
        case varint(UInt64)
        case fixed32(UInt32)
        case fixed64
        /// Borrowed from the bytes that are read.
        case bytes(UnsafeRawBufferPointer)
    }

    private let bytes: UnsafeRawBufferPointer
    private let name: String
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer, named name: String) {
        self.bytes = bytes
        self.name = name
    }

    /// The next field; nil at the end of the message.
    ///
    /// - Throws: `UNSAY_E_FORMAT` where the message is torn or no protobuf at all.
    mutating func next() throws -> (number: UInt64, value: Value)? {
        guard offset < bytes.count else { return nil }
        let tag = try varint()
        guard tag >> 3 > 0 else { throw damaged() }
        switch tag & 7 {
        case 0: return (tag >> 3, .varint(try varint()))
        case 1:
            _ = try take(8)
            return (tag >> 3, .fixed64)
        case 2:
            guard let size = Int(exactly: try varint()) else { throw damaged() }
            return (tag >> 3, .bytes(try take(size)))
        case 5:
            let bits = try take(4).loadUnaligned(as: UInt32.self)
            return (tag >> 3, .fixed32(UInt32(littleEndian: bits)))
        default: throw damaged()
        }
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard offset < bytes.count else { throw damaged() }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift  // checked: `<<` drops bits, it does not trap
            if byte < 0x80 { return value }
        }
        throw damaged()
    }

    private mutating func take(_ size: Int) throws -> UnsafeRawBufferPointer {
        guard size <= bytes.count - offset else { throw damaged() }
        defer { offset += size }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + size)])
    }

    private func damaged() -> Failure {
        Failure(
            UNSAY_E_FORMAT,
            "\(name): damaged: a part that is torn at byte \(offset) of \(bytes.count)")
    }
}
