import COnnx
import CUnsay
import Support

/// The files of one model, in a folder or in memory: which there are, and where.
struct ModelFolder {
    private enum Storage {
        case folder(root: Directory, weights: Directory, path: String?)
        case memory([String: OnnxFile])
    }

    /// For messages: the folder's path, or "the given buffers".
    let name: String
    /// "onnx/" where the .onnx files lie one level down, else "".
    let weightsPrefix: String
    /// The .onnx files to open, without prefix.
    let modelNames: [String]
    private let storage: Storage
    private let links: onnx_links

    /// Endings of files that hold weights: a save does not copy what would be stale.
    private static let weightEndings = [
        ".onnx", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".gguf",
        ".tflite", ".data",
    ]

    /// - Parameter variant: as `FileChoice` takes it.
    init(folder path: String, variant: String?, allowLinks: Bool) throws {
        let root = try Directory(path)
        let inner = root.subfolder("onnx")
        var found: (weights: Directory, prefix: String, names: [String])?
        for (directory, prefix) in [(Optional(root), ""), (inner, "onnx/")] where found == nil {
            guard let directory else { continue }
            let files = FileChoice(try directory.entries().filter(directory.isRegularFile))
            let names = try files.names(variant: variant, in: directory.path)
            if !names.isEmpty { found = (directory, prefix, names) }
        }
        guard let found else { throw Self.nothing(in: path) }
        name = path
        storage = .folder(root: root, weights: found.weights, path: Directory.resolved(path))
        weightsPrefix = found.prefix
        modelNames = found.names
        links = allowLinks ? ONNX_LINKS_BLOBS : ONNX_LINKS_NONE
    }

    init(buffers: [(name: String, bytes: UnsafeRawBufferPointer)], variant: String?) throws {
        var files: [String: OnnxFile] = [:]
        for buffer in buffers {
            guard files[buffer.name] == nil else {
                throw Failure(UNSAY_E_ARGUMENT, "two buffers are named \"\(buffer.name)\"")
            }
            files[buffer.name] = try OnnxFile(copying: buffer.bytes, name: buffer.name)
        }
        var prefix = ""
        let name = "the given buffers"
        var names = try FileChoice(files.keys.filter { !$0.contains("/") })
            .names(variant: variant, in: name)
        if names.isEmpty {
            prefix = "onnx/"
            let inner = files.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(5)) }
            names = try FileChoice(inner).names(variant: variant, in: name)
        }
        guard !names.isEmpty else { throw Self.nothing(in: name) }
        self.name = name
        storage = .memory(files)
        weightsPrefix = prefix
        modelNames = names
        links = ONNX_LINKS_NONE
    }

    private static func nothing(in place: String) -> Failure {
        Failure(
            UNSAY_E_NOT_FOUND,
            "\(place) holds no model: looked for encoder_model.onnx with decoder_model_merged.onnx "
                + "or decoder_model.onnx, for model.onnx, and for any .onnx file, there and in onnx/"
        )
    }

    /// Whether `path` leads to the folder that was opened, or to what has taken its place since.
    func isSource(_ path: String) -> Bool {
        guard case .folder(let root, _, let opened) = storage,
            let target = try? Directory(path)
        else { return false }
        return root.isSame(as: target)
            || (opened != nil && Directory.resolved(path) == opened)
    }

    /// Opens every .onnx file with its external data.
    func openModels() throws -> [OnnxModel] {
        let models = try modelNames.map { name in
            let file: OnnxFile
            switch storage {
            case .folder(_, let weights, _):
                file = try OnnxFile(
                    folder: weights.descriptor, name: name, links: ONNX_LINKS_ANY)
            case .memory(let files):
                guard let known = files[weightsPrefix + name] else {
                    throw Failure(UNSAY_E_NOT_FOUND, "no buffer is named \(weightsPrefix + name)")
                }
                file = known
            }
            return try OnnxModel(name: name, file: file, external: openExternal)
        }
        try Self.requireApart(models)
        return models
    }

    private struct Stored {
        let model: String
        let tensor: StoredTensor
        let place: StoredTensor.Place
    }

    /// Tensors in a file of external data lie apart, or one where another does: otherwise a
    /// save could not write both.
    private static func requireApart(_ models: [OnnxModel]) throws {
        let stored = models.flatMap { model in
            model.tensors.compactMap { tensor in
                tensor.place.flatMap { place in
                    place.file == model.name || tensor.bytes.isEmpty
                        ? nil : Stored(model: model.name, tensor: tensor, place: place)
                }
            }
        }.sorted {
            ($0.place.file, $0.place.offset, $0.tensor.bytes.count)
                < ($1.place.file, $1.place.offset, $1.tensor.bytes.count)
        }
        for (one, next) in zip(stored, stored.dropFirst()) where one.place.file == next.place.file {
            let isSame =
                one.place == next.place && one.tensor.bytes.count == next.tensor.bytes.count
            guard isSame || one.place.offset + one.tensor.bytes.count <= next.place.offset else {
                throw Failure(
                    UNSAY_E_FORMAT,
                    "\(next.model): tensor \"\(next.tensor.name)\" shares some bytes of "
                        + "\"\(next.place.file)\" with \"\(one.tensor.name)\" of \(one.model), "
                        + "but not all")
            }
        }
    }

    private func openExternal(_ location: String) throws -> OnnxFile {
        switch storage {
        case .folder(_, let weights, _):
            return try OnnxFile(folder: weights.descriptor, name: location, links: links)
        case .memory(let files):
            guard let file = files[weightsPrefix + location] else {
                throw Failure(
                    UNSAY_E_NOT_FOUND, "no buffer is named \"\(weightsPrefix + location)\"")
            }
            return file
        }
    }

    /// A file beside the weights, or one level up where they lie in onnx/; nil if missing.
    func sideFile(_ name: String) throws -> OnnxFile? {
        switch storage {
        case .memory(let files):
            return files[weightsPrefix + name] ?? files[name]
        case .folder(let root, let weights, _):
            for directory in [weights, root] where directory.isRegularFile(name) {
                return try OnnxFile(
                    folder: directory.descriptor, name: name, links: ONNX_LINKS_ANY)
            }
            return nil
        }
    }

    /// Everything a save copies: the files that hold no weights, by their path.
    func sideFiles() throws -> [(path: String, file: OnnxFile)] {
        func isCopied(_ name: String) -> Bool {
            !Self.weightEndings.contains { name.hasSuffix($0) } && !name.contains(".onnx_data")
        }
        switch storage {
        case .memory(let files):
            return files.filter { isCopied($0.key) }.sorted { $0.key < $1.key }
                .map { ($0.key, $0.value) }
        case .folder(let root, let weights, _):
            let places =
                weightsPrefix.isEmpty ? [("", root)] : [("", root), (weightsPrefix, weights)]
            return try places.flatMap { prefix, directory in
                try directory.entries().filter { isCopied($0) && directory.isRegularFile($0) }.map {
                    (
                        prefix + $0,
                        try OnnxFile(
                            folder: directory.descriptor, name: $0, links: ONNX_LINKS_ANY)
                    )
                }
            }
        }
    }
}
