import CUnsay
import Foundation
import Models
import T5
import Testing

@Suite("Saving a checkpoint")
struct SaveTests {
    /// Saves with one change to the weights.
    private func save(
        _ checkpoint: Checkpoint, to path: String, changing name: String? = nil,
        _ change: (inout Float) -> Void = { _ in }
    ) throws {
        try saveCheckpoint(checkpoint, to: path) { index, values in
            try checkpoint.read(index, into: values)
            if checkpoint.layout.parameters[index].name == name {
                for i in values.indices { change(&values[i]) }
            }
        }
    }

    private static let layouts = [
        "Models/tiny-v10", "Models/tiny-v11", "Fixtures/t5v10__anon_nofold",
        "Fixtures/t5v10__ort_O", "Fixtures/t5v10__raw", "Fixtures/t5v10__ts_whole",
        "Fixtures/t5v11__dy_whole", "Fixtures/t5v11__opt_ext", "Fixtures/t5v11__opt_O3",
    ]

    @Test("unchanged weights leave every file as it was, byte for byte", arguments: layouts)
    func unchanged(name: String) throws {
        let source = try Scratch(copying: folder(name))
        let target = try Scratch()
        try save(open(source.path), to: target.path + "/out")
        for file in try source.names where file.contains(".onnx") || file.hasSuffix(".json") {
            let same =
                try Data(contentsOf: URL(fileURLWithPath: "\(target.path)/out/\(file)"))
                == Data(source.bytes(file))
            #expect(same, "\(file)")
        }
    }

    @Test("a changed weight is changed in every copy, and nothing else is", arguments: layouts)
    func changed(name: String) throws {
        let target = try Scratch()
        let checkpoint = try open(folder(name))
        for changed in ["shared.weight", "decoder.block.1.layer.0.SelfAttention.q.weight"] {
            let out = "\(target.path)/\(changed)"
            try save(checkpoint, to: out, changing: changed) { $0 = $0 * 1.5 + 0.125 }
            // Opening compares all copies of a weight with each other.
            let found = try open(out)
            #expect(found.layout == checkpoint.layout)
            for (index, parameter) in checkpoint.layout.parameters.enumerated() {
                let before = try checkpoint.values(index)
                let expected = parameter.name == changed ? before.map { $0 * 1.5 + 0.125 } : before
                #expect(try found.values(index) == expected, "\(parameter.name)")
            }
        }
    }

    @Test("saving over the folder it came from replaces it whole")
    func inPlace() throws {
        let scratch = try Scratch(copying: folder("Models/tiny-v10"))
        let names = try scratch.names
        let checkpoint = try open(scratch.path)
        let norm = "encoder.final_layer_norm.weight"
        let before = try checkpoint.values(norm)
        try save(checkpoint, to: scratch.path, changing: norm) { $0 += 1 }
        #expect(try scratch.names == names)
        #expect(try open(scratch.path).values(norm) == before.map { $0 + 1 })
        // The opened checkpoint still reads what it was opened from.
        #expect(try checkpoint.values(norm) == before)
    }

    @Test("a source of 16 bits is rounded only where that is allowed, however it is spelt")
    func roundingInPlace() throws {
        let scratch = try Scratch(copying: folder("Fixtures/t5v10__f16_ort"))
        let names = try scratch.names
        let bytes = try names.map { try scratch.bytes($0) }
        let checkpoint = try open(scratch.path)
        #expect(checkpoint.roundsChanges)
        let name = "encoder.block.0.layer.0.SelfAttention.q.weight"
        func save(_ path: String, allowsRounding: Bool, _ change: (Float) -> Float) throws {
            try saveCheckpoint(checkpoint, to: path, allowsRounding: allowsRounding) {
                index, values in
                try checkpoint.read(index, into: values)
                guard checkpoint.layout.parameters[index].name == name else { return }
                for i in values.indices { values[i] = change(values[i]) }
            }
        }
        // 1e-9 is no more than a rounding of what 16 bits hold.
        let folderName = String(scratch.path.split(separator: "/").last ?? "")
        for path in ["", "/", "/.", "/../\(folderName)"].map({ scratch.path + $0 }) {
            let (code, sentence) = status {
                try save(path, allowsRounding: false) { $0 + 1e-9 }
            }
            #expect(code == UNSAY_E_STATE && sentence.contains(name), "\(path): \(sentence)")
        }
        #expect(try scratch.names == names && names.map { try scratch.bytes($0) } == bytes)
        // What 16 bits hold is no loss: 2 x is exact.
        try save(scratch.path, allowsRounding: false) { 2 * $0 }
        // The folder is another one by now, and the source all the same.
        let (code, _) = status { try save(scratch.path, allowsRounding: false) { $0 + 1e-9 } }
        #expect(code == UNSAY_E_STATE)
        try save(scratch.path, allowsRounding: true) { $0 * 1.0001 }
        let (stored, exact) = try (open(scratch.path).values(name), checkpoint.values(name))
        #expect(stored != exact.map { $0 * 1.0001 })
        #expect(zip(stored, exact).allSatisfy { abs($0 - $1) <= 0.001 * abs($1) + 1e-7 })
        #expect(try !open(folder("Models/tiny-v10")).roundsChanges)
    }

    @Test("what does not fit float16 is refused by name, and nothing is left behind")
    func overflow() throws {
        let target = try Scratch()
        let checkpoint = try open(folder("Fixtures/t5v10__f16_ort"))
        let name = "encoder.block.0.layer.0.SelfAttention.q.weight"
        let (code, sentence) = status {
            try save(checkpoint, to: target.path + "/out", changing: name) { $0 = 1e6 }
        }
        #expect(code != UNSAY_OK)
        #expect(sentence.contains(name), "\(sentence)")
        #expect(try target.names.isEmpty)
    }

    @Test("a weight that is not a number is found when the folder is opened")
    func notANumber() throws {
        let target = try Scratch()
        let name = "decoder.final_layer_norm.weight"
        let (saving, _) = status {
            try save(open(folder("Models/tiny-v10")), to: target.path + "/out", changing: name) {
                $0 = .nan
            }
        }
        let (code, sentence) = status { _ = try open(target.path + "/out") }
        #expect(saving != UNSAY_OK || code == UNSAY_E_FORMAT)
        #expect(saving != UNSAY_OK || sentence.contains(name), "\(sentence)")
    }

    @Test("a folder that cannot be written is IO or NOT_FOUND, and says why")
    func unwritable() throws {
        let checkpoint = try open(folder("Models/tiny-v10"))
        let (code, sentence) = status { try save(checkpoint, to: "/proc/nowhere/out") }
        #expect(code == UNSAY_E_IO || code == UNSAY_E_NOT_FOUND)
        #expect(sentence.contains("/proc/nowhere"), "\(sentence)")
    }
}
