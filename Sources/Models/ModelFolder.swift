import COnnx
import CUnsay
import Support

/// The files of one model, in a folder or in memory: which there are, and where.
struct ModelFolder {
    private enum Storage {
        case folder(root: Directory, weights: Directory, path: Path?)
        case memory([Path: OnnxFile])
    }

    /// For messages: the folder's path, or "the given buffers".
    let name: String
    /// "onnx/" where the .onnx files lie one level down, else "".
    let weightsPrefix: Path
    /// The .onnx files to open, without prefix.
    let modelNames: [Path]
    private let storage: Storage
    private let links: onnx_links

    /// Endings of files that hold weights: a save does not copy what would be stale.
    private static let weightEndings = [
        ".onnx", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".gguf",
        ".tflite", ".data",
    ]

    /// - Parameter variant: as `FileChoice` takes it.
    init(folder path: Path, variant: String?, allowLinks: Bool) throws {
        let root: Directory
        do {
            root = try Directory(path)
        } catch let failure as Failure {
            throw MissingModel.failure(path, failure)
        }
        let inner = root.subfolder("onnx")
        var found: (weights: Directory, prefix: Path, names: [Path])?
        for (directory, prefix) in [(Optional(root), Path("")), (inner, "onnx/")]
        where found == nil {
            guard let directory else { continue }
            // A link that leads nowhere is chosen like a file, and then refused by its name:
            // another one in its place would be another model.
            let names = try Self.choice(
                of: directory.entries(), variant: variant, in: "\(directory.path)")
            if names.contains(where: { directory.entry($0) != .folder }) {
                found = (directory, prefix, names)
            }
        }
        guard let found else { throw try MissingModel.failure(in: root) }
        name = "\(path)"
        storage = .folder(root: root, weights: found.weights, path: Directory.resolved(path))
        weightsPrefix = found.prefix
        modelNames = found.names
        links = allowLinks ? ONNX_LINKS_ANY : ONNX_LINKS_BLOBS
    }

    init(buffers: [(name: String, bytes: UnsafeRawBufferPointer)], variant: String?) throws {
        var files: [Path: OnnxFile] = [:]
        for buffer in buffers {
            guard files[Path(buffer.name)] == nil else {
                throw Failure(UNSAY_E_ARGUMENT, "two buffers are named \"\(buffer.name)\"")
            }
            files[Path(buffer.name)] = try OnnxFile(copying: buffer.bytes, name: buffer.name)
        }
        var prefix = Path("")
        let name = "the given buffers"
        var names = try Self.choice(
            of: files.keys.filter { $0.parts.count == 1 }, variant: variant, in: name)
        if names.isEmpty {
            prefix = "onnx/"
            let inner = files.keys.filter { $0.hasPrefix("onnx/") && $0.parts.count == 2 }
            names = try Self.choice(of: inner.map(\.name), variant: variant, in: name)
        }
        guard !names.isEmpty else {
            throw Failure(UNSAY_E_NOT_FOUND, "\(name) hold no model: \(MissingModel.lookedFor)")
        }
        self.name = name
        storage = .memory(files)
        weightsPrefix = prefix
        modelNames = names
        links = ONNX_LINKS_NONE
    }

    /// The files to open among those of a folder.
    private static func choice(
        of names: [Path], variant: String?, in place: String
    ) throws -> [Path] {
        let models = names.filter { $0.hasSuffix(".onnx") }.sorted()
        let byText = Dictionary(models.map { ($0.description, $0) }) { first, _ in first }
        return try FileChoice(Array(byText.keys)).names(variant: variant, in: place)
            .compactMap { byText[$0] }
    }

    /// Whether `path` leads to the folder that was opened, or to what has taken its place since.
    func isSource(_ path: Path) -> Bool {
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
            return try OnnxModel(path: name, file: file, external: openExternal)
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
                    place.file == model.path || tensor.bytes.isEmpty
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

    private func openExternal(_ location: Path) throws -> OnnxFile {
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
    ///
    /// - Throws: if there is something of that name that is no file, or cannot be opened.
    func sideFile(_ name: Path) throws -> OnnxFile? {
        switch storage {
        case .memory(let files):
            return files[weightsPrefix + name] ?? files[name]
        case .folder(let root, let weights, _):
            for directory in [weights, root] where directory.holds(name) {
                return try Self.file(name, in: directory)
            }
            return nil
        }
    }

    private static func file(_ name: Path, in directory: Directory) throws -> OnnxFile {
        try OnnxFile(folder: directory.descriptor, name: name, links: ONNX_LINKS_ANY)
    }

    /// Everything a save copies: the files that hold no weights, by their path. One that cannot
    /// be opened makes a save fail, not the opening.
    func sideFiles() throws -> [(path: Path, file: Result<OnnxFile, any Error>)] {
        func isCopied(_ path: Path) -> Bool {
            let name = path.description.lowercased()
            return !Self.weightEndings.contains { name.hasSuffix($0) }
                && !name.contains(".onnx_data")
        }
        switch storage {
        case .memory(let files):
            return files.filter { isCopied($0.key) }.sorted { $0.key < $1.key }
                .map { ($0.key, .success($0.value)) }
        case .folder(let root, let weights, _):
            let inner = weightsPrefix.bytes.isEmpty ? [] : [(weightsPrefix, weights)]
            return try ([(Path(""), root)] + inner).flatMap { prefix, directory in
                let names = try directory.entries().filter {
                    isCopied($0) && directory.isRegularFile($0)
                }
                return names.map { name in
                    (prefix + name, Result { try Self.file(name, in: directory) })
                }
            }
        }
    }
}
