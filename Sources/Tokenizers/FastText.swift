import CUnsay
import Support

/// A text on its way through a fast tokenizer: its bytes, and where each comes from.
///
/// Every step does what the `tokenizers` library does, odd as some of it is.
struct FastText {
    private(set) var text: NormalizedText
    /// Where it begins in the caller's text, whatever normalising took away there.
    private let begin: Int

    /// Every step of a file may make a text longer, and each works on what the last one left:
    /// NFKC's longest rule makes eleven bytes of one, a space becomes three.
    private static func checkLength(_ length: Int, of original: Int) throws {
        guard length <= 64 * original + 1024 else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "the normalizer of tokenizer.json makes a text more than 64 times as long")
        }
    }

    /// - Parameter bytes: their indices are their places in the caller's text.
    init(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
        text = NormalizedText(
            bytes: Array(bytes), origins: Array(bytes.startIndex...bytes.endIndex))
        begin = bytes.startIndex
    }

    private init(_ text: NormalizedText, begin: Int) {
        self.text = text
        self.begin = begin
    }

    var isEmpty: Bool { text.bytes.isEmpty }

    /// A part of it, offsets in its own bytes.
    subscript(_ range: Range<Int>) -> FastText {
        FastText(
            NormalizedText(
                bytes: Array(text.bytes[range]),
                origins: Array(text.origins[range.lowerBound...range.upperBound])),
            begin: text.origins[range.lowerBound])
    }

    // MARK: Normalizers

    /// - Throws: `UNSAY_E_UNSUPPORTED` if they make it more than 64 times as long.
    mutating func normalize(_ steps: [FastTokenizerFile.Normalization]) throws {
        let original = text.bytes.count
        for step in steps {
            switch step {
            case .characterMap(let map): try apply(map, to: original)
            case .strip(let left, let right): strip(left: left, right: right)
            case .spaces(let content):
                try replace(with: content, in: original) { bytes, at in
                    let run = bytes[at...].prefix { $0 == UInt8(ascii: " ") }.count
                    return run >= 2 ? run : nil
                }
            case .replace(let pattern, let content):
                try replace(with: content, in: original) { bytes, at in
                    bytes[at...].starts(with: pattern) ? pattern.count : nil
                }
            }
        }
    }

    /// Grapheme clusters of less than six bytes are looked up whole, others by character; a
    /// rule for the beginning of one replaces all of it.
    private mutating func apply(_ map: CharacterMap, to original: Int) throws {
        var out = NormalizedText()
        out.bytes.reserveCapacity(text.bytes.count)
        out.origins.reserveCapacity(text.bytes.count + 1)
        var at = 0
        func append(_ bytes: some Sequence<UInt8>, at origin: Int) {
            for byte in bytes {
                out.bytes.append(byte)
                out.origins.append(text.origins[origin])
            }
        }
        for cluster in String(decoding: text.bytes, as: UTF8.self) {
            let length = cluster.utf8.count
            if length < 6, let bytes = map.shortest(cluster.utf8) {
                append(bytes, at: at)
            } else {
                var begin = at
                for scalar in cluster.unicodeScalars {
                    let end = begin + UTF8.width(scalar)
                    let bytes = text.bytes[begin..<end]
                    if let bytes = map.shortest(bytes) {
                        append(bytes, at: begin)
                    } else {
                        out.bytes += bytes
                        out.origins += text.origins[begin..<end]
                    }
                    begin = end
                }
            }
            at += length
            try Self.checkLength(out.bytes.count, of: original)
        }
        out.origins.append(text.origins[text.bytes.count])
        text = out
    }

    private mutating func strip(left: Bool, right: Bool) {
        var range = text.bytes.indices
        let scalars = spaces()
        if left, let first = scalars.first, first.lowerBound == 0 {
            range = first.upperBound..<range.upperBound
        }
        if right, let last = scalars.last, last.upperBound == text.bytes.count,
            last.lowerBound >= range.lowerBound
        {
            range = range.lowerBound..<last.lowerBound
        }
        text = self[range].text
    }

    private mutating func replace(
        with content: [UInt8], in original: Int, _ match: ([UInt8], Int) -> Int?
    ) throws {
        var out = NormalizedText()
        var at = 0
        while at < text.bytes.count {
            let length = match(text.bytes, at)
            let bytes = length == nil ? [text.bytes[at]] : content
            out.bytes += bytes
            out.origins += [Int](repeating: text.origins[at], count: bytes.count)
            at += length ?? 1
            try Self.checkLength(out.bytes.count, of: original)
        }
        out.origins.append(text.origins[text.bytes.count])
        text = out
    }

    /// The runs of white space.
    private func spaces() -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var at = 0
        for scalar in String(decoding: text.bytes, as: UTF8.self).unicodeScalars {
            let end = at + UTF8.width(scalar)
            if isWhiteSpace(scalar) {
                if let last = runs.last, last.upperBound == at {
                    runs[runs.count - 1] = last.lowerBound..<end
                } else {
                    runs.append(at..<end)
                }
            }
            at = end
        }
        return runs
    }

    // MARK: Pre-tokenizers

    /// The words that are split into pieces, each on its own.
    func split(_ steps: [FastTokenizerFile.PreTokenization]) throws -> [FastText] {
        var words = isEmpty ? [] : [self]
        for step in steps {
            switch step {
            case .whitespaceSplit: words = words.flatMap { $0.splitAtSpaces() }
            case .metaspace(let scheme, let splits):
                words = try words.flatMap { try $0.metaspace(scheme, splits: splits) }
            }
        }
        return words
    }

    private func splitAtSpaces() -> [FastText] {
        var words: [FastText] = []
        var begin = 0
        for run in spaces() + [text.bytes.count..<text.bytes.count] {
            if begin < run.lowerBound { words.append(self[begin..<run.lowerBound]) }
            begin = run.upperBound
        }
        return words
    }

    private func metaspace(
        _ scheme: FastTokenizerFile.PrependScheme, splits: Bool
    ) throws -> [FastText] {
        var changed = self
        try changed.replace(with: Normalizer.space, in: text.bytes.count) { bytes, at in
            bytes[at] == UInt8(ascii: " ") ? 1 : nil
        }
        let origin = text.origins.first ?? 0
        let prepends = scheme == .always || (scheme == .first && begin == 0)
        if prepends && !changed.text.bytes.starts(with: Normalizer.space) {
            changed.text.bytes.insert(contentsOf: Normalizer.space, at: 0)
            changed.text.origins.insert(
                contentsOf: Normalizer.space.map { _ in origin }, at: 0)
        }
        guard splits else { return [changed] }
        var words: [FastText] = []
        var begin = 0
        var at = 0
        let bytes = changed.text.bytes
        while at < bytes.count {
            if at > begin, bytes[at...].starts(with: Normalizer.space) {
                words.append(changed[begin..<at])
                begin = at
            }
            at += characterLength(bytes[at])
        }
        words.append(changed[begin..<bytes.count])
        return words
    }
}

extension UTF8 {
    /// The bytes of a character.
    static func width(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case ..<0x80: 1
        case ..<0x800: 2
        case ..<0x10000: 3
        default: 4
        }
    }
}
