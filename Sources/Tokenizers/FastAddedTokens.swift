/// The added tokens of a fast tokenizer, as the `tokenizers` library keeps them: spellings that
/// are ids of their own wherever a text holds them.
struct FastAddedTokens: Sendable {
    /// By id, each with its flags.
    private(set) var tokens: [Int32: AddedToken] = [:]
    private(set) var ids: [[UInt8]: Int32] = [:]
    /// The spellings that decoding leaves out.
    private(set) var special: Set<[UInt8]> = []
    /// Every token that was added, special ones first: what is looked for, the first of those
    /// spelled alike.
    private var specialList: [AddedToken] = []
    private var otherList: [AddedToken] = []
    private var highest: Int32?
    private let pieceCount: Int32

    init(pieceCount: Int) { self.pieceCount = Int32(clamping: pieceCount) }

    var searched: [AddedToken] { specialList + otherList }

    /// Adds a token. Its id is that of the piece spelled like it, else the next after all.
    mutating func add(_ token: AddedToken, idOfPiece: ([UInt8]) -> Int32?) {
        guard !token.content.isEmpty else { return }
        if token.isSpecial, special.insert(token.content).inserted { specialList.append(token) }
        if let id = ids[token.content], tokens[id] == token { return }
        let next = max(highest.map { $0 + 1 } ?? 0, pieceCount)
        let id = ids[token.content] ?? idOfPiece(token.content) ?? next
        ids[token.content] = id
        tokens[id] = token
        highest = max(highest ?? id, id)
        if !special.contains(token.content) { otherList.append(token) }
    }
}

/// Finds added tokens in a text, the longest at each place from the left.
struct FastTokenFinder: Sendable {
    struct Segment {
        var bytes: Range<Int>
        /// nil for text.
        var id: Int32?
    }

    private var trie = PieceTrie()
    /// True for every byte that a token begins with.
    private var isFirst = [Bool](repeating: false, count: 256)
    private let flags: [Int32: AddedToken]
    /// Special tokens that are left to be split like any other text.
    private let passed: Set<[UInt8]>
    let isEmpty: Bool

    /// - Parameters:
    ///   - spellings: what is looked for, of those spelled alike the first counts.
    ///   - added: the flags of each id.
    init(_ spellings: [(content: [UInt8], id: Int32)], added: FastAddedTokens, passesSpecial: Bool)
    {
        flags = added.tokens
        passed = passesSpecial ? added.special : []
        isEmpty = spellings.allSatisfy(\.content.isEmpty)
        for (content, id) in spellings {
            guard let first = content.first else { continue }
            isFirst[Int(first)] = true
            _ = trie.insert(content, id: id)
        }
    }

    /// Cuts a text at its added tokens; a token's bytes are its own, without the white space
    /// that it strips. Empty stretches are left out.
    func split(_ text: UnsafeBufferPointer<UInt8>) -> [Segment] {
        var segments: [Segment] = []
        var begin = 0, at = 0
        while at < text.count {
            guard isFirst[Int(text[at])], let (end, id) = match(text, at), let token = flags[id]
            else {
                at += 1
                continue
            }
            let start = at
            at = end
            if passed.contains(token.content) { continue }
            if token.isSingleWord,
                isWord(text[..<start], last: true) || isWord(text[end...], last: false)
            {
                continue
            }
            var (left, right) = (start, end)
            if token.stripsLeft {
                left = max(begin, start - spaces(text[..<start].reversed(), isReversed: true))
            }
            if token.stripsRight { right = end + spaces(text[end...], isReversed: false) }
            if begin < left { segments.append(Segment(bytes: begin..<left, id: nil)) }
            segments.append(Segment(bytes: start..<end, id: id))
            begin = right
        }
        if begin < text.count { segments.append(Segment(bytes: begin..<text.count, id: nil)) }
        return segments
    }

    private func match(_ text: UnsafeBufferPointer<UInt8>, _ begin: Int) -> (end: Int, id: Int32)? {
        var node = PieceTrie.root
        var longest: (Int, Int32)?
        for at in begin..<text.count {
            node = trie.step(node, text[at])
            if node == PieceTrie.none { break }
            let id = trie.id(at: node)
            if id >= 0 { longest = (at + 1, id) }
        }
        return longest
    }

    /// How many bytes of white space a text begins with; or ends with, if it is given backwards.
    private func spaces(_ bytes: some Sequence<UInt8>, isReversed: Bool) -> Int {
        var count = 0
        var pending: [UInt8] = []
        for byte in bytes {
            pending.append(byte)
            let isWhole =
                isReversed
                ? byte & 0xC0 != 0x80 : pending.count == characterLength(pending[0])
            guard isWhole || pending.count < 4 else { break }
            guard isWhole else { continue }
            let text = String(decoding: isReversed ? pending.reversed() : pending, as: UTF8.self)
            guard let scalar = text.unicodeScalars.first, isWhiteSpace(scalar) else { break }
            count += pending.count
            pending.removeAll(keepingCapacity: true)
        }
        return count
    }

    /// True if the character next to a token is one of a word: `\w` of regular expressions.
    private func isWord(_ text: Slice<UnsafeBufferPointer<UInt8>>, last: Bool) -> Bool {
        var begin = text.startIndex
        if last {
            guard !text.isEmpty else { return false }
            begin = text.endIndex - 1
            while begin > text.startIndex, text[begin] & 0xC0 == 0x80 { begin -= 1 }
        }
        let rest = String(decoding: text[begin...].prefix(4), as: UTF8.self)
        guard let scalar = rest.unicodeScalars.first else { return false }
        let properties = scalar.properties
        return properties.isAlphabetic || properties.numericType == .decimal
            || properties.generalCategory == .connectorPunctuation
            || [.nonspacingMark, .spacingMark, .enclosingMark].contains(properties.generalCategory)
    }
}
