import CUnsay
import Decoding
import Glibc
import Models
import Patching
import Support
import T5
import Tensors

/// A folder as one string of bytes: for each file one byte that chooses its name, three with
/// its length, the lowest first, and its content. A length beyond the end means the rest.
package struct PackedFolder {
    /// The names that the first byte chooses, modulo their number.
    package static let names = [
        "encoder_model.onnx", "decoder_model.onnx", "decoder_model_merged.onnx",
        "decoder_with_past_model.onnx", "model.onnx", "config.json", "generation_config.json",
        "onnx/model.onnx", "encoder_model_quantized.onnx", "data",
    ]

    package private(set) var files: [(name: String, bytes: UnsafeRawBufferPointer)] = []

    package init(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while rest.count >= 4 {
            let head = Array(rest.prefix(4)).map(Int.init)
            rest = rest.dropFirst(4)
            let content = rest.prefix(head[1] | head[2] << 8 | head[3] << 16)
            rest = rest.dropFirst(content.count)
            let name = Self.names[head[0] % Self.names.count]
            if !files.contains(where: { $0.name == name }) {
                files.append((name, UnsafeRawBufferPointer(rebasing: content)))
            }
        }
    }
}

/// External data that any tensor may point to: one number again and again, so that copies of
/// a weight agree, transposed or not.
private let weights = [Float](repeating: 0.125, count: 1 << 18)

/// Models above this open, but nothing is computed on them: it would only take time.
private let mostParameters = 300_000

extension FuzzTarget {
    static func open(folder bytes: UnsafeRawBufferPointer) throws {
        let folder = PackedFolder(bytes)
        try weights.withUnsafeBytes { weights in
            let checkpoint = try Checkpoint.open(
                buffers: folder.files + [(name: "weights", bytes: weights)])
            try use(checkpoint)
        }
    }

    static func use(_ checkpoint: Checkpoint) throws {
        let count = checkpoint.layout.parameterCount
        guard count < mostParameters else { return }
        let model = try Model(checkpoint, tokenizerPath: nil, workers: Workers(threads: 1))
        _ = try model.fingerprint()
        let ids = [1, 2].map { Int32(min($0, checkpoint.configuration.vocabSize - 1)) }
        var states = [Float](repeating: 0, count: ids.count * checkpoint.configuration.dModel)
        try encoderStates(model, ids, into: &states)
        guard checkpoint.hasDecoder else { return }
        let defaults = GenerationDefaults(model)
        var options = defaults.options
        options.maxNewTokens = 2
        options.numBeams = min(options.numBeams, 4)
        options.numReturnSequences = 1
        try options.validate(for: model, defaults, inputs: 1)
        _ = try generate(model, [ids], options)
        try save(checkpoint)
    }

    /// Writes the checkpoint with every weight changed, in memory if the system has such a
    /// folder, and opens it again.
    private static func save(_ checkpoint: Checkpoint) throws {
        let place = "/dev/shm/unsay-fuzz-\(getpid())"
        mkdir(place, 0o700)
        defer { rmdir(place) }
        try saveCheckpoint(checkpoint, to: "\(place)/saved") { index, values in
            try checkpoint.read(index, into: values)
            for i in values.indices { values[i] += 0.5 }
        }
        defer { removeFolder("\(place)/saved") }
        _ = try Checkpoint.open(folder: "\(place)/saved", allowLinks: false)
    }

    private static func removeFolder(_ path: String) {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name != ".", name != ".." else { continue }
            if unlink("\(path)/\(name)") != 0 { removeFolder("\(path)/\(name)") }
        }
        closedir(folder)
        rmdir(path)
    }
}
