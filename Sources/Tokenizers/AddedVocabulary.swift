import CUnsay
import Support

/// The tokens that a slow tokenizer has beside its pieces, as transformers' PreTrainedTokenizer
/// puts them together: those that the files give ids to, then special tokens that have none yet.
struct AddedVocabulary: Sendable {
    /// What an id is that is more than a piece.
    enum Role: Equatable {
        /// A special token: decoding leaves it out.
        case skipped
        /// Another added token: decoding writes it apart from the pieces around it.
        case apart
    }

    /// By id: the token that is decoded and matched there.
    private(set) var tokens: [Int32: AddedToken]
    /// By spelling; of two ids the one that was added last.
    private(set) var ids: [[UInt8]: Int32] = [:]
    /// The spellings of special tokens.
    private(set) var special: Set<[UInt8]>
    /// nil where texts are not cut at added tokens.
    private(set) var splitter: AddedTokenSplitter?
    /// The ids that are more than pieces.
    private(set) var roles: [Int32: Role] = [:]
    /// Pieces spelled like an added token, whose id they get.
    private(set) var respelled: [Int32: Int32] = [:]

    /// - Parameters:
    ///   - first: tokens that have ids, in order.
    ///   - special: those that are to have one.
    ///   - pieces: the vocabulary's own spellings.
    ///   - idOfPiece: the id of such a spelling; nil if there is none.
    ///   - splits: whether texts are cut at added tokens at all.
    init(
        first: [(id: Int32, token: AddedToken)], special: [SpecialToken], pieces: PieceTable,
        idOfPiece: ([UInt8]) -> Int32?, splits: Bool
    ) throws {
        tokens = Dictionary(first.map { ($0.id, $0.token) }) { $1 }
        for (id, token) in first { ids[token.content] = id }
        self.special = Set(special.map(\.content)).subtracting([[]])

        // transformers numbers new tokens by how many spellings there are, not by the highest id.
        var known: [[UInt8]: Int32] = [:]
        for (id, token) in tokens.sorted(by: { $0.key < $1.key }) { known[token.content] = id }
        let hidden = tokens.keys.filter { Int($0) < pieces.count }.count
        func piece(_ content: [UInt8]) -> Int32? {
            guard let id = idOfPiece(content), tokens[id] == nil || known[content] == id else {
                return nil
            }
            return id
        }
        let own = known.filter { entry in
            guard let id = idOfPiece(entry.key) else { return true }
            return tokens[id] != nil
        }.count
        var next = pieces.count - hidden + own
        for entry in special where !entry.content.isEmpty {
            if entry.isPlain, ids[entry.content] != nil { continue }
            var id = known[entry.content] ?? piece(entry.content)
            if id == nil {
                id = Int32(clamping: next)
                next += 1
            }
            guard let id else { continue }
            var token = entry.token
            token.isSpecial = true
            known[entry.content] = id
            tokens[id] = token
            ids[entry.content] = id
        }
        if splits { splitter = AddedTokenSplitter(tokens: tokens, ids: ids) }
        assignRoles(pieces, idOfPiece)
    }

    private mutating func assignRoles(_ pieces: PieceTable, _ idOfPiece: ([UInt8]) -> Int32?) {
        func role(_ content: [UInt8]) -> Role { special.contains(content) ? .skipped : .apart }
        for (content, id) in ids {
            guard let own = idOfPiece(content), tokens[own] == nil else { continue }
            roles[own] = role(content)
            if own != id { respelled[own] = id }
        }
        for content in special {
            if let own = idOfPiece(content), tokens[own] == nil { roles[own] = .skipped }
            if let id = ids[content] { roles[id] = .skipped }
        }
        for (id, token) in tokens where roles[id] == nil { roles[id] = role(token.content) }
    }

    /// The id of a role's token; nil without one.
    func id(_ token: SpecialToken?) -> Int32? { token.flatMap { ids[$0.content] } }

    /// One more than the highest id.
    func count(with pieces: Int) -> Int { max(pieces, Int(tokens.keys.max() ?? -1) + 1) }
}

/// Spellings of added tokens by id, to be lent as C strings.
struct AddedSpellings: Sendable {
    private let table: PieceTable
    private let indexes: [Int32: Int32]

    init(_ tokens: [Int32: AddedToken]) throws {
        let sorted = tokens.sorted { $0.key < $1.key }
        table = try PieceTable(sorted.map(\.value.content))
        indexes = Dictionary(
            uniqueKeysWithValues: sorted.enumerated().map { ($1.key, Int32($0)) })
    }

    subscript(_ id: Int32) -> UnsafePointer<CChar>? { indexes[id].flatMap { table[$0] } }

    func bytes(of id: Int32) -> UnsafeRawBufferPointer? {
        indexes[id].flatMap { table.bytes(of: $0) }
    }
}
