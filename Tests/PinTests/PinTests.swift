import CKernels
import Foundation
import Support
import Testing
import Unsay

private let root =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
    .joined(separator: "/")

/// The pins, by model and then by name; `WRITE_PINS=1` writes them anew.
private let file = "\(root)/Tests/PinTests/pins.json"

/// What the library computed when the pins were written, bit for bit.
///
/// A change of walls must not change a number: a pin that breaks is either a fault or a change
/// of results, which the commit that renews the pins explains. Results differ between processor
/// levels in the last bits, so the pins are those of AVX2, which runs on every machine of CI.
@Suite("Pins", .serialized)
struct PinTests {
    @Test("logits, outputs, ten training steps and a delta are what they were, to the bit")
    func pins() throws {
        try #require(kernel_level_select(KERNEL_AVX2) == 1, "this processor lacks AVX2")
        defer { _ = kernel_level_select(kernel_level_best()) }
        var found: [String: [String: String]] = [:]
        for folder in folders { found[folder] = try Pins(of: "\(root)/\(folder)").values }

        if ProcessInfo.processInfo.environment["WRITE_PINS"] != nil {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try encoder.encode(found).write(to: URL(fileURLWithPath: file))
        }
        let pinned = try JSONDecoder().decode(
            [String: [String: String]].self, from: Data(contentsOf: URL(fileURLWithPath: file)))
        #expect(pinned.keys.sorted() == found.keys.sorted())
        for (folder, pins) in pinned {
            for (name, pin) in pins {
                let now = found[folder]?[name] ?? "nothing"
                #expect(now == pin, "\(folder), \(name): \(now), pinned \(pin)")
            }
        }
    }
}

/// The embedded model, and fixtures of each family, storage and kind of head.
private let folders =
    ["models/debsum"]
    + [
        "t5v10__f16_ort", "t5v11__q_u8", "mt5__oldopt", "byt5__opt", "umt5__opt_custom",
        "t5tiedgated__opt",
    ].map { "Tests/Fixtures/\($0)" }

/// The numbers of one model.
private struct Pins {
    var values: [String: String] = [:]

    init(of folder: String) throws {
        for (name, compute) in [("f32", Compute.f32), ("bf16", .bf16), ("int8", .int8)] {
            try serve(Model.open(folder, threads: 2, compute: compute), name)
        }
        let model = try Model.open(folder, threads: 2)
        try train(model, "f32", .f32)
        try train(model, "bf16", .bf16)
    }

    private mutating func serve(_ model: Model, _ compute: String) throws {
        let inputs = inputs(of: model)
        let greedy = GenerateOptions {
            $0.maxNewTokens = 16; $0.numBeams = 1
        }
        let beams = GenerateOptions {
            $0.maxNewTokens = 16; $0.numBeams = 4
        }
        for (name, options) in [("greedy", greedy), ("beams", beams)] {
            let outputs = try model.generate(inputs, options)
            values["\(compute) \(name) ids"] = outputs.map(\.ids).description
            values["\(compute) \(name) log-probabilities"] = digest(
                outputs.flatMap(\.logProbabilities))
        }
        let logits = try inputs.map { try model.logits($0, Array(inputs[0].prefix(4))) }
        values["\(compute) logits"] = digest(logits.flatMap { $0 })
        values["\(compute) encoder states"] = digest(
            try inputs.flatMap { try model.encoderStates($0) })
    }

    /// Ten steps on outputs of which the first id is avoided, by two losses and optimizers.
    private mutating func train(_ model: Model, _ name: String, _ compute: Compute) throws {
        let before = try model.fingerprint()
        values["fingerprint"] = hexadecimal(before)
        let inputs = inputs(of: model)
        let greedy = GenerateOptions {
            $0.maxNewTokens = 8; $0.numBeams = 1
        }
        let outputs = try model.generate(inputs, greedy)
        let runs: [(String, PatchOptions)] = [
            (
                "ff, adamw, all",
                PatchOptions {
                    $0.loss = .ff; $0.scope = .all
                }
            ),
            (
                "rl, adafactor, decoder, dropout",
                PatchOptions {
                    $0.loss = .rll; $0.optimizer = .adafactor; $0.scope = .decoder
                    $0.dropout = 0.1
                }
            ),
            (
                "rf, sgd, factors",
                PatchOptions {
                    $0.loss = .rf; $0.optimizer = .sgd; $0.scope = .all; $0.loraRank = 2
                }
            ),
        ]
        for (run, options) in runs {
            var options = options
            options.compute = compute
            options.batchSize = 2
            options.seed = 7
            options.maxGuardKL = 100
            options.maxGuardFlips = 1
            let patch = try model.patch(options)
            for (input, output) in zip(inputs, outputs) {
                let marks = output.ids.indices.map { $0 == 0 ? Mark.avoid : .keep }
                try patch.add(input, output, marks: marks)
                try patch.addGuard(input, output)
            }
            let losses = try (0..<10).map { _ in Float(try patch.step().loss) }
            values["\(name) \(run): losses"] = digest(losses)
            let evaluation = try patch.evaluate()
            values["\(name) \(run): kl"] = digest(
                [evaluation.keepKL, evaluation.guardKL].map { Float($0) })
            let delta = try patch.delta()
            values["\(name) \(run): after"] = hexadecimal(delta.info.after)
            try delta.apply(to: model)
            #expect(try model.fingerprint() == delta.info.after)
            try model.revert()
            #expect(try model.fingerprint() == before)
        }
    }

    /// Three inputs of 1, 17 and 40 ids by formula.
    private func inputs(of model: Model) -> [[Int32]] {
        [1, 17, 40].map { count in
            (0..<count).map { Int32((3 + $0 * 37 + count) % model.info.vocabSize) }
        }
    }
}

private func digest(_ values: [Float]) -> String {
    var sha = SHA256()
    values.withUnsafeBytes { sha.update($0) }
    return hexadecimal(sha.finish())
}
