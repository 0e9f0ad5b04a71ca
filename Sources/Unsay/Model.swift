import Decoding
import Models
import Patching
import Support
import T5
import Tensors

/// The arithmetic of generation and scoring, and of a patch's training steps.
public enum Compute: Sendable {
    /// Everything in float32: the reference.
    case f32
    /// Weights rounded to bf16.
    case bf16
    /// Weights in int8 times a unit of their row; not for training.
    case int8

    var precision: Precision {
        switch self {
        case .f32: .float32
        case .bf16: .bf16
        case .int8: .int8
        }
    }
}

/// An opened T5 model.
///
/// Any threads and tasks may use a model at once. A call works on the weights as they were when
/// it began: a patch that is committed meanwhile is seen by the next call, whole.
public final class Model: Sendable {
    let model: Models.Model

    init(_ model: Models.Model) { self.model = model }

    /// Opens a model folder: encoder and decoder .onnx, config.json, vocabulary.
    ///
    /// Reads every weight before it returns. The files may be deleted or replaced afterwards,
    /// but not rewritten in place: ``save(_:allowsRounding:)`` still copies them.
    ///
    /// - Parameters:
    ///   - folder: the .onnx files lie in it or in its subfolder onnx.
    ///   - threads: worker threads; 0 for one a core.
    ///   - compute: the arithmetic of generation and scoring.
    ///   - allowLinks: whether files of external data may be links to anywhere; without it they
    ///     may be links into the blobs of the model cache that the folder lies in.
    ///   - tokenizerPath: a spiece.model or tokenizer.json instead of the vocabulary found.
    ///   - variant: the ending of the files' names, such as "fp16"; nil for the most precise
    ///     that is whole.
    /// - Throws: `.notFound`, `.format` naming the first tensor that is missing or of the wrong
    ///   shape, `.unsupported`, `.memory`.
    public static func open(
        _ folder: any PathSpelling, threads: Int = 0, compute: Compute = .f32,
        allowLinks: Bool = false,
        tokenizerPath: (any PathSpelling)? = nil, variant: String? = nil
    ) throws(Failure) -> Model {
        try boundary {
            Model(
                try Models.Model(
                    folder: folder.path,
                    settings(threads, compute, allowLinks, tokenizerPath, variant)))
        }
    }

    /// Opens the same folder from memory: names and contents of its files. No path is touched.
    public static func open(
        buffers: [String: [UInt8]], threads: Int = 0, compute: Compute = .f32,
        tokenizerPath: (any PathSpelling)? = nil, variant: String? = nil
    ) throws(Failure) -> Model {
        try boundary {
            let settings = settings(threads, compute, false, tokenizerPath, variant)
            return Model(try opened(buffers.sorted { $0.key < $1.key }[...], [], settings))
        }
    }

    /// Borrows the bytes of one file after the other, and opens what it has in the end.
    private static func opened(
        _ rest: ArraySlice<(key: String, value: [UInt8])>,
        _ borrowed: [(name: String, bytes: UnsafeRawBufferPointer)], _ settings: OpenSettings
    ) throws -> Models.Model {
        guard let file = rest.first else {
            return try Models.Model(buffers: borrowed, settings)
        }
        return try file.value.withUnsafeBytes {
            try opened(rest.dropFirst(), borrowed + [(file.key, $0)], settings)
        }
    }

    private static func settings(
        _ threads: Int, _ compute: Compute, _ allowLinks: Bool,
        _ tokenizerPath: (any PathSpelling)?,
        _ variant: String?
    ) -> OpenSettings {
        var settings = OpenSettings()
        settings.threads = threads
        settings.precision = compute.precision
        settings.allowLinks = allowLinks
        settings.tokenizerPath = tokenizerPath?.path
        settings.variant = variant
        return settings
    }

    /// Writes the model, as patched so far, in the layout it was opened from.
    ///
    /// Atomic: written beside `folder` and renamed into place. If `folder` exists, even as the
    /// source, it is replaced; what it held beside a model is kept.
    ///
    /// - Parameters:
    ///   - folder: where to write it.
    ///   - allowsRounding: whether to replace the folder that the model was opened from where it
    ///     stores changed weights in 16 bits that do not hold them exactly.
    /// - Throws: `.state`, and nothing is written, where that is not allowed.
    public func save(
        _ folder: any PathSpelling, allowsRounding: Bool = false
    ) throws(Failure) {
        try boundary { try model.save(to: folder.path, allowsRounding: allowsRounding) }
    }

