import CUnsay
import Support
import T5
import Tensors
import Tokenizers

/// How a model's text is cut into tokens: the vocabulary found beside its weights.
enum Vocabulary {
    /// A spiece.model or a tokenizer.json.
    case file(name: String, OnnxFile)
    /// ByT5: ids are bytes, and there is no file.
    case bytes
    /// A vocabulary of another kind than T5's, and what it is.
    case unsupported(String)
}

/// An opened model: the weights of a T5 where they lie in its ONNX files.
///
/// Files stay mapped for as long as the checkpoint lives, so reading and saving work even
/// after the folder was removed; they must not be truncated by others meanwhile. Nothing
/// changes after opening: any threads may use a checkpoint at once.
package final class Checkpoint: @unchecked Sendable {
    package let configuration: T5Configuration
    package let layout: ParameterLayout
    /// nil if there is no vocabulary beside the weights.
    let vocabulary: Vocabulary?
    package let hasDecoder: Bool
    package let generation: GenerationConfiguration

    let folder: ModelFolder
    let models: [OnnxModel]
    /// The files that hold no weights; a failure if one could not be opened.
    let sideFiles: [(path: Path, file: Result<OnnxFile, any Error>)]
    /// By parameter: every place where it is stored, the best copy first.
    let sites: [[Findings.Site]]

    /// Opens a folder of ONNX files and checks every weight.
    ///
    /// - Parameter variant: the ending of the files' names to take, e.g. "fp16"; nil: the most
    ///   precise one that is complete.
    /// - Parameter allowLinks: whether files of external data may be links to anywhere; without
    ///   it, to the `blobs` of the model cache that the folder lies in.
    /// - Throws: `UNSAY_E_NOT_FOUND` for missing files; `UNSAY_E_FORMAT` for torn files, weights
    ///   that are missing, disagree between copies, are not finite or contradict config.json;
    ///   `UNSAY_E_UNSUPPORTED` for graphs that are no T5; `UNSAY_E_IO`; `UNSAY_E_MEMORY`.
    package static func open(
        folder: some PathConvertible, variant: String? = nil, allowLinks: Bool,
        workers: Workers = Workers(threads: 0)
    ) throws -> Checkpoint {
        try Checkpoint(
            ModelFolder(folder: folder.path, variant: variant, allowLinks: allowLinks), workers)
    }

    /// Opens the same files from memory. The bytes are copied.
    package static func open(
        buffers: [(name: String, bytes: UnsafeRawBufferPointer)], variant: String? = nil,
        workers: Workers = Workers(threads: 0)
    ) throws -> Checkpoint {
        try Checkpoint(ModelFolder(buffers: buffers, variant: variant), workers)
    }

    private init(_ folder: ModelFolder, _ workers: Workers) throws {
        let reader = BlockReader(workers: workers)
        func json(_ name: String) throws -> JSON? {
            guard let file = try folder.sideFile(Path(name)) else { return nil }
            try MistakenFile.refuse(file.bytes, named: name, expecting: .json)
            let json = try JSON(parsingPython: file.bytes, named: name)
            guard json.object != nil else {
                throw Failure(UNSAY_E_FORMAT, "\(name): expected a JSON object")
            }
            return json
        }
        let config = try json("config.json")
        let generation = try json("generation_config.json")
        models = try folder.openModels()
        var findings = Findings()
        let sizes = GraphProbe.Sizes(config)
        for model in models { try findings.merge(try Self.read(model, sizes)) }
        let head = HeadReader(config: config, reader: reader)
        try head.settle(&findings)
        configuration = try ConfigurationReader(
            config: config, generation: generation, findings: findings
        ).read()
        hasDecoder = configuration.numDecoderLayers > 0
        guard hasDecoder || !Self.wantsDecoder(config) else {
            throw Failure(
                UNSAY_E_NOT_FOUND,
                "\(folder.name) has no decoder: looked for decoder_model_merged.onnx and "
                    + "decoder_model.onnx beside "
                    + folder.modelNames.map(\.description).joined(separator: ", "))
        }
        layout = ParameterLayout(configuration)
        sites = try SiteChecker(layout: layout, hasConfig: config != nil, reader: reader)
            .check(findings)
        vocabulary = try Self.findVocabulary(in: folder, config, json("tokenizer_config.json"))
        self.generation = GenerationConfiguration(config: config, generation: generation)
        sideFiles = try folder.sideFiles()
        self.folder = folder
    }

    /// The .onnx files that were opened, by their path in the folder.
    package var files: [Path] { models.map { folder.weightsPrefix + $0.path } }

    /// Overwrites `values` with a parameter in float32, `[out, in]` row-major.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` if there is no such parameter or the count is not its own.
    package func read(
        _ parameter: Int, into values: UnsafeMutableBufferPointer<Float>
    ) throws {
        guard sites.indices.contains(parameter),
            values.count == layout.parameters[parameter].count,
            let site = sites[parameter].first
        else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "parameter \(parameter) cannot be read into \(values.count) floats")
        }
        try site.constant.read(into: values)
    }

    private static func read(_ model: OnnxModel, _ sizes: GraphProbe.Sizes) throws -> Findings {
        let graphs = Graph.all(of: model)
        if graphs.allSatisfy(\.isContainer) { return ContainerReader.read(graphs) }
        var findings = try GraphReader.read(graphs, sizes)
        for node in graphs.lazy.flatMap(\.nodes) where node.int("decoder_start_token_id") != nil {
            findings.facts.decoderStartTokenID = node.int("decoder_start_token_id")
            findings.facts.eosTokenID = node.int("eos_token_id")
            findings.facts.padTokenID = node.int("pad_token_id")
        }
        return findings
    }

    private static func wantsDecoder(_ config: JSON?) -> Bool {
        guard let config else { return false }
        let architectures = config["architectures"]?.array?.compactMap(\.string) ?? []
        if architectures.contains(where: { $0.hasSuffix("EncoderModel") }) { return false }
        return config["is_encoder_decoder"]?.bool ?? true
    }

    /// spiece.model comes first, as T5 was trained with it, but where transformers had no
    /// tokenizer but tokenizer.json when it wrote the folder.
    private static func findVocabulary(
        in folder: ModelFolder, _ config: JSON?, _ tokenizer: JSON?
    ) throws -> Vocabulary? {
        let name = (tokenizer?["tokenizer_class"] ?? config?["tokenizer_class"])?.string
        if name?.hasPrefix("ByT5") == true { return .bytes }
        let isFast =
            tokenizer?["backend"]?.string == "tokenizers"
            || ["PreTrainedTokenizerFast", "TokenizersBackend"].contains(name)
        let names = ["spiece.model", "tokenizer.json"]
        for name in isFast ? names.reversed() : names {
            if let file = try folder.sideFile(Path(name)) { return .file(name: name, file) }
        }
        for other in ["vocab.json", "merges.txt", "tokenizer.model", "vocab.txt"] {
            guard try folder.sideFile(Path(other)) != nil else { continue }
            let kind = name.map { ", the vocabulary of a \($0)" } ?? ""
            return .unsupported(
                "\(other)\(kind), is not supported; T5's spiece.model and tokenizer.json are")
        }
        return nil
    }

    /// Reads the settings of the tokens from the files beside the vocabulary.
    ///
    /// - Throws: `UNSAY_E_FORMAT` naming file and key; `UNSAY_E_MEMORY`.
    func tokenizerSettings() throws -> TokenizerSettings {
        var files: [OnnxFile] = []
        let settings = try TokenizerSettings { name in
            guard let file = try folder.sideFile(Path(name)) else { return nil }
            files.append(file)
            return file.bytes
        }
        withExtendedLifetime(files) {}
        return settings
    }
}

extension Checkpoint: StoredWeights {
    package func read(
        _ index: Int, rows: Range<Int>, into out: UnsafeMutablePointer<Float>
    ) throws {
        guard sites.indices.contains(index), let site = sites[index].first else {
            throw Failure(UNSAY_E_ARGUMENT, "there is no parameter \(index)")
        }
        try site.constant.read(rows: rows, into: out)
    }

    package func leastRows(_ index: Int) -> Int { sites[index].first?.constant.leastRows ?? 1 }

    package func floats(_ index: Int) -> PlainFloats? { sites[index].first?.constant.floats }

    package func release(_ index: Int, rows: Range<Int>?) {
        let constant = sites[index].first?.constant
        if let rows { constant?.release(rows: rows) } else { constant?.release() }
    }
}
