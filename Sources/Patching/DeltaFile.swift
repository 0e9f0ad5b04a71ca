import CUnsay
import Models
import Support
import T5

/// Deltas as files; docs/delta-format.md describes them byte by byte.
extension Delta {
    private static let magic = Array("UNSAYDLT".utf8)
    /// 2 where a weight is changed by factors: readers of 1 alone know nothing of those.
    private static let versions: ClosedRange<UInt32> = 1...2
    private static let digestSize = 32
    /// Everything before the metadata.
    private static let headerSize = 8 + 4 + 4 + 32 + 32 + 8 + 8 + 8

    /// Writes the delta, all or nothing.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if there is no such folder; `UNSAY_E_IO`.
    package func save(_ path: String) throws {
        let text = Array(metadata.text().utf8)
        var head = Self.magic
        let version = tensors.contains { $0.factors != nil } ? 2 : 1
        head += littleEndian(UInt32(version))
        head += littleEndian(UInt32(truncatingIfNeeded: tensors.count))
        head += before
        head += after
        head += littleEndian(changedCount)
        head += littleEndian(changeNorm.bitPattern)
        head += littleEndian(UInt64(text.count))
        head += text

        var heads = [try block(head)]
        var parts = [heads[0].buffer]
        for tensor in tensors {
            heads.append(try block(Self.header(of: tensor, version: version)))
            parts.append(heads[heads.count - 1].buffer)
            parts.append(UnsafeRawBufferPointer(rebasing: tensor.block.buffer[tensor.packed]))
        }
        // The parts point into the heads and into this delta's own memory.
        try withExtendedLifetime((heads, self)) {
            var digest = SHA256()
            for part in parts { digest.update(part) }
            try digest.finish().withUnsafeBytes { try Files.write(parts + [$0], to: path) }
        }
    }

    private func block(_ bytes: [UInt8]) throws -> Bytes {
        try Bytes(capacity: bytes.count, purpose: "a delta's header") { out in
            out.copyBytes(from: bytes)
            return bytes.count
        }
    }

    private static func header(of tensor: DeltaTensor, version: Int) -> [UInt8] {
        let name = Array(tensor.name.utf8)
        var bytes = littleEndian(UInt16(truncatingIfNeeded: name.count))
        bytes += littleEndian(UInt16(truncatingIfNeeded: tensor.shape.count))
        bytes += name
        for dimension in tensor.shape { bytes += littleEndian(UInt64(dimension)) }
        bytes += littleEndian(tensor.changedCount)
        bytes += littleEndian(UInt64(tensor.packed.count))
        guard version > 1 else { return bytes }
        bytes += littleEndian(UInt32(tensor.factors?.rank ?? 0))
        for value in (tensor.factors?.a ?? []) + (tensor.factors?.b ?? []) {
            bytes += littleEndian(value.bitPattern)
        }
        return bytes
    }

    /// Reads a delta.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`; `UNSAY_E_FORMAT` if the
    ///   file is no delta, torn or damaged; `UNSAY_E_UNSUPPORTED` if it is of a later version.
    package static func open(_ path: String) throws -> Delta {
        try parse(try Files.read(path, limit: 1 << 40), named: path)
    }

    /// Reads a delta from a file's bytes; see `open`.
    package static func parse(_ file: Bytes, named name: String) throws -> Delta {
        let content = file.count - digestSize
        guard content >= headerSize,
            file.withBytes({ $0[..<magic.count].elementsEqual(magic) })
        else {
            throw Failure(UNSAY_E_FORMAT, "\(name): expected a delta, which begins with UNSAYDLT")
        }
        var reader = DeltaReader(file, from: magic.count, to: content, named: name)
        let version = try reader.number(UInt32.self)
        guard versions.contains(version) else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(name): a delta of version \(version); this library reads versions 1 and 2")
        }
        var digest = SHA256()
        file.withBytes { digest.update(UnsafeRawBufferPointer(rebasing: $0[..<content])) }
        guard file.withBytes({ $0[content...].elementsEqual(digest.finish()) }) else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name): damaged: its checksum does not match its content")
        }

        let count = try reader.number(UInt32.self)
        let before = try reader.bytes(32), after = try reader.bytes(32)
        let changedCount = try reader.number(UInt64.self)
        let changeNorm = Double(bitPattern: try reader.number(UInt64.self))
        let metadata = try reader.range(size: try reader.number(UInt64.self))
        let json = try file.withBytes {
            try JSON(
                parsing: UnsafeRawBufferPointer(rebasing: $0[metadata]), named: "\(name): metadata")
        }
        var tensors: [DeltaTensor] = []
        for _ in 0..<count { tensors.append(try reader.tensor(version: version)) }
        let delta = Delta(
            before: before, after: after, tensors: tensors, changeNorm: changeNorm, metadata: json)
        guard reader.isAtEnd, delta.changedCount == changedCount else {
            throw Failure(UNSAY_E_FORMAT, "\(name): damaged: its parts do not add up")
        }
        return delta
    }
}

