import CUnsay
import Glibc
import Support
import Testing

/// Runs `body` with a new empty folder, which is removed afterwards.
func withFolder(_ body: (String) throws -> Void) throws {
    var template = Array("/tmp/unsay-files-XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer {
        $0.baseAddress.flatMap { mkdtemp($0) } != nil
    }
    try #require(made)
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { removeFolder(folder) }
    try body(folder)
}

/// The names in a folder, sorted, without `.` and `..`.
func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
}

private func removeFolder(_ folder: String) {
    for name in names(in: folder) where unlink("\(folder)/\(name)") != 0 {
        rmdir("\(folder)/\(name)")
    }
    rmdir(folder)
}

private func write(_ text: String, to path: String) throws {
    try Array(text.utf8).withUnsafeBytes { try Files.write([$0], to: path) }
}

private func read(_ path: String, limit: Int = 100) throws -> String {
    let bytes = try Files.read(path, limit: limit)
    return bytes.withBytes { String(decoding: $0, as: UTF8.self) }
}

@Suite("Files")
struct FilesTests {
    @Test("a file reads back as written, and nothing is left beside it")
    func roundTrip() throws {
        try withFolder { folder in
            try write("old", to: "\(folder)/a")
            try write("new", to: "\(folder)/a")
            #expect(try read("\(folder)/a") == "new")
            #expect(names(in: folder) == ["a"])
        }
    }

    @Test("several parts are written one after the other; a file may be empty")
    func parts() throws {
        try withFolder { folder in
            try [1, 2, 3].withUnsafeBytes { all in
                let parts = [all[..<5], all[5...]].map { UnsafeRawBufferPointer(rebasing: $0) }
                try Files.write(parts, to: "\(folder)/a")
                let whole = try Files.read("\(folder)/a", limit: 24)
                #expect(whole.withBytes { $0.elementsEqual(all) })
            }
            try write("", to: "\(folder)/b")
            #expect(try Files.read("\(folder)/b", limit: 0).count == 0)
        }
    }

    @Test("a write that fails leaves the old file and no other")
    func failure() throws {
        try withFolder { folder in
            mkdir("\(folder)/taken", 0o777)
            let failure = #expect(throws: Failure.self) { try write("x", to: "\(folder)/taken") }
            #expect(failure?.status == UNSAY_E_IO)
            #expect(names(in: folder) == ["taken"])
        }
    }

    @Test("what cannot be read says why")
    func refusals() throws {
        try withFolder { folder in
            try write("four", to: "\(folder)/a")
            mkfifo("\(folder)/pipe", 0o666)
            let absent = #expect(throws: Failure.self) { try read("\(folder)/absent") }
            let long = #expect(throws: Failure.self) { try read("\(folder)/a", limit: 3) }
            let notFile = #expect(throws: Failure.self) { try read(folder) }
            let pipe = #expect(throws: Failure.self) { try read("\(folder)/pipe") }
            let nowhere = #expect(throws: Failure.self) { try write("x", to: "\(folder)/b/c") }
            #expect(absent?.status == UNSAY_E_NOT_FOUND)
            #expect(absent?.sentence == "cannot open \(folder)/absent: No such file or directory")
            #expect(long?.status == UNSAY_E_FORMAT)
            #expect(notFile?.status == UNSAY_E_IO)
            #expect(pipe?.status == UNSAY_E_IO)
            #expect(nowhere?.status == UNSAY_E_NOT_FOUND)
        }
    }

    @Test(
        "the folder of a path is found as text",
        arguments: [("a", "."), ("/a", "/"), ("b/a", "b"), ("/c/b/a", "/c/b")])
    func folders(path: String, folder: String) {
        #expect("\(Path(path).folder)" == folder)
    }
}
