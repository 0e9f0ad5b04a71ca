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
        let (tokenizer, problem) = try Self.tokenizer(checkpoint, tokenizerPath)
        try self.init(
            checkpoint, tokenizer: tokenizer, vocabularyProblem: problem, precision: precision,
            workers: workers)
    }

    /// The vocabulary; or nil, and why the one that was found cannot be used. One that the
    /// caller names is refused instead.
    private static func tokenizer(
        _ checkpoint: Checkpoint, _ path: Path?
    ) throws -> (tokenizer: (any Tokenizer)?, problem: String?) {
        if let path {
            let bytes = try Files.read(path, limit: largestVocabulary)
            return (try bytes.withBytes { try tokenizer($0, "\(path)", checkpoint) }, nil)
        }
        do {
            switch checkpoint.vocabulary {
            case .file(let name, let file):
                let made = try withExtendedLifetime(file) {
                    try Self.tokenizer(file.bytes, name, checkpoint)
                }
                return (made, nil)
            case .bytes:
                return (try ByteTokenizer(settings: checkpoint.tokenizerSettings()), nil)
            case .unsupported(let problem): return (nil, problem)
            case nil: return (nil, nil)
            }
        } catch let failure as Failure where failure.status == UNSAY_E_UNSUPPORTED {
            return (nil, failure.sentence)
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
        let settings = try checkpoint.tokenizerSettings()
        let first = bytes.first { !" \n\r\t".utf8.contains($0) }
        if first == UInt8(ascii: "{") {
            return try FastTokenizer(json: bytes, named: name, settings: settings)
        }
        return try SentencePieceTokenizer(model: bytes, named: name, settings: settings)
    }
}

/// 1 GB: the vocabularies of T5 have less than 20 MB.
private let largestVocabulary = 1 << 30
