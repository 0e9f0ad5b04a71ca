import CSupport
import CUnsay
import Support

/// A SentencePiece model file as read: `ModelProto` of sentencepiece_model.proto, the fields
/// that encoding and decoding need.
///
/// The file is read here and not by libsentencepiece, whose shared library carries an old
/// protobuf under the very symbol names of the one that libonnx needs: a process that loads
/// both ends at start.
struct SentencePieceModel {
    enum Kind: UInt64 {
        case normal = 1, unknown, control, userDefined, unused, byte
    }

    struct Piece {
        var text: [UInt8] = []
        var score: Float = 0
        var kind = Kind.normal
    }

    var pieces: [Piece] = []
    /// 1 is unigram, the one kind of model that T5 has.
    var modelType: UInt64 = 1
    var hasByteFallback = false
    var treatsWhitespaceAsSuffix = false
    /// How the unknown piece is decoded where it is no special token.
    var unknownSurface = Array(" \u{2047} ".utf8)
    /// The rules that replace characters, compiled; empty for none.
    var characterMap: [UInt8] = []
    var addsDummyPrefix = true
    var removesExtraWhitespaces = true
    var escapesWhitespaces = true
    var hasDenormalizer = false

    /// - Throws: `UNSAY_E_FORMAT` if the bytes are no SentencePiece model, or a damaged one;
    ///   `UNSAY_E_UNSUPPORTED` for a kind that no T5 has.
    init(parsing bytes: UnsafeRawBufferPointer, named name: String) throws {
        var reader = WireReader(bytes, named: name)
        while let field = try reader.next() {
            try Memory.require(0, bytes: 0, for: "the pieces of \(name)")
            switch (field.number, field.value) {
            case (1, .bytes(let piece)): pieces.append(try Self.piece(piece, named: name))
            case (2, .bytes(let trainer)): try readTrainer(trainer, named: name)
            case (3, .bytes(let normalizer)): try readNormalizer(normalizer, named: name)
            case (5, .bytes(let denormalizer)):
                hasDenormalizer = try Self.hasRules(denormalizer, named: name)
            default: break
            }
        }
        try check(named: name)
    }

    private static func piece(_ bytes: UnsafeRawBufferPointer, named name: String) throws -> Piece {
        var piece = Piece()
        var reader = WireReader(bytes, named: name)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let text)): piece.text = Array(text)
            case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
            case (3, .varint(let kind)): piece.kind = Kind(rawValue: kind) ?? .normal
            default: break
            }
        }
        return piece
    }

    private mutating func readTrainer(_ bytes: UnsafeRawBufferPointer, named name: String) throws {
        var reader = WireReader(bytes, named: name)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (3, .varint(let value)): modelType = value
            case (24, .varint(let value)): treatsWhitespaceAsSuffix = value != 0
            case (35, .varint(let value)): hasByteFallback = value != 0
            case (44, .bytes(let surface)): unknownSurface = Array(surface)
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ bytes: UnsafeRawBufferPointer, named name: String) throws
    {
        var reader = WireReader(bytes, named: name)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (2, .bytes(let map)): characterMap = Array(map)
            case (3, .varint(let value)): addsDummyPrefix = value != 0
            case (4, .varint(let value)): removesExtraWhitespaces = value != 0
            case (5, .varint(let value)): escapesWhitespaces = value != 0
            default: break
            }
        }
    }

    private static func hasRules(_ bytes: UnsafeRawBufferPointer, named name: String) throws -> Bool
    {
        var reader = WireReader(bytes, named: name)
        while let field = try reader.next() {
            if field.number == 2, case .bytes(let map) = field.value, !map.isEmpty { return true }
        }
        return false
    }

    private func check(named name: String) throws {
        func damaged(_ found: String) -> Failure {
            Failure(UNSAY_E_FORMAT, "\(name): expected a SentencePiece model, found \(found)")
        }
        guard !pieces.isEmpty else { throw damaged("no pieces") }
        guard pieces.filter({ $0.kind == .unknown }).count == 1 else {
            throw damaged("\(pieces.filter { $0.kind == .unknown }.count) unknown pieces, not 1")
        }
        for (id, piece) in pieces.enumerated() {
            guard !piece.text.isEmpty else { throw damaged("piece \(id) empty") }
            let valid = piece.text.withUnsafeBytes { support_utf8_prefix($0.baseAddress, $0.count) }
            guard valid == piece.text.count else { throw damaged("piece \(id) not UTF-8") }
            guard piece.score.isFinite else {
                throw damaged("piece \(id) with the score \(piece.score)")
            }
        }
        guard modelType == 1 else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(name): a SentencePiece model of type \(modelType); expected 1, unigram")
        }
        guard !treatsWhitespaceAsSuffix, !hasDenormalizer else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(name): a SentencePiece model with whitespace as suffix or a denormalizer")
        }
    }
}
