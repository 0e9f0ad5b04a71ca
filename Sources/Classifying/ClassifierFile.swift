import CUnsay
import Models
import Support

/// Classifiers as files; docs/classifier.md describes them byte by byte.
extension Classifier {
    /// Writes the classifier, all or nothing.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if there is no such folder; `UNSAY_E_IO`.
    package func save(_ path: String) throws {
        let content = ClassifierFile(head, facts).bytes
        try content.withUnsafeBytes { content in
            var digest = SHA256()
            digest.update(content)
            try digest.finish().withUnsafeBytes { try Files.write([content, $0], to: path) }
        }
    }

    /// Reads a classifier for use with a model.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`; `UNSAY_E_FORMAT` if the
    ///   file is no classifier, torn or damaged; `UNSAY_E_UNSUPPORTED` if it is of a later
    ///   version; `UNSAY_E_MISMATCH` if it was trained on another encoder.
    package convenience init(_ model: Model, opening path: String) throws {
        let file = try ClassifierFile(
            parsing: Files.read(path, limit: ClassifierFile.largest), named: path)
        let width = model.configuration.dModel
        guard file.head.weights.count == width else {
            throw Failure(
                UNSAY_E_MISMATCH,
                "\(path): was trained on states of \(file.head.weights.count) numbers; those of "
                    + "this model's encoder have \(width)")
        }
        let encoder = try Encoder(of: model)
        guard file.facts.encoder == encoder.fingerprint else {
            throw Failure(
                UNSAY_E_MISMATCH,
                "\(path): was trained on the encoder \(hexadecimal(file.facts.encoder.prefix(6)))"
                    + "...; this model's is \(hexadecimal(encoder.fingerprint.prefix(6)))...")
        }
        self.init(model, encoder, file.head, file.facts)
    }
}

/// What a file holds, apart from the digest at its end.
package struct ClassifierFile: Equatable {
    private static let magic = Array("UNSAYCLS".utf8)
    private static let version: UInt32 = 1
    private static let digestSize = 32
    /// Everything before the means.
    private static let headerSize = 8 + 4 + 4 + 32 + 8 + 8 + 8 + 4
    /// Of states; a file of 8 MB.
    private static let widest = 1 << 20
    package static let largest = headerSize + 8 * widest + digestSize

    package let head: LinearHead
    package let facts: ClassifierFacts

    package init(_ head: LinearHead, _ facts: ClassifierFacts) {
        self.head = head
        self.facts = facts
    }

    package var bytes: [UInt8] {
        var bytes = Self.magic
        bytes += littleEndian(Self.version)
        bytes += littleEndian(UInt32(truncatingIfNeeded: head.weights.count))
        bytes += facts.encoder
        bytes += littleEndian(UInt64(facts.tokenCount))
        bytes += littleEndian(UInt64(facts.markedCount))
        bytes += littleEndian(facts.loss.bitPattern)
        bytes += littleEndian(head.bias.bitPattern)
        for value in head.mean + head.weights { bytes += littleEndian(value.bitPattern) }
        return bytes
    }

    /// - Parameter file: `bytes` and their digest.
    package init(parsing file: Bytes, named name: String) throws {
        let content = file.count - Self.digestSize
        guard content >= Self.headerSize,
            file.withBytes({ $0[..<Self.magic.count].elementsEqual(Self.magic) })
        else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name): expected a classifier, which begins with UNSAYCLS")
        }
        let version = file.number(at: 8, UInt32.self)
        guard version == Self.version else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(name): a classifier of version \(version); this library reads version 1")
        }
        var digest = SHA256()
        file.withBytes { digest.update(UnsafeRawBufferPointer(rebasing: $0[..<content])) }
        guard file.withBytes({ $0[content...].elementsEqual(digest.finish()) }) else {
            throw Failure(
                UNSAY_E_FORMAT, "\(name): damaged: its checksum does not match its content")
        }
        let width = Int(file.number(at: 12, UInt32.self))
        let tokens = file.number(at: 48, UInt64.self), marked = file.number(at: 56, UInt64.self)
        guard (1...Self.widest).contains(width), content == Self.headerSize + 8 * width,
            let tokenCount = Int(exactly: tokens), marked <= tokens
        else { throw Failure(UNSAY_E_FORMAT, "\(name): damaged: its parts do not add up") }
        let floats = (0...2 * width).map {
            Float(bitPattern: file.number(at: 72 + 4 * $0, UInt32.self))
        }
        head = LinearHead(
            mean: Array(floats[1...width]), weights: Array(floats[(width + 1)...]),
            bias: floats[0])
        facts = ClassifierFacts(
            encoder: file.withBytes { Array($0[16..<48]) }, tokenCount: tokenCount,
            markedCount: Int(marked),
            loss: Double(bitPattern: file.number(at: 64, UInt64.self)))
        guard head.isFinite, facts.loss.isFinite else {
            throw Failure(UNSAY_E_FORMAT, "\(name): damaged: not all of its numbers are finite")
        }
    }
}

extension Bytes {
    /// The little-endian number at an offset, which is within.
    fileprivate func number<Number: FixedWidthInteger>(
        at offset: Int, _ type: Number.Type
    ) -> Number {
        Number(
            littleEndian: withBytes { $0.loadUnaligned(fromByteOffset: offset, as: Number.self) })
    }
}
