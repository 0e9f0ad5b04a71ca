import CUnsay
import Support

/// The spellings of a vocabulary, one after the other in one block, each with a final NUL.
final class PieceTable: Sendable {
    private let block: Bytes
    /// Where each spelling begins; one more than there are pieces.
    private let offsets: [Int]

    var count: Int { offsets.count - 1 }

    init(_ pieces: [[UInt8]]) throws {
        var offsets = [0]
        offsets.reserveCapacity(pieces.count + 1)
        var size = 0
        for piece in pieces {
            size += piece.count + 1
            offsets.append(size)
        }
        self.offsets = offsets
        block = try Bytes(capacity: size, purpose: "the vocabulary") { out in
            for (piece, offset) in zip(pieces, offsets) {
                for (index, byte) in piece.enumerated() { out[offset + index] = byte }
                out[offset + piece.count] = 0
            }
            return size
        }
    }

    /// Borrowed from the table; nil if there is no such id.
    subscript(_ id: Int32) -> UnsafePointer<CChar>? {
        guard let bytes = bytes(of: id) else { return nil }
        return bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
    }

    /// The spelling without its NUL. Borrowed from the table; nil if there is no such id.
    func bytes(of id: Int32) -> UnsafeRawBufferPointer? {
        guard id >= 0, Int(id) < count else { return nil }
        let range = offsets[Int(id)]..<(offsets[Int(id) + 1] - 1)
        return UnsafeRawBufferPointer(rebasing: block.buffer[range])
    }
}
