import CSupport

/// Puts a text together id by id, keeping which bytes each id contributed.
struct SpellingBuilder {
    /// What becomes of single bytes that form no character together.
    enum BadBytes { case replaced, dropped }

    private static let replacement = Array("\u{FFFD}".utf8)
    private var text: [UInt8] = []
    private var tokens: [Token] = []
    /// Bytes of ids that stand for single bytes, until the run of such ids ends. Their
    /// tokens are in `tokens` already, with offsets into this run.
    private var run: [UInt8] = []
    private var runTokens: [Int] = []
    private let badBytes: BadBytes

    init(badBytes: BadBytes) { self.badBytes = badBytes }

    mutating func append(_ bytes: [UInt8], id: Int32) {
        if bytes.isEmpty && !run.isEmpty {
            // An id without text does not break a run: its place is where the run stands.
            runTokens.append(tokens.count)
            tokens.append(Token(id: id, begin: run.count, end: run.count))
            return
        }
        endRun()
        tokens.append(Token(id: id, begin: text.count, end: text.count + bytes.count))
        text += bytes
    }

    /// An id without text that ends a run of single bytes.
    mutating func appendBreak(id: Int32) {
        endRun()
        append([], id: id)
    }

    mutating func append(byte: UInt8, id: Int32) {
        runTokens.append(tokens.count)
        tokens.append(Token(id: id, begin: run.count, end: run.count + 1))
        run.append(byte)
    }

    private mutating func endRun() {
        guard !run.isEmpty else { return }
        // Where each byte of the run lands in the text; one more for its end.
        var places: [Int] = []
        run.withUnsafeBytes { run in
            var offset = 0
            while offset < run.count {
                let rest = UnsafeRawBufferPointer(rebasing: run[offset...])
                let valid = support_utf8_prefix(rest.baseAddress, rest.count)
                for byte in rest[..<valid] {
                    places.append(text.count)
                    text.append(byte)
                }
                offset += valid
                guard offset < run.count else { break }
                places.append(text.count)
                if badBytes == .replaced { text += Self.replacement }
                offset += 1
            }
        }
        places.append(text.count)
        for index in runTokens {
            tokens[index].begin = places[tokens[index].begin]
            tokens[index].end = places[tokens[index].end]
        }
        run.removeAll()
        runTokens.removeAll()
    }

    mutating func finish() -> Spelling {
        endRun()
        return Spelling(text: text, tokens: tokens)
    }
}

extension Spelling {
    /// Without the white space around the text, as Python's `str.strip()` sees it.
    func stripped() -> Spelling {
        text.withUnsafeBufferPointer { all in
            var bytes = all.indices
            bytes = trimStart(bytes, of: all)
            bytes = trimEnd(bytes, of: all)
            func place(_ offset: Int) -> Int {
                min(max(offset, bytes.lowerBound), bytes.upperBound) - bytes.lowerBound
            }
            return Spelling(
                text: Array(all[bytes]),
                tokens: tokens.map { Token(id: $0.id, begin: place($0.begin), end: place($0.end)) })
        }
    }
}
