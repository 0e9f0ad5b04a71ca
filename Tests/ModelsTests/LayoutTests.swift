import COnnx
import CUnsay
import Foundation
import Testing

@testable import Models

/// Layouts that need more than a look: quantised, merged, disagreeing, pointing elsewhere.
@Suite("Unusual layouts")
struct LayoutTests {
    @Test(
        "quantised weights are near the original, the norms equal to it",
        arguments: [
            ("t5v10__q_xenova", "t5v10__raw", Float(0.02)),
            ("t5v11__q_u8", "t5v11__opt", 0.02),
            ("t5v10__nb4", "t5v10__raw", 0.15),
        ])
    func quantized(name: String, truth: String, unit: Float) throws {
        let expected = try open(folder("Fixtures/\(truth)"))
        let found = try open(folder("Fixtures/\(name)"))
        #expect(found.layout == expected.layout)
        for (index, parameter) in expected.layout.parameters.enumerated() {
            let (x, y) = (try found.values(index), try expected.values(index))
            let largest = y.map { abs($0) }.max() ?? 0
            let worst = zip(x, y).map { abs($0 - $1) }.max() ?? 0
            let limit = parameter.name.contains("norm") ? 0 : unit * largest
            #expect(worst <= limit, "\(parameter.name): off by \(worst) of \(largest)")
        }
    }

    @Test(
        "4-bit tables and blocks of an encoder are read",
        arguments: ["t5v10__nb4_gather", "t5v10__nb4_qdq"])
    func encoderAlone(name: String) throws {
        let scratch = try Scratch(copying: folder("Fixtures/\(name)"))
        try scratch.edit("config.json", "T5ForConditionalGeneration", "T5EncoderModel")
        let found = try open(scratch.path)
        #expect(!found.hasDecoder)
        let expected = try open(folder("Fixtures/t5v10__raw"))
        for (index, parameter) in found.layout.parameters.enumerated() {
            let (x, y) = (try found.values(index), try expected.values(parameter.name))
            let largest = y.map { abs($0) }.max() ?? 0
            let worst = zip(x, y).map { abs($0 - $1) }.max() ?? 0
            #expect(worst <= 0.15 * largest, "\(parameter.name): off by \(worst) of \(largest)")
        }
    }

    @Test(
        "a changed checkpoint that was quantised is saved as floats, inside its files and beside",
        arguments: ["t5v10__q_xenova", "t5v11__q_u8", "t5v10__nb4"], [0, 256 << 20])
    func savingQuantized(name: String, largestInline: Int) throws {
        let checkpoint = try open(folder("Fixtures/\(name)"))
        let target = try Scratch()
        try saveCheckpoint(checkpoint, to: target.path + "/out", largestInline: largestInline) {
            index, values in
            try checkpoint.read(index, into: values)
            values[0] += 1
        }
        let found = try open(target.path + "/out")
        #expect(found.sites.joined().allSatisfy { $0.constant.quantization == nil })
        let isExternal = found.models.contains { !$0.externalFiles.isEmpty }
        #expect(isExternal == (largestInline == 0))
        for (index, parameter) in checkpoint.layout.parameters.enumerated() {
            var expected = try checkpoint.values(index)
            expected[0] += 1
            #expect(try found.values(index) == expected, "\(parameter.name)")
        }
    }

    @Test("an unchanged checkpoint stays quantised, byte for byte")
    func keepingQuantized() throws {
        let source = try Scratch(copying: folder("Fixtures/t5v10__nb4"))
        let checkpoint = try open(source.path)
        let target = try Scratch()
        try saveCheckpoint(checkpoint, to: target.path + "/out") { index, values in
            try checkpoint.read(index, into: values)
        }
        for file in try source.names where file.hasSuffix(".onnx") {
            let saved = try Data(contentsOf: URL(fileURLWithPath: "\(target.path)/out/\(file)"))
            #expect(try saved == Data(source.bytes(file)), "\(file)")
        }
    }

    @Test("norms that an exporter merged into one tensor part when they come to differ")
    func mergedNorms() throws {
        let checkpoint = try open(folder("Fixtures/t5v10__merged_norms"))
        let target = try Scratch()
        try saveCheckpoint(checkpoint, to: target.path + "/out") { index, values in
            try checkpoint.read(index, into: values)
            for i in values.indices { values[i] += Float(index) / 8 }
        }
        let found = try open(target.path + "/out")
        for (index, parameter) in checkpoint.layout.parameters.enumerated() {
            let expected = try checkpoint.values(index).map { $0 + Float(index) / 8 }
            #expect(try found.values(index) == expected, "\(parameter.name)")
        }
    }

