import CUnsay

/// A kind of sealed file: 8 bytes that name the kind, 4 bytes of version, what the kind holds, and
/// the SHA-256 of all before it. Numbers are little-endian, and nothing is aligned.
package struct SealedFile: Sendable {
    /// 8 characters of ASCII.
    private let word: String
    /// What messages call such a file, e.g. "delta".
    private let noun: String
    /// This library reads version 1 to this one.
    private let latest: UInt32

    package init(word: String, noun: String, latest: UInt32) {
        (self.word, self.noun, self.latest) = (word, noun, latest)
    }

    package func writer(version: UInt32) -> SealedWriter {
        SealedWriter(bytes: Array(word.utf8) + littleEndian(version))
    }

    /// Checks word, version and digest of a file; what lies between is to be read field by field.
    ///
    /// - Throws: `UNSAY_E_FORMAT` if it is of another kind, torn or damaged;
    ///   `UNSAY_E_UNSUPPORTED` if it is of a later version.
    package func reader(of bytes: Bytes, named name: String) throws -> SealedReader {
        let content = bytes.count - 32
        guard content >= 12, bytes[0..<8].bytes.elementsEqual(word.utf8) else {
            try bytes.withBytes { file in
                if file.starts(with: word.utf8) { return }
                try MistakenFile.refuse(file, named: name, expecting: .otherBinary)
            }
            throw Failure(
                UNSAY_E_FORMAT, "\(name): expected a \(noun), which begins with \(word)")
        }
        var file = SealedReader(name: name, file: bytes, rest: 8..<content)
        file.version = try file.number("version", UInt32.self)
        guard file.version >= 1, file.version <= latest else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(name): a \(noun) of version \(file.version); this library reads 1 to \(latest)")
        }
        guard bytes[content..<bytes.count].bytes == sha256([bytes[0..<content].buffer]) else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name): damaged: its checksum does not match its content")
        }
        return file
    }
}

/// A sealed file in the making.
package struct SealedWriter {
    /// Everything but what is borrowed.
    var bytes: [UInt8]
    /// Bytes of other owners, and how many of `bytes` come before them.
    var borrowed: [(UnsafeRawBufferPointer, Int)] = []

    package mutating func append(_ more: some Sequence<UInt8>) { bytes += more }
    package mutating func append(_ number: some FixedWidthInteger) { bytes += littleEndian(number) }
    package mutating func append(_ values: [Float]) { values.forEach { append($0.bitPattern) } }

    /// Appends the size of a JSON text in 8 bytes, then the text.
    package mutating func append(_ json: JSON) {
        let text = Array(json.text().utf8)
        append(UInt64(text.count))
        append(text)
    }

    /// Appends bytes that are not copied: they must live until the file is written.
    package mutating func append(borrowing more: UnsafeRawBufferPointer) {
        borrowed.append((more, bytes.count))
    }

    /// Writes the file, all or nothing.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if there is no such folder; `UNSAY_E_IO`.
    package func write(to path: some PathConvertible) throws {
        try bytes.withUnsafeBytes { bytes in
            var parts: [UnsafeRawBufferPointer] = []
            var begin = 0
            for (more, end) in borrowed + [
                (UnsafeRawBufferPointer(start: nil, count: 0), bytes.count)
            ] {
                parts += [UnsafeRawBufferPointer(rebasing: bytes[begin..<end]), more]
                begin = end
            }
            try sha256(parts).withUnsafeBytes { try Files.write(parts + [$0], to: path) }
        }
    }
}

/// Reads the fields of a sealed file in order, never beyond its end.
///
/// Every failure is `UNSAY_E_FORMAT`, or `UNSAY_E_MEMORY`, and names the file and the field.
package struct SealedReader {
    package internal(set) var version: UInt32 = 0
    let name: String
    let file: Bytes
    /// What is not read yet.
    var rest: Range<Int>

    package func damaged(_ field: String, _ found: String, expected: String) -> Failure {
        Failure(UNSAY_E_FORMAT, "\(name): damaged: \(field) is \(found); it must be \(expected)")
    }

    package mutating func number<Number: FixedWidthInteger>(
        _ field: String, _ type: Number.Type
    ) throws -> Number {
        try slice(MemoryLayout<Number>.size, field).withBytes {
            Number(littleEndian: $0.loadUnaligned(as: Number.self))
        }
    }

    /// A number that has to lie in a range.
    package mutating func count(
        _ field: String, _ type: (some FixedWidthInteger).Type = UInt64.self,
        in range: ClosedRange<Int> = 0...Int.max
    ) throws -> Int {
        let number = try number(field, type)
        guard let count = Int(exactly: number), range.contains(count) else {
            throw damaged(field, "\(number)", expected: "in \(range)")
        }
        return count
    }

    /// A JSON text after its size in 8 bytes.
    package mutating func json(_ field: String) throws -> JSON {
        try slice(count("size of \(field)"), field).withBytes {
            try JSON(parsing: $0, named: "\(name): \(field)")
        }
    }

    /// Finite floats of a shape, whose dimensions are 0 or more.
    package mutating func floats(_ shape: [Int], _ field: String) throws -> Bytes.Slice {
        let size = shape.reduce(MemoryLayout<Float>.size) { size, dimension in
            let (product, overflow) = size.multipliedReportingOverflow(by: dimension)
            // No file has so many bytes.
            return overflow ? Int.max : product
        }
        let content = try slice(size, field)
        guard content.floats.allSatisfy(\.isFinite) else {
            throw damaged(field, "not finite", expected: "finite numbers")
        }
        return content
    }

    /// So many bytes as they are.
    package mutating func slice(_ count: Int, _ field: String) throws -> Bytes.Slice {
        guard count >= 0, count <= rest.count else {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(name): damaged: \(field) takes \(count) bytes; \(rest.count) are left")
        }
        defer { rest.removeFirst(count) }
        return file[rest.prefix(count)]
    }

    /// Checks that every byte has been read.
    package func finish() throws {
        guard rest.isEmpty else {
            throw Failure(UNSAY_E_FORMAT, "\(name): damaged: \(rest.count) bytes follow its end")
        }
    }
}

private func sha256(_ parts: [UnsafeRawBufferPointer]) -> [UInt8] {
    var digest = SHA256()
    for part in parts { digest.update(part) }
    return digest.finish()
}

/// The bytes of a number, lowest first.
package func littleEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}
