import CUnsay
import Support
import Tensors
import Tokenizers

extension Model {
    /// A model on a checkpoint, with the vocabulary found beside its weights.
    ///
    /// - Parameter tokenizerPath: a spiece.model to use instead; nil: the one found.
    package convenience init(
        _ checkpoint: Checkpoint, tokenizerPath: String?, workers: Workers
    ) throws {
        try self.init(
            checkpoint, tokenizer: Self.tokenizer(checkpoint, tokenizerPath), workers: workers)
    }

    private static func tokenizer(
        _ checkpoint: Checkpoint, _ path: String?
    ) throws -> (any Tokenizer)? {
        if let path {
            let bytes = try Files.read(path, limit: largestVocabulary)
            return try bytes.withBytes { try sentencePiece($0, path, checkpoint) }
        }
        switch checkpoint.vocabulary {
        case .sentencePiece(let bytes):
            return try bytes.withUnsafeBytes { try sentencePiece($0, "spiece.model", checkpoint) }
        case .bytes: return try ByteTokenizer()
        case .tokenizerJSON, nil: return nil
        }
    }

    private static func sentencePiece(
        _ bytes: UnsafeRawBufferPointer, _ name: String, _ checkpoint: Checkpoint
    ) throws -> SentencePieceTokenizer {
        try SentencePieceTokenizer(
            model: bytes, named: name, extraIDs: checkpoint.tokenizerOptions.extraIDs,
            legacy: checkpoint.tokenizerOptions.legacy)
    }
}

/// 1 GB: the vocabularies of T5 have less than 10 MB.
private let largestVocabulary = 1 << 30
