import Support
import Testing

@Suite("Paths")
struct PathTests {
    @Test(
        "the folder of a path and its name are found as bytes",
        arguments: [
            ("a", ".", "a"), ("/a", "/", "a"), ("b/a", "b", "a"), ("/c/b/a", "/c/b", "a"),
        ])
    func parts(path: String, folder: String, name: String) {
        #expect(Path(path).folder == Path(folder))
        #expect(Path(path).name == Path(name))
    }

    @Test("bytes that are no UTF-8 stay as they are, and stand in sentences as U+FFFD")
    func bytes() {
        let path = Path([0x62, 0xFF, 0x64])
        #expect(path.cString == [0x62, -1, 0x64, 0])
        #expect("\(path)".unicodeScalars.map(\.value) == [0x62, 0xFFFD, 0x64])
    }

    @Test("slashes at the end go, but for the root's")
    func slashes() {
        #expect(Path("a/b//").withoutTrailingSlashes == "a/b")
        #expect(Path("//").withoutTrailingSlashes == "/")
        #expect(Path("").withoutTrailingSlashes == "")
    }

    @Test("a name beside a long one has at most 255 bytes")
    func beside() {
        let long = Path("/x/" + String(repeating: "n", count: 255))
        let name = long.beside(".new-12").name
        #expect(name.bytes.count == 255)
        #expect(name.hasSuffix("n.new-12"))
        #expect(Path("/x/short").beside(".new-12") == "/x/short.new-12")
    }

    @Test("a very long path leaves room in a sentence")
    func long() {
        let text = "\(Path("/begin/" + String(repeating: "n/", count: 2000) + "end"))"
        #expect(text.utf8.count < 700)
        #expect(text.hasPrefix("/begin/") && text.hasSuffix("/end"))
    }
}
