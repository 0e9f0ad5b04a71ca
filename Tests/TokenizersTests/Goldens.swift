import Support
import Tokenizers

/// The repository's root, from this file's place in it.
private let root = "\(Path(#filePath).folder.folder.folder)"

/// What transformers' tokenizers gave: made by Tests/Goldens/make_tokens.py.
struct Case: Sendable {
    let text: String
    let ids: [Int32]
    let decoded: String

    init(_ json: JSON) {
        text = json["text"]?.string ?? ""
        ids = (json["ids"]?.array ?? []).map { Int32($0.int ?? -1) }
        decoded = json["decoded"]?.string ?? ""
    }
}

enum Goldens {
    static func cases(_ name: String) throws -> [Case] {
        let file = try Files.read("\(root)/Tests/TokenizersTests/tokens.json", limit: 1 << 24)
        let json = try file.withBytes { try JSON(parsing: $0, named: "tokens.json") }
        return (json[name]?.array ?? []).map(Case.init)
    }

    static func modelFile() throws -> [UInt8] {
        try Files.read("\(root)/models/debsum/spiece.model", limit: 1 << 24).withBytes(Array.init)
    }

    /// The model with `tail`, more fields in protobuf's encoding, after its own.
    static func tokenizer(
        tail: [UInt8] = [], extraIDs: Int = 100, legacy: Bool = true
    ) throws -> SentencePieceTokenizer {
        try (modelFile() + tail).withUnsafeBytes {
            try SentencePieceTokenizer(
                model: $0, named: "spiece.model",
                settings: TokenizerSettings(extraIDs: extraIDs, isLegacy: legacy))
        }
    }

    /// A piece of a model file with a score of 0.
    static func piece(_ text: String, kind: UInt8) -> [UInt8] {
        let text = Array(text.utf8)
        var body: [UInt8] = [0x0A, UInt8(text.count)]
        body += text
        body += [0x15, 0, 0, 0, 0, 0x18, kind]
        return [0x0A, UInt8(body.count)] + body
    }

    /// The 256 byte pieces and the switch that makes use of them.
    static var byteFallback: [UInt8] {
        let digits = Array("0123456789ABCDEF")
        let pieces = (0..<256).flatMap {
            piece("<0x\(digits[$0 / 16])\(digits[$0 % 16])>", kind: 6)
        }
        return pieces + [0x12, 0x03, 0x98, 0x02, 0x01]
    }

    /// Three pieces that always stay whole, and two that are never used.
    static var userDefined: [UInt8] {
        ["the pack", "\u{FB01}", "  "].flatMap { piece($0, kind: 4) }
            + ["zzzq", "aaaaaaa"].flatMap { piece($0, kind: 5) }
    }
}

func ids(_ tokens: [Token]) -> [Int32] { tokens.map(\.id) }

func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
