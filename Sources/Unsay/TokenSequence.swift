import Models
import Tokenizers

/// A text, or its token ids: wherever the library takes one, it takes the other.
///
/// `String`, `Substring`, `[Int32]` and ``Output`` are such; an output stands for its very ids.
public protocol TokenSequence: Sendable {
    var content: TokenContent { get }
}

/// What a ``TokenSequence`` is made of.
public enum TokenContent: Sendable, Equatable {
    /// Is split into ids, the end-of-sequence id last.
    case text(String)
    /// Are taken as they are.
    case ids([Int32])
}

extension String: TokenSequence {
    public var content: TokenContent { .text(self) }
}

extension Substring: TokenSequence {
    public var content: TokenContent { .text(String(self)) }
}

extension Array: TokenSequence where Element == Int32 {
    public var content: TokenContent { .ids(self) }
}

/// The ids of a text and what is behind each.
public struct Encoding: Sendable, Equatable {
    /// The end-of-sequence id last.
    public let ids: [Int32]
    /// The bytes of the text's UTF-8 behind each id; empty for the last.
    public let spans: [Range<Int>]
}

extension Models.Model {
    /// The ids of a sequence, checked.
    func ids(_ sequence: some TokenSequence, _ name: String) throws -> [Int32] {
        try tokens(sequence, name).map(\.id)
    }

    func ids(_ sequences: [some TokenSequence], _ name: String) throws -> [[Int32]] {
        try sequences.enumerated().map { try ids($0.element, "\(name)[\($0.offset)]") }
    }

    /// The ids of a sequence and the bytes behind each; for ids, of the text they decode to.
    func tokens(
        _ sequence: some TokenSequence, _ name: String, spans: Bool = false
    ) throws -> [Token] {
        switch sequence.content {
        case .text(let text):
            return try Array(text.utf8).withUnsafeBufferPointer { try encode($0) }
        case .ids(let ids):
            try check(ids, named: name)
            if spans { return try requireTokenizer().spell(ids).tokens }
            return ids.map { Token(id: $0, begin: 0, end: 0) }
        }
    }

    /// The text of a sequence, or what its ids decode to, with its tokens.
    func spelling(_ sequence: some TokenSequence, _ name: String) throws -> Spelling {
        switch sequence.content {
        case .text(let text):
            return Spelling(text: Array(text.utf8), tokens: try tokens(sequence, name))
        case .ids(let ids):
            try check(ids, named: name)
            return try requireTokenizer().spell(ids)
        }
    }

    /// The ids of a run of tokens: as given, or of a text without the end.
    func run(_ sequence: any TokenSequence, _ name: String) throws -> [Int32] {
        var isText = false
        if case .text = sequence.content { isText = true }
        return try run(ids(sequence, name), isText: isText, named: name)
    }

    func runs(_ sequences: [any TokenSequence], _ name: String) throws -> [[Int32]] {
        try sequences.enumerated().map { try run($0.element, "\(name)[\($0.offset)]") }
    }

    func text(_ ids: [Int32]) throws -> String {
        String(decoding: try decode(ids), as: UTF8.self)
    }
}
