import CUnsay
import Glibc
import Models
import Patching
import Support
import T5
import Tensors
import Testing

private let layout: ParameterLayout = {
    var configuration = T5Configuration()
    configuration.vocabSize = 6
    configuration.dModel = 4
    configuration.dKV = 2
    configuration.dFF = 3
    configuration.numHeads = 2
    configuration.numLayers = 1
    configuration.numDecoderLayers = 1
    return ParameterLayout(configuration)
}()

/// Weights by formula; `changes` are bit patterns at (weight, value).
private struct Weights {
    var changes: [[Int]: UInt32] = [:]

    func read(_ index: Int, _ values: UnsafeMutableBufferPointer<Float>) {
        for at in values.indices {
            let bits = changes[[index, at]] ?? Float(index * 100 + at).bitPattern
            values[at] = Float(bitPattern: bits)
        }
    }
}

/// Every bit pattern that a reader gives.
private func bits(_ read: WeightReader) throws -> [[UInt32]] {
    try layout.parameters.indices.map { index in
        let count = layout.parameters[index].count
        let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
        defer { values.deallocate() }
        values.initialize(repeating: 0)
        try read(index, values)
        return values.map(\.bitPattern)
    }
}

private func makeDelta(_ old: Weights, _ new: Weights) throws -> Delta {
    try Delta.make(
        layout: layout, before: old.read, after: new.read,
        beforeFingerprint: try fingerprint(layout: layout, read: old.read),
        afterFingerprint: try fingerprint(layout: layout, read: new.read),
        metadata: .object(["seed": .number(7)]))
}

/// Weights by formula, of which the first matrix of the encoder is changed by factors.
private let factors = LowRank(a: [0.5, -1, 2, 0], b: [1, 0, -0.25, 3], rank: 1)

private func readChangedByFactors(
    _ index: Int, _ values: UnsafeMutableBufferPointer<Float>
) {
    old.read(index, values)
    if index == 1 { factors.add(to: values) }
}

private func makeDeltaOfFactors() throws -> Delta {
    try Delta.make(
        layout: layout, before: old.read, after: readChangedByFactors,
        factors: { $0 == 1 ? factors : nil },
        beforeFingerprint: try fingerprint(layout: layout, read: old.read),
        afterFingerprint: try fingerprint(layout: layout, read: readChangedByFactors),
        metadata: .object([:]))
}

private let old = Weights()
/// A quiet NaN with a payload, a signalling one, -0.0 for 0.0, an ordinary change, infinity.
private let new = Weights(changes: [
    [0, 0]: 0x8000_0000, [0, 5]: 0x7FC0_1234, [3, 1]: 0x7F80_0001, [7, 0]: Float(1.5).bitPattern,
    [7, 1]: 0xFF80_0000,
])
private let small = Weights(changes: [
    [7, 0]: Float(703).bitPattern, [7, 1]: Float(697).bitPattern,
])

/// Runs `body` with the path of a file that is removed afterwards.
private func withPath(_ body: (String) throws -> Void) throws {
    let path = "/tmp/unsay-delta-\(UInt64.random(in: .min ... .max)).unsay"
    defer { unlink(path) }
    try body(path)
}

private func write(_ bytes: [UInt8], _ path: String) throws {
    try bytes.withUnsafeBytes { try Files.write([$0], to: path) }
}

private func withDigest(_ content: [UInt8]) -> [UInt8] {
    var digest = SHA256()
    content.withUnsafeBytes { digest.update($0) }
    return content + digest.finish()
}

