import CUnsay
import Support
import Tensors
import Tokenizers

extension Model {
    /// A model on a checkpoint, with the vocabulary found beside its weights.
    ///
    /// - Parameter tokenizerPath: a spiece.model or tokenizer.json to use instead; nil: the one
    ///   found.
    package convenience init(
        _ checkpoint: Checkpoint, tokenizerPath: Path?, precision: Precision = .float32,
        workers: Workers
    ) throws {
        try self.init(
            checkpoint, tokenizer: Self.tokenizer(checkpoint, tokenizerPath),
            precision: precision, workers: workers)
    }

    private static func tokenizer(
        _ checkpoint: Checkpoint, _ path: Path?
    ) throws -> (any Tokenizer)? {
        if let path {
            let bytes = try Files.read(path, limit: largestVocabulary)
            return try bytes.withBytes { try tokenizer($0, "\(path)", checkpoint) }
        }
        switch checkpoint.vocabulary {
        case .file(let name, let file):
            return try withExtendedLifetime(file) { try tokenizer($0.bytes, name, checkpoint) }
        case .bytes: return try ByteTokenizer()
        case nil: return nil
        }
    }

    /// A spiece.model or a tokenizer.json, which begins with a brace.
    private static func tokenizer(
        _ bytes: UnsafeRawBufferPointer, _ name: String, _ checkpoint: Checkpoint
    ) throws -> any Tokenizer {
        // A million pieces take nine times the bytes of their file.
        try Memory.require(bytes.count, bytes: 12, for: "the vocabulary in \(name)")
        try MistakenFile.refuse(
            bytes, named: name, expecting: name.hasSuffix(".json") ? .json : .otherBinary)
        let first = bytes.first { !" \n\r\t".utf8.contains($0) }
        if first == UInt8(ascii: "{") { return try FastTokenizer(json: bytes, named: name) }
        return try SentencePieceTokenizer(
            model: bytes, named: name, extraIDs: checkpoint.tokenizerOptions.extraIDs,
            legacy: checkpoint.tokenizerOptions.legacy)
    }
}

/// 1 GB: the vocabularies of T5 have less than 20 MB.
private let largestVocabulary = 1 << 30