    /// A second model on the same weights, at no cost in memory until one of them is patched.
    public func clone() throws(Failure) -> Model {
        try boundary { Model(try Models.Model(cloning: model)) }
    }

    // MARK: What it is

    /// Sizes and constants, named as in config.json.
    public var info: ModelInfo { ModelInfo(model) }

    /// The .onnx files that it was opened from, by their path in the folder.
    public var files: [String] { model.checkpoint.files.map(\.description) }

    /// SHA-256 of the weights, 32 bytes: equal if and only if the weights are, bit for bit.
    public func fingerprint() throws(Failure) -> [UInt8] {
        try boundary { try model.fingerprint() }
    }

    /// Names and shapes of all weights, in the order of the transformers state dict.
    public var tensors: [TensorInfo] {
        model.layout.parameters.map { TensorInfo(name: $0.name, shape: $0.shape) }
    }

    /// The values of one weight, row-major.
    ///
    /// - Parameter index: in ``tensors``.
    public func tensor(_ index: Int) throws(Failure) -> [Float] {
        try boundary {
            let count = try model.parameter(index).count
            return try [Float](unsafeUninitializedCapacity: count) { buffer, size in
                buffer.initialize(repeating: 0)
                size = count
                try model.read(index, into: buffer)
            }
        }
    }

    // MARK: Tokens

    /// Splits a text into ids and appends the end-of-sequence id.
    public func encode(_ text: String) throws(Failure) -> Encoding {
        try boundary {
            let tokens = try model.tokens(text, "text")
            return Encoding(ids: tokens.map(\.id), spans: tokens.map { $0.begin..<$0.end })
        }
    }

    /// Joins ids into text, skipping control ids.
    public func decode(_ ids: [Int32]) throws(Failure) -> String {
        try boundary {
            for id in ids { try model.check(id, of: "ids") }
            _ = try model.requireTokenizer()
            return try model.text(ids)
        }
    }

    /// The vocabulary's spelling of an id; nil if there is none.
    public func piece(_ id: Int32) -> String? {
        model.tokenizer?.piece(id).map { String(cString: $0) }
    }
}

/// Sizes and constants of a model, named as in config.json.
public struct ModelInfo: Sendable, Equatable {
    public let parameterCount: Int
    public let tensorCount: Int
    public let isGated: Bool
    public let tiesHead: Bool
    /// Whether the model's folder stores weights in 16 bits: saving rounds those that change.
    public let roundsWhenSaved: Bool
    public let vocabSize: Int
    public let dModel: Int
    public let dFF: Int
    public let numHeads: Int
    public let dKV: Int
    public let numLayers: Int
    /// 0 for an encoder alone.
    public let numDecoderLayers: Int
    public let relativeAttentionNumBuckets: Int
    public let relativeAttentionMaxDistance: Int
    public let padTokenID: Int32
    public let eosTokenID: Int32
    public let unkTokenID: Int32
    public let decoderStartTokenID: Int32

    init(_ model: Models.Model) {
        let c = model.configuration
        parameterCount = model.layout.parameterCount
        tensorCount = model.layout.parameters.count
        isGated = c.isGated
        tiesHead = c.tiesHead
        roundsWhenSaved = model.checkpoint.roundsChanges
        vocabSize = c.vocabSize
        dModel = c.dModel
        dFF = c.dFF
        numHeads = c.numHeads
        dKV = c.dKV
        numLayers = c.numLayers
        numDecoderLayers = c.numDecoderLayers
        relativeAttentionNumBuckets = c.relativeAttentionNumBuckets
        relativeAttentionMaxDistance = c.relativeAttentionMaxDistance
        padTokenID = model.tokenizer?.padTokenID ?? c.padTokenID
        eosTokenID = model.inputEndTokenID
        unkTokenID = model.tokenizer?.unkTokenID ?? c.unkTokenID
        decoderStartTokenID = c.decoderStartTokenID
    }
}

/// One weight of a model.
public struct TensorInfo: Sendable, Equatable {
    /// As in the transformers state dict.
    public let name: String
    public let shape: [Int]
}