@Suite("Deltas")
struct DeltaTests {
    @Test("a delta applies and reverts to the bit, NaNs and zeros of either sign included")
    func exact() throws {
        let delta = try makeDelta(old, new)
        #expect(
            try bits(delta.applied(to: old.read, layout: layout, reverting: false).read)
                == bits(new.read))
        #expect(
            try bits(delta.applied(to: new.read, layout: layout, reverting: true).read)
                == bits(old.read)
        )
    }

    @Test("it counts what differs and measures by how much")
    func counts() throws {
        let delta = try makeDelta(old, small)
        #expect(delta.tensors.map(\.name) == [layout.parameters[7].name])
        #expect(delta.tensors.map(\.shape) == [layout.parameters[7].shape])
        #expect(delta.changedCount == 2)
        // 700 becomes 703 and 701 becomes 697.
        #expect(delta.changeNorm == 5)
        #expect(try makeDelta(old, old).tensors.isEmpty)
    }

    @Test("a saved delta opens as it was")
    func file() throws {
        try withPath { path in
            let delta = try makeDelta(old, new)
            try delta.save(path)
            let opened = try Delta.open(path)
            #expect(opened.before == delta.before)
            #expect(opened.after == delta.after)
            #expect(opened.changedCount == 5)
            #expect(opened.changeNorm.isNaN)
            #expect(opened.metadata == delta.metadata)
            #expect(opened.tensors.map(\.name) == delta.tensors.map(\.name))
            #expect(
                try bits(opened.applied(to: old.read, layout: layout, reverting: false).read)
                    == bits(new.read))
            try opened.save(path)
            #expect(
                try bits(
                    Delta.open(path).applied(to: new.read, layout: layout, reverting: true).read)
                    == bits(old.read))
        }
    }

    @Test("a model of another shape is a mismatch")
    func mismatch() throws {
        var configuration = T5Configuration()
        configuration.vocabSize = 7
        configuration.dModel = 4
        let failure = #expect(throws: Failure.self) {
            _ = try makeDelta(old, new).applied(
                to: old.read, layout: ParameterLayout(configuration), reverting: false)
        }
        #expect(failure?.status == UNSAY_E_MISMATCH)
        #expect(
            failure?.sentence == "the delta changes shared.weight [6, 4]: expected [7, 4], once")
    }

    @Test("a file torn at any byte, or with any byte changed, is refused")
    func damaged() throws {
        try withPath { path in
            try makeDelta(old, small).save(path)
            let whole = try Files.read(path, limit: 1 << 20).withBytes(Array.init)
            for size in whole.indices {
                try write(Array(whole[..<size]), path)
                let failure = #expect(throws: Failure.self) { _ = try Delta.open(path) }
                #expect(failure?.status == UNSAY_E_FORMAT, "\(size) bytes of \(whole.count)")
            }
            for index in whole.indices {
                var bytes = whole
                bytes[index] ^= 0x10
                try write(bytes, path)
                let failure = #expect(throws: Failure.self) { _ = try Delta.open(path) }
                let isVersion = (8..<12).contains(index)
                #expect(
                    failure?.status == (isVersion ? UNSAY_E_UNSUPPORTED : UNSAY_E_FORMAT),
                    "byte \(index)")
            }
        }
    }

    @Test("a delta of factors comes back from its file, applies and reverts to the bit")
    func factored() throws {
        try withPath { path in
            try makeDeltaOfFactors().save(path)
            let delta = try Delta.open(path)
            #expect(delta.tensors.map(\.shape) == [[4, 4]])
            #expect(delta.tensors[0].factors?.a == factors.a)
            #expect(delta.tensors[0].factors?.b == factors.b)
            #expect(
                try bits(delta.applied(to: old.read, layout: layout, reverting: false).read)
                    == bits(readChangedByFactors))
            #expect(
                try bits(
                    delta.applied(to: readChangedByFactors, layout: layout, reverting: true).read)
                    == bits(old.read))
        }
    }

    @Test(
        "a file that lies under a right checksum is refused at opening or at use",
        arguments: [false, true])
    func forged(ofFactors: Bool) throws {
        try withPath { path in
            try (ofFactors ? makeDeltaOfFactors() : makeDelta(old, small)).save(path)
            let whole = try Files.read(path, limit: 1 << 20).withBytes(Array.init)
            for index in 12..<(whole.count - 32) {
                for mask: UInt8 in [0x01, 0x80, 0xFF] {
                    var content = Array(whole[..<(whole.count - 32)])
                    content[index] ^= mask
                    try write(withDigest(content), path)
                    // Some bytes, such as the fingerprints, may hold anything: the point is
                    // that every other is refused in order, and none ends the process.
                    do {
                        let delta = try Delta.open(path)
                        for reverting in [false, true] {
                            _ = try bits(
                                delta.applied(to: old.read, layout: layout, reverting: reverting)
                                    .read)
                        }
                    } catch let failure as Failure {
                        #expect([UNSAY_E_FORMAT, UNSAY_E_MISMATCH].contains(failure.status))
                    }
                }
            }
        }
    }

    @Test("a rank and a shape whose product overflows are refused by name")
    func overflow() throws {
        try withPath { path in
            try makeDeltaOfFactors().save(path)
            var content = try Files.read(path, limit: 1 << 20).withBytes { Array($0.dropLast(32)) }
            // Header, metadata "{}", sizes of name and shape, name: then shape, counts, rank.
            let shape = 104 + 2 + 4 + layout.parameters[1].name.utf8.count
            content.replaceSubrange(shape..<shape + 8, with: littleEndian(UInt64(1)))
            content.replaceSubrange(shape + 8..<shape + 16, with: littleEndian(UInt64(1 << 48)))
            content.replaceSubrange(shape + 32..<shape + 36, with: littleEndian(UInt32(1 << 14)))
            try write(withDigest(content), path)
            let failure = #expect(throws: Failure.self) { _ = try Delta.open(path) }
            #expect(failure?.status == UNSAY_E_FORMAT)
            #expect(
                failure?.sentence.hasPrefix(
                    "\(path): damaged: \(layout.parameters[1].name): factor a takes ") == true,
                "\(failure?.sentence ?? "")")
        }
    }

    @Test("what is no delta, or not there, says so")
    func absent() throws {
        let absent = #expect(throws: Failure.self) {
            _ = try Delta.open("/tmp/unsay-no-such-delta")
        }
        #expect(absent?.status == UNSAY_E_NOT_FOUND)
        try withPath { path in
            try write(Array(repeating: 0x20, count: 500), path)
            let other = #expect(throws: Failure.self) { _ = try Delta.open(path) }
            #expect(other?.sentence == "\(path) holds nothing but white space: download it again")
        }
    }
}

