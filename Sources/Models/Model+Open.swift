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
        let extraIDs = { (pieces: Int) in max(checkpoint.configuration.vocabSize - pieces, 0) }
        if let path {
            return try SentencePieceTokenizer(
                model: readFile(path), named: path, extraIDs: extraIDs)
        }
        switch checkpoint.vocabulary {
        case .sentencePiece(let bytes):
            return try SentencePieceTokenizer(
                model: bytes, named: "spiece.model", extraIDs: extraIDs)
        case .bytes: return ByteTokenizer()
        case .tokenizerJSON, nil: return nil
        }
    }
}
