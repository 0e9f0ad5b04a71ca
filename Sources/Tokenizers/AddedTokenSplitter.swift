/// A stretch of a text: an added token, or what lies between two of them.
struct TextSegment {
    /// The bytes of the text that it is made of, in order; more than one range where the white
    /// space between them was taken out.
    var parts: [Range<Int>]
    /// nil for text.
    var id: Int32?

    /// The place of the whole, what was taken out included.
    var bytes: Range<Int> {
        guard let first = parts.first, let last = parts.last else { return 0..<0 }
        return first.lowerBound..<last.upperBound
    }
}

/// Cuts a text at its added tokens as transformers' slow tokenizers do, odd as some of it is.
struct AddedTokenSplitter: Sendable {
    /// Ends of added tokens, by the index of the token.
    private var trie = PieceTrie()
    /// True for every byte that an added token begins with.
    private var isFirst = [Bool](repeating: false, count: 256)
    private let tokens: [AddedToken]
    private let ids: [[UInt8]: Int32]
    private let flags: [Int32: AddedToken]
    private let longest: Int

    /// - Parameters:
    ///   - tokens: by id.
    ///   - ids: of every spelling.
    init(tokens: [Int32: AddedToken], ids: [[UInt8]: Int32]) {
        self.tokens = Array(tokens.values)
        self.ids = ids
        flags = tokens
        longest = ids.keys.map(\.count).max() ?? 0
        for (index, token) in self.tokens.enumerated() {
            guard let first = token.content.first else { continue }
            isFirst[Int(first)] = true
            _ = trie.insert(token.content, id: Int32(index))
        }
    }

    /// - Parameter text: valid UTF-8.
    func split(_ text: UnsafeBufferPointer<UInt8>) -> [TextSegment] {
        var segments = cut(text, at: cuts(text)).map { TextSegment(parts: [$0], id: nil) }
        for index in segments.indices {
            guard let id = id(of: segments[index], text), let token = flags[id] else { continue }
            strip(around: index, token, text, &segments)
        }
        return segments.compactMap { segment in
            guard segment.parts.contains(where: { !$0.isEmpty }) else { return nil }
            return TextSegment(parts: segment.parts, id: id(of: segment, text))
        }
    }

    private func id(of segment: TextSegment, _ text: UnsafeBufferPointer<UInt8>) -> Int32? {
        guard segment.parts.reduce(0, { $0 + $1.count }) <= longest else { return nil }
        return ids[segment.parts.flatMap { text[$0] }]
    }

    /// Takes the white space out that a token strips, and joins a token that must be a word to
    /// its neighbour if it is not.
    private func strip(
        around index: Int, _ token: AddedToken, _ text: UnsafeBufferPointer<UInt8>,
        _ segments: inout [TextSegment]
    ) {
        func neighbour(_ place: Int) -> [Range<Int>]? {
            guard segments.indices.contains(place) else { return nil }
            let parts = segments[place].parts.filter { !$0.isEmpty }
            return parts.isEmpty ? nil : parts
        }
        let left = neighbour(index - 1), right = neighbour(index + 1)
        if token.stripsRight, var parts = right {
            while let first = parts.first {
                parts[0] = trimStart(first, of: text)
                guard parts[0].isEmpty else { break }
                parts.removeFirst()
            }
            segments[index + 1].parts = parts
        }
        if token.stripsLeft, var parts = left {
            while let last = parts.last {
                parts[parts.count - 1] = trimEnd(last, of: text)
                guard parts[parts.count - 1].isEmpty else { break }
                parts.removeLast()
            }
            segments[index - 1].parts = parts
        }
        guard token.isSingleWord else { return }
        let space = UInt8(ascii: " ")
        if let left, let last = left.last, text[last.upperBound - 1] != space {
            segments[index - 1].parts += segments[index].parts
            segments[index].parts = []
        } else if let right, let first = right.first, text[first.lowerBound] != space {
            segments[index + 1].parts = segments[index].parts + segments[index + 1].parts
            segments[index].parts = []
        }
    }

    // MARK: transformers' Trie.split

    /// A place where a token may have begun, and how far into the trie it has come.
    private struct State {
        let start: Int
        var node: PieceTrie.Node
    }

    private func isEnd(_ node: PieceTrie.Node) -> Bool { trie.id(at: node) >= 0 }

    /// The node that the character at `at` leads to; nil if there is none.
    private func step(
        _ node: PieceTrie.Node, _ text: UnsafeBufferPointer<UInt8>, _ at: Int
    ) -> PieceTrie.Node? {
        var node = node
        for index in at..<(at + characterLength(text[at])) {
            node = trie.step(node, text[index])
            if node == PieceTrie.none { return nil }
        }
        return node
    }

    /// Where the text is cut: the start and the end of every token found.
    private func cuts(_ text: UnsafeBufferPointer<UInt8>) -> [Int] {
        var offsets = [0]
        var states: [State] = []
        var skip = 0, current = 0
        while current < text.count {
            if states.isEmpty && !isFirst[Int(text[current])] || current < skip {
                current += 1
                continue
            }
            var failed: Set<Int> = []
            var isFound = false
            for index in states.indices {
                if isEnd(states[index].node) {
                    let found = lookAhead(text, states, from: states[index].start, current, &skip)
                    offsets += [found.lowerBound, found.upperBound]
                    isFound = true
                    break
                } else if let next = step(states[index].node, text, current) {
                    states[index].node = next
                } else {
                    failed.insert(states[index].start)
                }
            }
            states = isFound ? [] : states.filter { !failed.contains($0.start) }
            if current >= skip, let node = step(PieceTrie.root, text, current) {
                states.append(State(start: current, node: node))
            }
            current += characterLength(text[current])
        }
        if let last = states.first(where: { isEnd($0.node) }) {
            offsets += [last.start, text.count]
        }
        return offsets
    }

    /// The longest token from the earliest place that leads to one, once a token has been found.
    private func lookAhead(
        _ text: UnsafeBufferPointer<UInt8>, _ states: [State], from found: Int, _ current: Int,
        _ skip: inout Int
    ) -> Range<Int> {
        var start = found, end = current
        for state in states {
            if state.start > start { break }
            // Earlier places have taken the current character in already.
            var at = state.start < start ? current + characterLength(text[current]) : current
            end = at
            var node = state.node
            if isEnd(node) {
                start = state.start
                skip = at
            }
            while at < text.count, let next = step(node, text, at) {
                node = next
                at += characterLength(text[at])
                if isEnd(node) {
                    start = state.start
                    end = at
                    skip = at
                }
            }
        }
        return min(start, end)..<end
    }

    private func cut(_ text: UnsafeBufferPointer<UInt8>, at offsets: [Int]) -> [Range<Int>] {
        var pieces: [Range<Int>] = []
        var start = 0
        for end in offsets + [text.count] where start < end {
            pieces.append(start..<end)
            start = end
        }
        return pieces
    }
}
