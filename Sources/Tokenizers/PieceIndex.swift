import CUnsay
import Support

/// A SentencePiece model's pieces by their spelling.
struct PieceIndex {
    /// Those that text can be split into.
    private(set) var text = PieceTrie()
    /// Control, unknown and byte pieces: no text is split into them.
    private var reserved = PieceTrie()
    /// Those that normalising must leave alone; nil if there are none.
    private(set) var userDefined: PieceTrie?
    private(set) var unknownID: Int32 = 0
    /// The ids of bytes 0 to 255; empty without byte fallback.
    private(set) var byteIDs: [Int32] = []

    /// - Throws: `UNSAY_E_FORMAT` if two pieces are spelled alike or a byte is missing.
    init(_ model: SentencePieceModel, named name: String) throws {
        for (index, piece) in model.pieces.enumerated() {
            let id = Int32(index)
            let isNew: Bool
            switch piece.kind {
            case .normal, .unused: isNew = text.insert(piece.text, id: id)
            case .userDefined:
                isNew = text.insert(piece.text, id: id)
                var all = userDefined ?? PieceTrie()
                userDefined = nil
                _ = all.insert(piece.text, id: id)
                userDefined = all
            case .control, .byte: isNew = reserved.insert(piece.text, id: id)
            case .unknown:
                isNew = reserved.insert(piece.text, id: id)
                unknownID = id
            }
            guard isNew else {
                throw Failure(UNSAY_E_FORMAT, "\(name): piece \(id) is spelled like an earlier one")
            }
        }
        guard model.hasByteFallback else { return }
        for byte in 0..<256 {
            let digits = String(byte, radix: 16, uppercase: true)
            let spelling = "<0x\(digits.count < 2 ? "0" : "")\(digits)>"
            guard let id = reserved.id(of: spelling.utf8) else {
                throw Failure(
                    UNSAY_E_FORMAT,
                    "\(name): splits unknown characters into bytes but has no \(spelling)")
            }
            byteIDs.append(id)
        }
    }

    /// The id of a spelling, reserved ones first; nil if there is none.
    func id<Text: Sequence<UInt8>>(of spelling: Text) -> Int32? {
        reserved.id(of: spelling) ?? text.id(of: spelling)
    }
}
