import CUnsay
import Glibc
import Models
import Patching
import Support
import T5
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

@Suite("Deltas")
struct DeltaTests {
    @Test("a delta applies and reverts to the bit, NaNs and zeros of either sign included")
    func exact() throws {
        let delta = try makeDelta(old, new)
        #expect(
            try bits(delta.applied(to: old.read, layout: layout, reverting: false))
                == bits(new.read))
        #expect(
            try bits(delta.applied(to: new.read, layout: layout, reverting: true)) == bits(old.read)
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
                try bits(opened.applied(to: old.read, layout: layout, reverting: false))
                    == bits(new.read))
            try opened.save(path)
            #expect(
                try bits(Delta.open(path).applied(to: new.read, layout: layout, reverting: true))
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

    @Test("a file that lies under a right checksum is refused at opening or at use")
    func forged() throws {
        try withPath { path in
            try makeDelta(old, small).save(path)
            let whole = try Files.read(path, limit: 1 << 20).withBytes(Array.init)
            for index in 12..<(whole.count - 32) {
                for mask: UInt8 in [0x01, 0x80, 0xFF] {
                    var content = Array(whole[..<(whole.count - 32)])
                    content[index] ^= mask
                    var digest = SHA256()
                    content.withUnsafeBytes { digest.update($0) }
                    try write(content + digest.finish(), path)
                    // Some bytes, such as the fingerprints, may hold anything: the point is
                    // that every other is refused in order, and none ends the process.
                    do {
                        _ = try bits(
                            Delta.open(path).applied(to: old.read, layout: layout, reverting: false)
                        )
                    } catch let failure as Failure {
                        #expect([UNSAY_E_FORMAT, UNSAY_E_MISMATCH].contains(failure.status))
                    }
                }
            }
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
