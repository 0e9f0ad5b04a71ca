import CUnsay
import Models
import Support

/// Classifiers as files; docs/classifier.md describes them byte by byte.
extension Classifier {
    /// Writes the classifier, all or nothing.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if there is no such folder; `UNSAY_E_IO`.
    package func save(_ path: some PathConvertible) throws {
        try ClassifierFile(head, facts).save(path)
    }

    /// Reads a classifier for use with a model.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND`, `UNSAY_E_IO`, `UNSAY_E_MEMORY`; `UNSAY_E_FORMAT` if the
    ///   file is no classifier, torn or damaged; `UNSAY_E_UNSUPPORTED` if it is of a later
    ///   version; `UNSAY_E_MISMATCH` if it was trained on another encoder.
    package convenience init(_ model: Model, opening path: some PathConvertible) throws {
        try self.init(
            model, parsing: Files.read(path, limit: ClassifierFile.largest), named: "\(path.path)")
    }

    /// Reads a classifier from a file's bytes; see `init(_:opening:)`.
    package convenience init(_ model: Model, parsing bytes: Bytes, named path: String) throws {
        let file = try ClassifierFile(parsing: bytes, named: path)
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
    private static let format = SealedFile(word: "UNSAYCLS", noun: "classifier", latest: 1)
    /// Of states; a file of 8 MB.
    private static let widest = 1 << 20
    /// 108: all but means and weights, as docs/classifier.md has it.
    package static let largest = 108 + 8 * widest  // checked: constants

    package let head: LinearHead
    package let facts: ClassifierFacts

    package init(_ head: LinearHead, _ facts: ClassifierFacts) {
        self.head = head
        self.facts = facts
    }

    package func save(_ path: some PathConvertible) throws {
        var file = Self.format.writer(version: 1)
        file.append(UInt32(truncatingIfNeeded: head.weights.count))
        file.append(facts.encoder)
        file.append(UInt64(facts.tokenCount))
        file.append(UInt64(facts.markedCount))
        file.append(facts.loss.bitPattern)
        file.append([head.bias] + head.mean + head.weights)
        try file.write(to: path)
    }

    package init(parsing bytes: Bytes, named name: String) throws {
        var file = try Self.format.reader(of: bytes, named: name)
        let width = try file.count("d_model", UInt32.self, in: 1...Self.widest)
        let encoder = try file.slice(32, "fingerprint of the encoder").bytes
        let tokenCount = try file.count("number of tokens")
        let markedCount = try file.count("number of marked tokens", in: 0...tokenCount)
        let loss = Double(bitPattern: try file.number("loss", UInt64.self))
        guard loss.isFinite else { throw file.damaged("loss", "\(loss)", expected: "finite") }
        let bias = Array(try file.floats([1], "b").floats)
        let mean = Array(try file.floats([width], "mean").floats)
        let weights = Array(try file.floats([width], "w").floats)
        try file.finish()
        head = LinearHead(mean: mean, weights: weights, bias: bias[0])
        facts = ClassifierFacts(
            encoder: encoder, tokenCount: tokenCount, markedCount: markedCount, loss: loss)
    }
}
