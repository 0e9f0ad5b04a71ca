import CUnsay
import Support

/// Says why there is no model to open, and how one is made of what there is.
enum MissingModel {
    static let lookedFor =
        "looked for encoder_model.onnx with decoder_model_merged.onnx or decoder_model.onnx, for "
        + "model.onnx, and for any .onnx file, there and in onnx/"

    /// The command that exports a checkpoint of transformers.
    ///
    /// - Parameter model: its folder, or its name on the Hugging Face hub.
    private static func export(_ model: String) -> String {
        "\"optimum-cli export onnx --model \(model) --task text2text-generation-with-past OUT\", "
            + "then open OUT"
    }

    // MARK: No folder

    /// Of a path that could not be opened as a folder: a name of the hub, or a file.
    static func failure(_ path: Path, _ failure: Failure) -> Failure {
        if failure.status == UNSAY_E_NOT_FOUND, isHubName(path) {
            return Failure(
                UNSAY_E_NOT_FOUND,
                "\(failure.sentence); if \(path) is a model of the Hugging Face hub, export it with "
                    + export("\(path)"))
        }
        let folder = try? Directory(path.folder)
        guard let folder, folder.entry(path.name) == .file else { return failure }
        return Failure(
            failure.status,
            "\(path) is a file: expected a folder with .onnx files"
                + (path.hasSuffix(".onnx") ? ", such as \(path.folder)" : ""))
    }

    /// True for `t5-small` and `google/flan-t5-small`, not for what can only be a path.
    private static func isHubName(_ path: Path) -> Bool {
        let parts = path.parts
        let allowed = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.".utf8)
        return (1...2).contains(parts.count) && path.bytes.first != UInt8(ascii: "/")
            && parts.allSatisfy {
                $0.bytes.allSatisfy(allowed.contains) && $0.bytes.first != UInt8(ascii: ".")
            }
    }

    // MARK: No .onnx files

    /// Files of weights that are no ONNX, and what they are.
    private static let formats = [
        (".safetensors", "safetensors"), (".bin", "PyTorch"), (".pt", "PyTorch"),
        (".pth", "PyTorch"), (".ckpt", "PyTorch"), (".gguf", "GGUF"), (".h5", "TensorFlow"),
        (".index", "TensorFlow"), (".msgpack", "Flax"), (".ot", "Rust"),
        (".tflite", "TensorFlow Lite"),
    ]

    /// Of a folder that has no .onnx files, there or in onnx/.
    static func failure(in root: Directory) throws -> Failure {
        let entries = try root.entries()
        if let folder = entries.first(where: { $0.hasSuffix(".onnx") }) {
            return Failure(
                UNSAY_E_FORMAT,
                "\(root.path) holds no model: \(folder) is a folder, expected a file")
        }
        let found = formats.lazy.compactMap { ending, format in
            entries.first {
                $0.hasSuffix(ending) && root.entry($0) != .folder && $0 != "training_args.bin"
            }
            .map { (name: $0, format: format) }
        }.first
        let nothing = "\(root.path) holds no model: "
        if let found {
            return Failure(
                UNSAY_E_NOT_FOUND,
                nothing + "\(found.name) is \(found.format), and there are no .onnx files; "
                    + advice(found.format, root))
        }
        if let inner = try folderWithModel(root, Path(""), depth: 0) {
            return Failure(
                UNSAY_E_NOT_FOUND,
                nothing + "the .onnx files lie in \(root.path.appending(inner)), open that")
        }
        return Failure(
            UNSAY_E_NOT_FOUND,
            nothing + "\(lookedFor); a checkpoint of transformers is exported with "
                + export("\(root.path)"))
    }

    private static func advice(_ format: String, _ root: Directory) -> String {
        switch format {
        case "safetensors", "PyTorch": "export it with " + export("\(root.path)")
        case "TensorFlow", "Flax":
            "save it from transformers as PyTorch (from_tf=True or from_flax=True), then export "
                + "it with " + export("FOLDER")
        default: "export the checkpoint that it was made from with " + export("FOLDER")
        }
    }

    /// A folder beneath this one that has .onnx files, such as a snapshot in a model cache.
    private static func folderWithModel(
        _ folder: Directory, _ path: Path, depth: Int
    ) throws -> Path? {
        // A cache has models--x/snapshots/<revision>/onnx; folders of many files are no models'.
        let (deepest, most) = (3, 1000)
        let entries = try folder.entries()
        guard depth < deepest, entries.count <= most else { return nil }
        for name in entries where folder.entry(name) == .folder {
            guard let inner = folder.subfolder(name, followsLinks: false) else { continue }
            let place = path.appending(name)
            if try inner.entries().contains(where: { $0.hasSuffix(".onnx") }) {
                return name == "onnx" ? path : place
            }
            if let found = try folderWithModel(inner, place, depth: depth + 1) { return found }
        }
        return nil
    }
}
