import CUnsay
import Support

/// A tokenizer.json as read: what the `tokenizers` library calls the fast tokenizer of a
/// unigram model, T5's.
struct FastTokenizerFile {
    enum Normalization {
        case characterMap(CharacterMap)
        case strip(left: Bool, right: Bool)
        /// Runs of two or more spaces.
        case spaces(with: [UInt8])
        case replace([UInt8], with: [UInt8])
    }

    enum PreTokenization {
        case whitespaceSplit
        case metaspace(prepends: PrependScheme, splits: Bool)
    }

    enum PrependScheme: String { case always, first, never }

    private(set) var pieces: [[UInt8]] = []
    private(set) var scores: [Double] = []
    private(set) var unknownID: Int32 = 0
    private(set) var hasByteFallback = false
    private(set) var addedTokens: [AddedToken] = []
    private(set) var normalizations: [Normalization] = []
    private(set) var preTokenizations: [PreTokenization] = []
    /// Whether decoding drops the spaces that its first piece begins with.
    private(set) var dropsFirstSpace = true
    private(set) var decodesBytes = false
    /// Without a decoder pieces are written one after the other with a space between them.
    private(set) var hasDecoder = false
    /// The ids before and after those of a text.
    private(set) var frame: (before: [Int32], after: [Int32]) = ([], [])

    private let name: String

    /// - Throws: `UNSAY_E_FORMAT` if the bytes are no tokenizer.json, or a damaged one;
    ///   `UNSAY_E_UNSUPPORTED` naming what no T5 has.
    init(parsing bytes: UnsafeRawBufferPointer, named name: String) throws {
        self.name = name
        let scanner = try JSONScanner(bytes, named: name)
        let names: Set = [
            "model", "added_tokens", "normalizer", "pre_tokenizer", "decoder", "post_processor",
        ]
        let members = try scanner.members(names, of: scanner.document)
        guard let model = members["model"] else { throw damaged("it has no \"model\"") }
        try readModel(scanner, model)
        try members["added_tokens"].map { try readAddedTokens(scanner, $0) }
        try members["normalizer"].map { try readNormalizer(scanner.parse($0)) }
        try members["pre_tokenizer"].map { try readPreTokenizer(scanner.parse($0)) }
        try members["decoder"].map { try readDecoder(scanner.parse($0)) }
        try members["post_processor"].map { try readPostProcessor(scanner.parse($0)) }
    }

    private func damaged(_ found: String) -> Failure {
        Failure(UNSAY_E_FORMAT, "\(name): expected a tokenizer.json, but \(found)")
    }

    private func unsupported(_ what: String) -> Failure {
        Failure(UNSAY_E_UNSUPPORTED, "\(name): \(what); T5's are supported")
    }

    // MARK: The model

    private mutating func readModel(_ scanner: JSONScanner, _ range: Range<Int>) throws {
        var members = try scanner.members(of: range)
        let vocabulary = members.removeValue(forKey: "vocab")
        members["merges"] = nil
        let kind = try members["type"].map { try scanner.parse($0) }?.string ?? "Unigram"
        guard kind == "Unigram" else { throw unsupported("the model is of type \(kind)") }
        guard let vocabulary else { throw damaged("its model has no \"vocab\"") }
        try scanner.elements(of: vocabulary) { entry in
            var parts: [Range<Int>] = []
            try scanner.elements(of: entry) { parts.append($0) }
            guard parts.count == 2 else {
                throw damaged("entry \(pieces.count) of its vocabulary is no [piece, score]")
            }
            let piece = try scanner.string(parts[0])
            guard !piece.contains(0) else { throw damaged("piece \(pieces.count) holds a NUL") }
            pieces.append(piece)
            scores.append(try scanner.number(parts[1]))
        }
        let unknown = try members["unk_id"].map { try scanner.parse($0) }?.int
        guard let unknown, pieces.indices.contains(unknown), pieces.count <= 1 << 24 else {
            throw damaged("its unk_id is not one of the \(pieces.count) pieces")
        }
        unknownID = Int32(unknown)
        hasByteFallback = try members["byte_fallback"].map { try scanner.parse($0) }?.bool ?? false
    }

    private mutating func readAddedTokens(_ scanner: JSONScanner, _ range: Range<Int>) throws {
        guard let list = try scanner.parse(range).array else { return }
        for (index, entry) in list.enumerated() {
            let place = "\(name): added token \(index)"
            let token = try AddedToken(entry, in: place)
            // The library gives ids itself, and a file that has others is not what it seems.
            guard let id = entry["id"]?.int, id >= 0, id < 1 << 24 else {
                throw damaged("added token \(index) is incomplete")
            }
            addedTokens.append(token)
        }
    }

    // MARK: The frame

