import Classifying
import Glibc
import Models
import Support
import T5
import Tensors

/// The tiny model of Tests/Models.
func tinyModel(threads: Int = 1) throws -> Model {
    let folder =
        #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(2).joined(separator: "/") + "/Models/tiny-v10"
    return try Model(
        Checkpoint.open(folder: folder, allowLinks: false), tokenizerPath: nil,
        workers: Workers(threads: threads))
}

/// Adds to every value of the weights whose names begin with `prefix`, as a patch would.
func patch(_ model: Model, _ prefix: String, by change: Float = 0.5) throws {
    let before = try model.weights()
    let after = try WeightsSnapshot(
        model.layout, model.configuration, workers: model.workers
    ) { index, values in
        before.read(index, into: values)
        guard model.layout.parameters[index].name.hasPrefix(prefix) else { return }
        for at in values.indices { values[at] += change }
    }
    try model.replace(
        before, with: after,
        change: AppliedChange(
            before: try model.fingerprint(of: before), after: try model.fingerprint(of: after),
            metadata: .object([:])))
}

/// Texts as ids; a third of their tokens is marked, by what the token is.
func labelledTexts(_ count: Int) -> [LabelledText] {
    (0..<count).map { text in
        let ids = (0..<5 + text % 23).map { Int32(3 + (text * 31 + $0 * 7) % 90) } + [1]
        return LabelledText(ids: ids, isMarked: ids.map { $0 % 3 == 0 })
    }
}

/// A number in -1...1 that looks random, the same everywhere.
func formula(_ index: Int) -> Float {
    var random = SplitMix64(state: UInt64(index))
    return Float(Int64(bitPattern: random.next()) >> 40) / Float(1 << 23)
}

/// Runs `body` with the path of a file that is removed afterwards.
func withPath<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = "/tmp/unsay-classifier-\(UInt64.random(in: .min ... .max))"
    defer { unlink(path) }
    return try body(path)
}
