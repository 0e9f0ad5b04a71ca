import Foundation
import FuzzTargets
import Testing

/// Inputs that once broke a target, or that show what it takes, are run again by every test.
@Suite("Fuzzed inputs")
struct RegressionTests {
    private static let folder =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fuzz/regressions")

    @Test("every input kept is taken without a trap", arguments: FuzzTarget.allCases)
    func regressions(target: FuzzTarget) throws {
        let folder = Self.folder.appendingPathComponent(target.rawValue)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(!names.isEmpty)
        for name in names {
            let bytes = try Data(contentsOf: folder.appendingPathComponent(name))
            bytes.withUnsafeBytes(target.run)
        }
    }

    @Test("no bytes at all are taken, too", arguments: FuzzTarget.allCases)
    func empty(target: FuzzTarget) {
        target.run(UnsafeRawBufferPointer(start: nil, count: 0))
    }
}
