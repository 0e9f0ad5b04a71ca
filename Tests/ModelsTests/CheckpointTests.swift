import CUnsay
import Models
import T5
import Testing

@Suite("Opening a checkpoint")
struct CheckpointTests {
    @Test(
        "every float32 export of one model gives its weights bit for bit",
        arguments: [
            ("t5v10__raw", ["t5v10__anon_nofold", "t5v10__ort_O", "t5v10__ts_whole"]),
            ("t5v11__opt", ["t5v11__dy_whole", "t5v11__opt_O3", "t5v11__opt_ext"]),
            ("mt5__raw_ext", ["mt5__oldopt"]), ("byt5__raw_const", ["byt5__opt"]),
            ("t5tiedgated__raw", ["t5tiedgated__opt"]),
        ])
    func exact(truth: String, others: [String]) throws {
        let expected = try open(folder("Fixtures/\(truth)"))
        for other in others {
            let found = try open(folder("Fixtures/\(other)"))
            #expect(found.layout == expected.layout, "\(other)")
            for (index, parameter) in expected.layout.parameters.enumerated() {
                let same =
                    try found.values(index).map(\.bitPattern)
                    == expected.values(index).map(\.bitPattern)
                #expect(same, "\(parameter.name) of \(other)")
            }
        }
    }

    @Test(
        "16-bit weights are the rounded ones",
        arguments: [("t5v10__f16_ort", Float(0x1p-11)), ("t5v10__cast_bf16", 0x1p-8)])
    func rounded(name: String, unit: Float) throws {
        let expected = try open(folder("Fixtures/t5v10__raw"))
        let found = try open(folder("Fixtures/\(name)"))
        for (index, parameter) in expected.layout.parameters.enumerated() {
            for (x, y) in zip(try found.values(index), try expected.values(index)) {
                // 6e-8: the smallest float16.
                #expect(abs(x - y) <= unit * abs(y) + 6e-8, "\(parameter.name): \(x), \(y)")
            }
        }
    }

    @Test("sizes come from the weights where config.json is missing")
    func withoutConfig() throws {
        let source = folder("Models/tiny-v11")
        let scratch = try Scratch(copying: source)
        try scratch.remove("config.json")
        #expect(try open(scratch.path).configuration == open(source).configuration)
    }

    @Test("missing files and folders are NOT_FOUND and named")
    func missing() throws {
        #expect(status { _ = try open("/nowhere/at/all") }.0 == UNSAY_E_NOT_FOUND)
        let scratch = try Scratch(copying: folder("Models/tiny-v10"))
        try scratch.remove("decoder_model_merged.onnx")
        let (code, sentence) = status { _ = try open(scratch.path) }
        #expect(code == UNSAY_E_NOT_FOUND)
        #expect(sentence.contains("decoder_model_merged.onnx"), "\(sentence)")
    }

    @Test("a config that contradicts the weights is FORMAT and names the tensor")
    func contradiction() throws {
        let scratch = try Scratch(copying: folder("Models/tiny-v10"))
        try scratch.edit("config.json", "\"d_ff\": 48", "\"d_ff\": 64")
        let (code, sentence) = status { _ = try open(scratch.path) }
        #expect(code == UNSAY_E_FORMAT)
        #expect(sentence.contains("DenseReluDense"), "\(sentence)")
    }

    @Test("the same files open from memory")
    func buffers() throws {
        let source = folder("Models/tiny-v10")
        let scratch = try Scratch(copying: source)
        let files = try scratch.names.map { ($0, try scratch.bytes($0)) }
        let checkpoint = try open(files)
        let expected = try open(source)
        for index in expected.layout.parameters.indices {
            #expect(try checkpoint.values(index) == expected.values(index))
        }
    }

    /// Opens files held in memory.
    private func open(_ files: [(String, [UInt8])]) throws -> Checkpoint {
        let blocks = files.map { name, bytes in
            let block = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
            block.copyBytes(from: bytes)
            return (name: name, bytes: UnsafeRawBufferPointer(block))
        }
        defer { for block in blocks { block.bytes.deallocate() } }
        return try Checkpoint.open(buffers: blocks)
    }

    private func open(_ path: String) throws -> Checkpoint {
        try Checkpoint.open(folder: path, allowLinks: false)
    }

    @Test("a file cut anywhere, or with any byte changed, is an error or a model, never a crash")
    func damage() throws {
        let scratch = try Scratch(copying: folder("Models/tiny-v10"))
        let names = try scratch.names.filter { !$0.hasSuffix("spiece.model") }
        let whole = try names.map { ($0, try scratch.bytes($0)) }
        let victim = try #require(names.firstIndex(of: "encoder_model.onnx"))
        let size = whole[victim].1.count
        for cut in stride(from: 0, to: size, by: max(size / 150, 1)) {
            var files = whole
            files[victim].1 = Array(files[victim].1[..<cut])
            #expect(status { _ = try open(files) }.0 != UNSAY_OK, "cut at \(cut)")
        }
        for attempt in 0..<600 {
            var files = whole
            let position = attempt * 7919 * 131 % size
            files[victim].1[position] ^= UInt8(truncatingIfNeeded: attempt * 37 + 1)
            #expect(status { _ = try open(files) }.0 != UNSAY_E_INTERNAL, "byte \(position)")
        }
    }
}