    private mutating func readPostProcessor(_ json: JSON) throws {
        func id(_ json: JSON?) throws -> Int32 {
            guard let id = json?.int, id >= 0, id < 1 << 24 else {
                throw damaged("its post_processor has an id that is none")
            }
            return Int32(id)
        }
        switch json["type"]?.string {
        case nil where json == .null: return
        case "ByteLevel": return
        case "Sequence":
            for each in json["processors"]?.array ?? [] { try readPostProcessor(each) }
        case "RobertaProcessing", "BertProcessing":
            frame.before = [try id(json["cls"]?.array?.last)] + frame.before
            frame.after += [try id(json["sep"]?.array?.last)]
        case "TemplateProcessing":
            var isAfter = false
            for item in json["single"]?.array ?? [] {
                if let name = item["SpecialToken"]?["id"]?.string {
                    guard let ids = json["special_tokens"]?[name]?["ids"]?.array else {
                        throw damaged("its post_processor has no ids for \(name)")
                    }
                    if isAfter {
                        frame.after += try ids.map { try id($0) }
                    } else {
                        frame.before += try ids.map { try id($0) }
                    }
                } else {
                    isAfter = true
                }
            }
            guard isAfter else { throw unsupported("its post_processor leaves the text out") }
        case let kind: throw unsupported("it has a post_processor of type \(kind ?? "none")")
        }
    }

    // MARK: The text

    private mutating func readNormalizer(_ json: JSON) throws {
        guard json != .null else { return }
        switch json["type"]?.string {
        case "Sequence": for each in json["normalizers"]?.array ?? [] { try readNormalizer(each) }
        case "Precompiled":
            guard let text = json["precompiled_charsmap"]?.string, let map = decodedBase64(text)
            else { throw damaged("its character map is not base64") }
            normalizations.append(.characterMap(try CharacterMap(map, named: name)))
        case "Strip":
            normalizations.append(
                .strip(
                    left: json["strip_left"]?.bool ?? true,
                    right: json["strip_right"]?.bool ?? true))
        case "Replace":
            let content = Array((json["content"]?.string ?? "").utf8)
            if let text = json["pattern"]?["String"]?.string, !text.isEmpty {
                normalizations.append(.replace(Array(text.utf8), with: content))
            } else if json["pattern"]?["Regex"]?.string == " {2,}" {
                normalizations.append(.spaces(with: content))
            } else {
                throw unsupported("its normalizer replaces a pattern other than \" {2,}\"")
            }
        case let kind: throw unsupported("it has a normalizer of type \(kind ?? "none")")
        }
    }

    private mutating func readPreTokenizer(_ json: JSON) throws {
        guard json != .null else { return }
        switch json["type"]?.string {
        case "Sequence":
            for each in json["pretokenizers"]?.array ?? [] { try readPreTokenizer(each) }
        case "WhitespaceSplit": preTokenizations.append(.whitespaceSplit)
        case "Metaspace":
            let scheme = try prependScheme(json)
            preTokenizations.append(
                .metaspace(prepends: scheme, splits: json["split"]?.bool ?? true))
        case let kind: throw unsupported("it has a pre_tokenizer of type \(kind ?? "none")")
        }
    }

    private func prependScheme(_ json: JSON) throws -> PrependScheme {
        guard json["replacement"]?.string ?? "\u{2581}" == "\u{2581}" else {
            throw unsupported("its Metaspace does not write spaces as U+2581")
        }
        // Older files say it with add_prefix_space alone.
        let older = json["add_prefix_space"]?.bool ?? true ? "always" : "never"
        let scheme = json["prepend_scheme"]?.string ?? older
        guard let known = PrependScheme(rawValue: scheme) else {
            throw unsupported("its Metaspace has the prepend_scheme \(scheme)")
        }
        return known
    }

    private mutating func readDecoder(_ json: JSON) throws {
        guard json != .null else { return }
        hasDecoder = true
        switch json["type"]?.string {
        case "Sequence": for each in json["decoders"]?.array ?? [] { try readDecoder(each) }
        case "Metaspace": dropsFirstSpace = try prependScheme(json) != .never
        case "ByteFallback": decodesBytes = true
        case "Fuse": break
        case let kind: throw unsupported("it has a decoder of type \(kind ?? "none")")
        }
    }
}

/// The bytes of standard base64 with padding; nil for anything else.
func decodedBase64(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count / 4 * 3)
    var bits: UInt32 = 0
    var count = 0
    var padding = 0
    for character in text.utf8 {
        let value: UInt32
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(character - 65)
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(character - 71)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(character + 4)
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        case UInt8(ascii: "="):
            value = 0
            padding += 1
        default: return nil
        }
        guard padding == 0 || character == UInt8(ascii: "=") else { return nil }
        bits = bits << 6 | value
        count += 1
        guard count == 4 else { continue }
        for shift in [16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: bits >> shift)) }
        bits = 0
        count = 0
    }
    guard count == 0, padding <= 2, padding <= bytes.count else { return nil }
    bytes.removeLast(padding)
    return bytes
}
