import CUnsay
import Support
import T5

/// Deltas as files; docs/delta-format.md describes them byte by byte.
extension Delta {
    /// Version 2 where a weight is changed by factors, 3 where the head gets a weight of its own:
    /// readers of less know nothing of those.
    private static let format = SealedFile(word: "UNSAYDLT", noun: "delta", latest: 3)
    /// A tensor without a name, of one dimension and with nothing packed.
    private static let smallestTensor = 2 + 2 + 8 + 8 + 8

    /// Writes the delta, all or nothing.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if there is no such folder; `UNSAY_E_IO`.
    package func save(_ path: some PathConvertible) throws {
        let hasFactors = tensors.contains { $0.factors != nil }
        let version: UInt32 = separatesHead ? 3 : hasFactors ? 2 : 1
        var file = Self.format.writer(version: version)
        file.append(UInt32(truncatingIfNeeded: tensors.count))
        file.append(before)
        file.append(after)
        file.append(changedCount)
        file.append(changeNorm.bitPattern)
        file.append(metadata)
        for tensor in tensors {
            file.append(UInt16(truncatingIfNeeded: tensor.name.utf8.count))
            file.append(UInt16(truncatingIfNeeded: tensor.shape.count))
            file.append(tensor.name.utf8)
            for dimension in tensor.shape { file.append(UInt64(dimension)) }
            file.append(tensor.changedCount)
            file.append(UInt64(tensor.packed.count))
            if version > 1 {
                file.append(UInt32(tensor.factors?.rank ?? 0))
                file.append(tensor.factors?.a ?? [])
                file.append(tensor.factors?.b ?? [])
            }
            if version > 2 { file.append(UInt32(tensor.isFromTable ? 1 : 0)) }
            file.append(borrowing: tensor.packed.buffer)
        }
        // The packed bytes are this delta's own.
        try withExtendedLifetime(self) { try file.write(to: path) }
    }

    /// Reads a delta.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`; `UNSAY_E_FORMAT` if the
    ///   file is no delta, torn or damaged; `UNSAY_E_UNSUPPORTED` if it is of a later version.
    package static func open(_ path: some PathConvertible) throws -> Delta {
        try parse(try Files.read(path, limit: 1 << 40), named: "\(path.path)")
    }

    /// Reads a delta from a file's bytes; see `open`.
    package static func parse(_ bytes: Bytes, named name: String) throws -> Delta {
        var file = try format.reader(of: bytes, named: name)
        let count = try file.count(
            "number of tensors", UInt32.self, in: 0...bytes.count / smallestTensor)
        let before = try file.slice(32, "fingerprint before").bytes
        let after = try file.slice(32, "fingerprint after").bytes
        let changedCount = try file.number("number of changed values", UInt64.self)
        let changeNorm = Double(bitPattern: try file.number("norm of the change", UInt64.self))
        // Weights that are not numbers have a norm that is none.
        guard changeNorm >= 0 || changeNorm.isNaN else {
            throw file.damaged("norm of the change", "\(changeNorm)", expected: "0 or more")
        }
        let metadata = try file.json("metadata")
        try Memory.require(
            count, bytes: MemoryLayout<DeltaTensor>.stride, for: "tensors of \(name)")
        let tensors = try (0..<count).map { try tensor(&file, "tensor \($0)") }
        try file.finish()
        let delta = Delta(
            before: before, after: after, tensors: tensors, changeNorm: changeNorm,
            metadata: metadata)
        guard delta.changedCount == changedCount else {
            throw file.damaged(
                "number of changed values", "\(changedCount)",
                expected: "the sum of the tensors', \(delta.changedCount)")
        }
        return delta
    }

    private static func tensor(_ file: inout SealedReader, _ label: String) throws -> DeltaTensor {
        let nameSize = try file.count("\(label): size of the name", UInt16.self)
        let rank = try file.count("\(label): rank", UInt16.self, in: 1...2)
        let name = String(
            decoding: try file.slice(nameSize, "\(label): name").bytes, as: UTF8.self)
        var count = 1
        let shape = try (0..<rank).map { _ in
            // The weight's bytes, 4 a value, can be counted.
            let dimension = try file.count("\(name): dimension", in: 1...Int.max / 4 / count)
            count *= dimension  // checked: by the range of the dimension
            return dimension
        }
        // A head of its own is a change even where it holds what the table does.
        let changed = try file.count(
            "\(name): number of changed values", in: (file.version > 2 ? 0 : 1)...count)
        let packedSize = try file.count("\(name): size of the packed difference")
        let factors = file.version > 1 ? try factors(&file, shape, of: name) : nil
        let isHead = name == "lm_head.weight"
        let origin =
            file.version > 2
            ? try file.count("\(name): origin", UInt32.self, in: 0...(isHead ? 1 : 0)) : 0
        guard changed > 0 || origin == 1 else {
            throw file.damaged(
                "\(name): number of changed values", "0", expected: "in 1...\(count)")
        }
        return DeltaTensor(
            name: name, shape: shape, changedCount: UInt64(changed), isFromTable: origin == 1,
            factors: factors, packed: try file.slice(packedSize, "\(name): packed difference"))
    }

    /// The factors of a weight of that shape; nil where the rank is 0, as of a vector.
    private static func factors(
        _ file: inout SealedReader, _ shape: [Int], of name: String
    ) throws -> LowRank? {
        let rank = try file.count(
            "\(name): rank of the factors", UInt32.self, in: 0...(shape.count == 2 ? 1 << 16 : 0))
        guard rank > 0 else { return nil }
        let a = try file.floats([rank, shape[1]], "\(name): factor a")
        let b = try file.floats([shape[0], rank], "\(name): factor b")
        try Memory.require(a.count + b.count, bytes: 1, for: "the factors of \(name)")
        return LowRank(a: Array(a.floats), b: Array(b.floats), rank: rank)
    }
}
