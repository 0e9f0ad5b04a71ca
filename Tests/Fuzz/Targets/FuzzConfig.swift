import Models
import Support

/// Files of the repository that a target needs a whole model of.
let tinyModel = readFolder("Models/tiny-v10")

func readFolder(_ path: String) -> [String: [UInt8]] {
    let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        .joined(separator: "/")
    var files: [String: [UInt8]] = [:]
    for name in [
        "encoder_model.onnx", "decoder_model_merged.onnx", "config.json", "generation_config.json",
        "spiece.model", "tokenizer_config.json",
    ] {
        do {
            let bytes = try Files.read("\(tests)/\(path)/\(name)", limit: 1 << 24)
            files[name] = bytes.withBytes(Array.init)
        } catch {}
    }
    return files
}

/// Opens files from memory.
func opened(_ files: [String: [UInt8]]) throws -> Checkpoint {
    let buffers = files.map { name, content in
        let copy = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(content.count, 1), alignment: 1)
        copy.copyBytes(from: content)
        return (name: name, bytes: UnsafeRawBufferPointer(rebasing: copy[..<content.count]), copy)
    }
    defer { for buffer in buffers { buffer.2.deallocate() } }
    return try Checkpoint.open(buffers: buffers.map { ($0.name, $0.bytes) })
}

extension FuzzTarget {
    static func open(configuration bytes: UnsafeRawBufferPointer) throws {
        let names = ["config.json", "generation_config.json", "tokenizer_config.json"]
        let parts = bytes.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        var files = tinyModel
        for (name, part) in zip(names, parts) { files[name] = Array(part) }
        if let last = parts.last, parts.count == names.count {
            tokenize(tokenizerConfig: UnsafeRawBufferPointer(rebasing: last))
        }
        try use(opened(files))
    }
}
