import CUnsay
import Foundation
import Models
import Support

/// A folder of the repository's Tests.
func folder(_ path: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent(path).path
}

/// A folder of its own, removed with the object.
final class Scratch {
    let path: String

    /// - Parameter source: a folder whose files are copied in; nil for none.
    init(copying source: String? = nil) throws {
        path = NSTemporaryDirectory() + "/unsay-models-\(UUID().uuidString)"
        let manager = FileManager.default
        try manager.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard let source else { return }
        for name in try manager.contentsOfDirectory(atPath: source) {
            try manager.copyItem(atPath: "\(source)/\(name)", toPath: "\(path)/\(name)")
        }
    }

    deinit {
        do { try FileManager.default.removeItem(atPath: path) } catch {}
    }

    func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    /// Replaces text in a file.
    func edit(_ name: String, _ old: String, _ new: String) throws {
        let text = String(decoding: try bytes(name), as: UTF8.self)
        try write(Array(text.replacingOccurrences(of: old, with: new).utf8), to: name)
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
    }

    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }
}

func open(_ path: String) throws -> Checkpoint {
    try Checkpoint.open(folder: path, allowLinks: false)
}

extension Checkpoint {
    func values(_ index: Int) throws -> [Float] {
        var values = [Float](repeating: .nan, count: layout.parameters[index].count)
        try values.withUnsafeMutableBufferPointer { try read(index, into: $0) }
        return values
    }

    func values(_ name: String) throws -> [Float] {
        guard let index = layout.index(of: name) else {
            throw Failure(UNSAY_E_INTERNAL, "the test names no weight: \(name)")
        }
        return try values(index)
    }
}

/// The status a call fails with; UNSAY_OK if it does not.
func status(_ body: () throws -> Void) -> (unsay_status, String) {
    do {
        try body()
        return (UNSAY_OK, "")
    } catch {
        let failure = error as? Failure
        return (failure?.status ?? UNSAY_E_INTERNAL, failure?.sentence ?? "\(error)")
    }
}
