import Support
import Testing

@Suite("What a file really is")
struct MistakenFileTests {
    private func phrase(_ bytes: some Sequence<UInt8>, _ content: MistakenFile.Content = .model)
        -> String?
    {
        Array(bytes).withUnsafeBytes { MistakenFile.phrase(for: $0, expecting: content) }
    }

    @Test(
        "what a clone or a download leaves is called by its name",
        arguments: [
            ("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS"),
            ("/annex/objects/SHA256E-s12--ab\n", "git annex get"),
            ("<!DOCTYPE html><html>404</html>", "HTML"), ("\n <HTML>", "HTML"),
            ("\u{FEFF}<html>", "HTML"), ("<?xml version=\"1.0\"?><Error>", "XML"),
            ("<Error><Code>AccessDenied</Code></Error>", "XML"),
            ("{\"error\": \"Repository not found\"}", "\"Repository not found\""),
            ("{\"detail\": \"Not Found\", \"status\": 404}", "\"Not Found\""),
            ("Entry not found", "\"Entry not found\""), ("404: Not Found\n", "404"), ("", "empty"),
            (" \n", "white space"),
        ])
    func left(text: String, word: String) throws {
        for content in [MistakenFile.Content.model, .json, .otherBinary] {
            let found = try #require(phrase(text.utf8, content))
            #expect(found.contains(word), "\(found)")
        }
    }

    private static let zip: [UInt8] =
        Array("PK\u{3}\u{4}".utf8) + [UInt8](repeating: 0, count: 26)
    private static let hdf5: [UInt8] = [0x89] + Array("HDF\r\n".utf8)
    private static let safetensors: [UInt8] = [40, 0, 0, 0, 0, 0, 0, 0] + Array("{\"a\":{}}".utf8)

    private static let others: [(bytes: [UInt8], word: String)] = [
        (Array("GGUF\u{3}".utf8), "GGUF"), (hdf5, "HDF5"),
        (zip + Array("a/data.pkl".utf8), "PyTorch"), (zip, "zip"),
        ([0x80, 2, 0x7D, 0x71], "pickle"), (safetensors, "safetensors"),
    ]

    @Test("files of other formats are called by their names", arguments: others)
    func formats(bytes: [UInt8], word: String) throws {
        let found = try #require(phrase(bytes))
        #expect(found.contains(word) && found.contains("exported to ONNX"), "\(found)")
        #expect(phrase(bytes, .otherBinary)?.contains("ONNX") == false)
    }

    @Test("what may be right is left alone")
    func right() {
        #expect(phrase([0x08, 0x07, 0x12, 0x07] + Array("pytorch".utf8)) == nil)
        #expect(phrase("{\"d_model\": 64, \"error\": 1}".utf8, .json) == nil)
        #expect(phrase("{}".utf8, .json) == nil)
        #expect(
            phrase([0x0A, 0x0E, 0x0A, 0x05] + Array("<pad>".utf8) + [0x15, 0, 0, 0, 0]) == nil)
    }
}
