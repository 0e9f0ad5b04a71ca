import CUnsay
import Models
import Support
import Tokenizers

#if canImport(Glibc)
    import Glibc
#endif

/// The bytes of a text argument; `size` is SIZE_MAX where it ends with a NUL.
func textBytes(
    _ text: UnsafePointer<CChar>?, _ size: Int, _ name: String
) throws -> UnsafeBufferPointer<UInt8> {
    let text = try require(text, name)
    // SIZE_MAX arrives as -1.
    let count = size == -1 ? strlen(text) : size
    guard isPossible(text, count) else {
        throw Failure(UNSAY_E_ARGUMENT, "the size of \(name) is \(UInt(bitPattern: size))")
    }
    return UnsafeRawBufferPointer(start: text, count: count).assumingMemoryBound(to: UInt8.self)
}

extension Model {
    /// The ids of a sequence, checked: of a text with the end last, or as they were given.
    func ids(_ sequence: unsay_sequence, _ name: String) throws -> [Int32] {
        try tokens(sequence, name).map(\.id)
    }

    /// The ids of a sequence and the bytes behind each; for ids given as such, of the text
    /// they decode to.
    func tokens(
        _ sequence: unsay_sequence, _ name: String, spans: Bool = false
    ) throws -> [Token] {
        if let text = try text(sequence, name) { return try encode(text) }
        let given = try givenIDs(sequence, name)
        if spans { return try requireTokenizer().spell(given).tokens }
        return given.map { Token(id: $0, begin: 0, end: 0) }
    }

    /// The text of a sequence, or what its ids decode to, with its tokens.
    func spelling(_ sequence: unsay_sequence, _ name: String) throws -> Spelling {
        guard let text = try text(sequence, name) else {
            return try requireTokenizer().spell(givenIDs(sequence, name))
        }
        let tokens = try encode(text)
        return Spelling(text: Array(text), tokens: tokens)
    }

    /// nil where the sequence is given as ids.
    private func text(
        _ sequence: unsay_sequence, _ name: String
    ) throws -> UnsafeBufferPointer<UInt8>? {
        guard sequence.text != nil else { return nil }
        guard sequence.ids == nil else {
            throw Failure(UNSAY_E_ARGUMENT, "\(name) has both a text and ids: set one")
        }
        return try textBytes(sequence.text, sequence.text_size, "\(name).text")
    }

    private func givenIDs(_ sequence: unsay_sequence, _ name: String) throws -> [Int32] {
        let given = try requireArray(sequence.ids, sequence.id_count, "\(name).ids")
        try check(given, named: name)
        return Array(given)
    }

    /// The ids of several sequences.
    func ids(
        _ sequences: UnsafePointer<unsay_sequence>?, _ count: Int, _ name: String
    ) throws -> [[Int32]] {
        try requireArray(sequences, count, name).enumerated().map {
            try ids($0.element, "\(name)[\($0.offset)]")
        }
    }
}