@Suite("Deltas on a model")
struct DeltaOnModelTests {
    /// A delta whose file promises other weights after it than its changes lead to.
    private func lying(_ model: Model) throws -> Delta {
        let weights = try model.weights()
        let before: WeightReader = { weights.read($0, into: $1) }
        func after(_ value: Float) -> WeightReader {
            { index, values in
                weights.read(index, into: values)
                if index == 0 { values[0] = value }
            }
        }
        return try Delta.make(
            layout: model.layout, before: before, after: after(0.5),
            beforeFingerprint: model.fingerprint(),
            afterFingerprint: fingerprint(layout: model.layout, read: after(0.25)),
            metadata: .null)
    }

    @Test("a delta that does not lead to the weights that it promises is refused, either way")
    func promises() throws {
        let model = try tinyModel()
        let delta = try lying(model)
        let before = try model.fingerprint()
        let applied = #expect(throws: Failure.self) { try delta.apply(to: model) }
        #expect(applied?.status == UNSAY_E_FORMAT)
        #expect(applied?.sentence == "the delta does not lead to the weights that it promises")
        #expect(try model.fingerprint() == before)
        #expect(model.applied.isEmpty)
        // Taken back from the weights that it promises, it leads to others than those before.
        let weights = try model.weights()
        let next = try WeightsSnapshot(
            model.layout, model.configuration, workers: model.workers
        ) { index, values in
            weights.read(index, into: values)
            if index == 0 { values[0] = 0.25 }
        }
        let other = try Model(cloning: model, weights: next)
        let reverted = #expect(throws: Failure.self) { try delta.revert(from: other) }
        #expect(reverted?.status == UNSAY_E_FORMAT)
        #expect(try other.fingerprint() == delta.after)
    }
}

@Suite("Fingerprints")
struct FingerprintTests {
    @Test("a fingerprint is the digest of names, shapes and bits, and of nothing else")
    func definition() throws {
        var digest = SHA256()
        func add<Values: Sequence<UInt8>>(_ bytes: Values) {
            Array(bytes).withUnsafeBytes { digest.update($0) }
        }
        func number(_ value: Int, _ size: Int) -> [UInt8] {
            (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        for (parameter, values) in zip(layout.parameters, try bits(new.read)) {
            add(parameter.name.utf8)
            add([0])
            add(number(parameter.shape.count, 4))
            for dimension in parameter.shape { add(number(dimension, 8)) }
            for value in values { add(number(Int(value), 4)) }
        }
        #expect(try fingerprint(layout: layout, read: new.read) == digest.finish())
    }

    @Test("the sign of a zero changes it")
    func zero() throws {
        let other = Weights(changes: [[0, 0]: 0x8000_0000])
        #expect(
            try fingerprint(layout: layout, read: old.read)
                != fingerprint(layout: layout, read: other.read))
    }
}