/// Reads the parts of a delta file in order and never beyond its end.
private struct DeltaReader {
    private let file: Bytes
    private var offset: Int
    private let end: Int
    private let name: String

    init(_ file: Bytes, from offset: Int, to end: Int, named name: String) {
        self.file = file
        self.offset = offset
        self.end = end
        self.name = name
    }

    var isAtEnd: Bool { offset == end }

    mutating func range(size: UInt64) throws -> Range<Int> {
        guard let size = Int(exactly: size), size <= end - offset else {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(name): torn: \(size) bytes expected at byte \(offset), \(end - offset) left")
        }
        defer { offset += size }
        return offset..<(offset + size)
    }

    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type) throws -> Number {
        let range = try range(size: UInt64(MemoryLayout<Number>.size))
        return Number(
            littleEndian: file.withBytes {
                $0.loadUnaligned(fromByteOffset: range.lowerBound, as: Number.self)
            })
    }

    mutating func bytes(_ size: UInt64) throws -> [UInt8] {
        let range = try range(size: size)
        return file.withBytes { Array($0[range]) }
    }

    mutating func tensor(version: UInt32) throws -> DeltaTensor {
        let nameSize = try number(UInt16.self), rank = try number(UInt16.self)
        let name = String(decoding: try bytes(UInt64(nameSize)), as: UTF8.self)
        var shape: [Int] = []
        var count = 1
        for _ in 0..<rank {
            let dimension = try number(UInt64.self)
            guard let size = Int(exactly: dimension), size > 0 else {
                throw impossible(name, "a dimension of \(dimension)")
            }
            let (product, overflows) = count.multipliedReportingOverflow(by: size)
            guard !overflows, product <= Int.max / 4 else {
                throw impossible(name, "more values than can be counted")
            }
            shape.append(size)
            count = product
        }
        let changed = try number(UInt64.self)
        guard changed > 0, changed <= UInt64(count) else {
            throw impossible(name, "\(changed) changed values of \(count)")
        }
        let size = try number(UInt64.self)
        let factors = version > 1 ? try self.factors(shape, of: name) : nil
        return DeltaTensor(
            name: name, shape: shape, changedCount: changed, factors: factors, block: file,
            packed: try range(size: size))
    }

    /// The factors of a weight of that shape; nil where the rank is 0.
    private mutating func factors(_ shape: [Int], of name: String) throws -> LowRank? {
        let rank = Int(try number(UInt32.self))
        guard rank > 0 else { return nil }
        guard shape.count == 2, rank <= 1 << 16 else {
            throw impossible(name, "factors of rank \(rank) for a weight \(shape)")
        }
        return LowRank(
            a: try floats(rank * shape[1]), b: try floats(shape[0] * rank), rank: rank)
    }

    private mutating func floats(_ count: Int) throws -> [Float] {
        let range = try range(size: UInt64(count) * 4)
        return file.withBytes { bytes in
            stride(from: range.lowerBound, to: range.upperBound, by: 4).map {
                Float(
                    bitPattern: UInt32(
                        littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self)))
            }
        }
    }

    private func impossible(_ tensor: String, _ found: String) -> Failure {
        Failure(UNSAY_E_FORMAT, "\(name): damaged: \(tensor) has \(found)")
    }
}