    @Test("two copies of a weight that differ are FORMAT, and both are named")
    func disagreement() throws {
        let scratch = try Scratch(copying: folder("Fixtures/t5v11__opt"))
        let checkpoint = try open(scratch.path)
        let name = "decoder.block.0.layer.0.SelfAttention.q.weight"
        let index = try #require(checkpoint.layout.index(of: name))
        let copies = checkpoint.sites[index].map(\.constant)
        let place = try #require(copies.last?.tensor.place)
        var bytes = try scratch.bytes("\(place.file)")
        bytes[place.offset] ^= 1
        try scratch.remove("\(place.file)")
        try scratch.write(bytes, to: "\(place.file)")
        let (code, sentence) = status { _ = try open(scratch.path) }
        #expect(code == UNSAY_E_FORMAT)
        #expect(sentence.contains(name), "\(sentence)")
        #expect(sentence.contains("decoder_model.onnx"), "\(sentence)")
        #expect(sentence.contains("decoder_with_past_model.onnx"), "\(sentence)")
    }

    @Test("external data is a link into the blobs of its own cache, or, where allowed, to anywhere")
    func links() throws {
        let scratch = try Scratch(copying: folder("Fixtures/mt5__raw_ext"))
        let data = "model.onnx.data"
        let cache = try Scratch()
        let manager = FileManager.default
        let snapshot = cache.path + "/snapshots/1"
        for made in [cache.path + "/blobs", snapshot] {
            try manager.createDirectory(atPath: made, withIntermediateDirectories: true)
        }
        try manager.moveItem(atPath: "\(scratch.path)/\(data)", toPath: "\(cache.path)/blobs/x")
        try manager.copyItem(atPath: "\(cache.path)/blobs/x", toPath: "\(cache.path)/y")
        for name in ["model.onnx", "config.json"] {
            try manager.copyItem(atPath: "\(scratch.path)/\(name)", toPath: "\(snapshot)/\(name)")
        }
        func opens(_ place: String, _ target: String, allowLinks: Bool) throws -> (
            unsay_status, String
        ) {
            try manager.createSymbolicLink(
                atPath: "\(place)/\(data)", withDestinationPath: target)
            defer { unlink("\(place)/\(data)") }
            return status { _ = try Checkpoint.open(folder: place, allowLinks: allowLinks) }
        }
        #expect(try opens(snapshot, "../../blobs/x", allowLinks: false) == (UNSAY_OK, ""))
        // The blobs of another folder, a file beside the blobs, and a path that is absolute.
        let beside = "../" + (cache.path as NSString).lastPathComponent + "/blobs/x"
        for (place, target) in [
            (scratch.path, beside), (snapshot, "../../y"), (snapshot, "../../blobs/../y"),
            (snapshot, cache.path + "/blobs/x"),
        ] {
            let (code, sentence) = try opens(place, target, allowLinks: false)
            #expect(code == UNSAY_E_FORMAT, "\(target)")
            #expect(sentence.contains(data) && sentence.contains("allow_links"), "\(sentence)")
            #expect(try opens(place, target, allowLinks: true) == (UNSAY_OK, ""), "\(target)")
        }
    }

    @Test("an external location that leaves the folder is refused")
    func escape() throws {
        let scratch = try Scratch(copying: folder("Fixtures/mt5__raw_ext"))
        // The same length, so that the file stays well-formed.
        let whole = try Data(contentsOf: URL(fileURLWithPath: scratch.path + "/model.onnx"))
        for location in ["../el.onnx.data", "/tc/passwd.data"] {
            var bytes = whole
            while let range = bytes.range(of: Data("model.onnx.data".utf8)) {
                bytes.replaceSubrange(range, with: Data(location.utf8))
            }
            try scratch.write(Array(bytes), to: "model.onnx")
            let (code, sentence) = status { _ = try open(scratch.path) }
            #expect(code == UNSAY_E_FORMAT, "\(sentence)")
            #expect(sentence.contains(location), "\(sentence)")
        }
    }

    @Test("float16 rounds to nearest even over its whole range")
    func float16() throws {
        // Multiples of 2^12: every other one lies half-way between two float16 values.
        for bits in stride(from: UInt32(0), to: UInt32(0x7f80_0000), by: 0xd000) {
            let value = Float(bitPattern: bits)
            let expected = Float16(value)
            var stored: UInt16 = 0
            var view = onnx_view(first: 0, rows: 1, columns: 1, row_stride: 1, column_stride: 1)
            let written = withUnsafePointer(to: value) {
                onnx_write_floats(&stored, 1, Int32(ONNX_FLOAT16), &view, 1, nil, $0, nil)
            }
            if expected.isInfinite {
                #expect(written == ONNX_E_FORMAT, "\(value)")
                continue
            }
            var back: Float = .nan
            let read = onnx_read_floats(&stored, 1, Int32(ONNX_FLOAT16), &view, 1, &back, nil)
            #expect(written == ONNX_OK && read == ONNX_OK)
            #expect(stored == expected.bitPattern, "\(value): \(stored), \(expected.bitPattern)")
            #expect(back == Float(expected), "\(value): \(back)")
        }
    }
}
