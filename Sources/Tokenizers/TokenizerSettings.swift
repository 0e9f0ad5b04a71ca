import CUnsay
import Support

/// What the files beside a vocabulary say about its tokens: tokenizer_config.json, and where
/// that has no `added_tokens_decoder`, special_tokens_map.json, added_tokens.json and the
/// added tokens of tokenizer.json, in transformers' order.
package struct TokenizerSettings: Sendable {
    /// The roles that a token can have, in the order in which transformers goes through them.
    static let roles = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]

    /// `tokenizer_class`; nil if it is not stated.
    package private(set) var className: String?
    /// Whether transformers 5 wrote the files: its tokenizers name their `backend`.
    package private(set) var isFromVersion5 = false
    /// Tokens with ids of their own, the later of two alike counts.
    private(set) var added: [(id: Int32, token: AddedToken)] = []
    /// Where in `added` an id stands.
    private var places: [Int32: Int] = [:]
    /// By role; a role without a token is stated as nil.
    private(set) var named: [String: SpecialToken?] = [:]
    /// `additional_special_tokens`; nil if not stated.
    private(set) var additional: [SpecialToken]?
    /// Whether special_tokens_map.json adds to them.
    private(set) var hasSpecialTokensMap = false
    /// Further roles of a model's own: `extra_special_tokens`.
    private(set) var modelSpecific: [SpecialToken] = []
    /// `extra_ids`; nil if not stated.
    package var extraIDs: Int?
    /// How slow tokenizers split the text after a special token: see SentencePieceTokenizer.
    package var isLegacy = true
    private(set) var addsPrefixSpace = true
    /// `clean_up_tokenization_spaces`.
    package private(set) var cleansUp = false
    /// Whether special tokens in a text are split like any other text.
    private(set) var splitsSpecialTokens = false

    /// What holds where no file says anything.
    package init(extraIDs: Int? = nil, isLegacy: Bool = true) {
        self.extraIDs = extraIDs
        self.isLegacy = isLegacy
    }

    /// - Parameter file: the bytes of a side file by its name; nil if it is missing.
    /// - Throws: `UNSAY_E_FORMAT` naming file and key; `UNSAY_E_MEMORY`.
    package init(reading file: (String) throws -> UnsafeRawBufferPointer?) throws {
        let name = "tokenizer_config.json"
        var statesAdded = false
        if let bytes = try file(name) {
            let json = try Self.object(bytes, name)
            try readOptions(json)
            if let value = json["added_tokens_decoder"] {
                statesAdded = true
                guard value.object != nil else {
                    throw Failure(
                        UNSAY_E_FORMAT, "\(name): added_tokens_decoder should be an object")
                }
                try readAdded(value, try Self.members("added_tokens_decoder", bytes, name))
            }
        }
        if !statesAdded {
            if let bytes = try file("special_tokens_map.json") { try readSpecialTokensMap(bytes) }
            if let bytes = try file("added_tokens.json") { try readAddedTokens(bytes) }
            if let bytes = try file("tokenizer.json") { try readTokenizerFile(bytes) }
        }
        // A role takes the flags of the added token with its spelling.
        if !added.isEmpty {
            let known = Dictionary(added.map { ($0.token.content, $0.token) }) { $1 }
            for (role, token) in named {
                guard let token, let flags = known[token.content] else { continue }
                named[role] = SpecialToken(flags)
            }
        }
    }

    private static func object(
        _ bytes: UnsafeRawBufferPointer, _ name: String
    ) throws -> [String: JSON] {
        guard let object = try JSON(parsingPython: bytes, named: name).object else {
            throw Failure(UNSAY_E_FORMAT, "\(name): expected a JSON object")
        }
        return object
    }

    /// The names of an object's members in the order of the file; of the whole file for nil.
    private static func members(
        _ key: String?, _ bytes: UnsafeRawBufferPointer, _ name: String
    ) throws -> [String] {
        let scanner = try JSONScanner(bytes, named: name)
        var range = try scanner.document
        if let key {
            guard let inner = try scanner.members(of: range)[key] else { return [] }
            range = inner
        }
        return try scanner.members(of: range)
            .sorted { $0.value.lowerBound < $1.value.lowerBound }.map(\.key)
    }

    // MARK: tokenizer_config.json

    private mutating func readOptions(_ json: [String: JSON]) throws {
        let name = "tokenizer_config.json"
        className = json["tokenizer_class"]?.string
        isFromVersion5 = json["backend"]?.string != nil
        if let value = json["extra_ids"] {
            guard let count = value.int, count <= 100_000 else {
                throw Failure(
                    UNSAY_E_FORMAT, "\(name): extra_ids should be a number up to 100000")
            }
            extraIDs = count
        }
        // transformers asks whether a value is true as Python has it.
        func truth(_ key: String, ifMissing: Bool, ifNull: Bool) throws -> Bool {
            guard let value = json[key] else { return ifMissing }
            if value == .null { return ifNull }
            if let value = value.bool { return value }
            if let value = value.double { return value != 0 }
            throw Failure(UNSAY_E_FORMAT, "\(name): \(key) should be true or false")
        }
        isLegacy = try truth("legacy", ifMissing: true, ifNull: true)
        addsPrefixSpace = try truth("add_prefix_space", ifMissing: true, ifNull: false)
        cleansUp = try truth("clean_up_tokenization_spaces", ifMissing: false, ifNull: false)
        splitsSpecialTokens = try truth("split_special_tokens", ifMissing: false, ifNull: false)
        for role in Self.roles {
            guard let value = json[role] else { continue }
            named[role] = .some(
                value == .null ? nil : try SpecialToken(value, in: "\(name): \(role)"))
        }
        if let value = json["additional_special_tokens"], value != .null {
            additional = try Self.list(value, "\(name): additional_special_tokens")
        }
        // transformers 5 has a list where version 4 has roles of a model's own.
        guard let value = json["extra_special_tokens"], value != .null else { return }
        if let members = value.object {
            modelSpecific = try members.sorted { $0.key < $1.key }.map {
                try SpecialToken($0.value, in: "\(name): extra_special_tokens.\($0.key)")
            }
        } else {
            additional =
                (additional ?? [])
                + (try Self.list(value, "\(name): extra_special_tokens"))
        }
    }

    private static func list(
        _ json: JSON, _ place: String, isSpecial: Bool? = nil
    ) throws -> [SpecialToken] {
        guard let list = json.array else { throw Failure(UNSAY_E_FORMAT, "\(place) is no list") }
        return try list.enumerated().map {
            try SpecialToken($1, isSpecial: isSpecial, in: "\(place)[\($0)]")
        }
    }

    private mutating func readAdded(_ json: JSON, _ order: [String]) throws {
        let place = "tokenizer_config.json: added_tokens_decoder"
        guard let members = json.object else {
            throw Failure(UNSAY_E_FORMAT, "\(place) should be an object")
        }
        for key in order {
            guard let value = members[key] else { continue }
            guard let id = Int(key) else {
                throw Failure(UNSAY_E_FORMAT, "\(place): \"\(key)\" is no id")
            }
            try add(AddedToken(value, in: "\(place): token \(key)"), id: id, place)
        }
    }

    private mutating func add(_ token: AddedToken, id: Int?, _ place: String) throws {
        guard let id, id >= 0, id < 1 << 24 else {
            let found = id.map { "\($0)" } ?? "no whole number"
            throw Failure(
                UNSAY_E_FORMAT,
                "\(place): the id of \"\(String(decoding: token.content, as: UTF8.self))\" is "
                    + "\(found), expected 0 to \(1 << 24 - 1)")
        }
        // Of an id that is stated twice the last token counts, at the first one's place.
        if let index = places[Int32(id)] {
            added[index].token = token
        } else {
            places[Int32(id)] = added.count
            added.append((Int32(id), token))
        }
    }

    // MARK: Older files

    private mutating func readSpecialTokensMap(_ bytes: UnsafeRawBufferPointer) throws {
        let name = "special_tokens_map.json"
        let json = try Self.object(bytes, name)
        for role in Self.roles {
            guard let value = json[role] else { continue }
            named[role] = .some(
                value == .null
                    ? nil : try SpecialToken(value, isSpecial: true, in: "\(name): \(role)"))
        }
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            guard let value = json[key], value.array != nil else { continue }
            hasSpecialTokensMap = true
            var seen = Set(additional ?? [])
            additional =
                (additional ?? [])
                + (try Self.list(value, "\(name): \(key)", isSpecial: true))
                .filter { seen.insert($0).inserted }
        }
    }

    private mutating func readAddedTokens(_ bytes: UnsafeRawBufferPointer) throws {
        let name = "added_tokens.json"
        let json = try Self.object(bytes, name)
        let special = Set(
            (Self.roles.compactMap { named[$0] ?? nil } + (additional ?? [])).map(\.content))
        for key in try Self.members(nil, bytes, name) {
            let content = Array(key.utf8)
            try add(
                AddedToken(content, isSpecial: special.contains(content)), id: json[key]?.int, name)
        }
    }

    private mutating func readTokenizerFile(_ bytes: UnsafeRawBufferPointer) throws {
        let name = "tokenizer.json"
        let scanner = try JSONScanner(bytes, named: name)
        let key = "added_tokens"
        guard let range = try scanner.members([key], of: scanner.document)[key],
            let list = try scanner.parse(range).array
        else { return }
        for (index, entry) in list.enumerated() {
            try add(
                AddedToken(entry, in: "\(name): added token \(index)"), id: entry["id"]?.int, name)
        }
    }

    // MARK: What a tokenizer makes of it

    /// A role's token, or `fallback` if no file says anything about the role.
    func token(_ role: String, else fallback: SpecialToken?) -> SpecialToken? {
        named[role] ?? fallback
    }

    /// Every special token, in transformers' order; of those spelled alike, roles have one.
    ///
    /// - Parameters:
    ///   - main: the tokens that end, pad and are unknown, as the tokenizer completes them.
    ///   - additional: `additional_special_tokens` likewise.
    func specialTokens(
        _ main: [String: SpecialToken], additional: [SpecialToken]
    ) -> [SpecialToken] {
        var seen: Set<[UInt8]> = []
        var all: [SpecialToken] = []
        for role in Self.roles {
            let isMain = ["eos_token", "unk_token", "pad_token"].contains(role)
            guard let token = isMain ? main[role] : token(role, else: nil),
                seen.insert(token.content).inserted
            else { continue }
            all.append(token)
        }
        all += additional.filter { !seen.contains($0.content) }
        seen.formUnion(additional.map(\.content))
        return all + modelSpecific.filter { seen.insert($0.content).inserted }
    }

    /// T5's tokens that end, pad and are unknown.
    ///
    /// - Parameter completes: whether one of which only the spelling is given gets flags.
    func t5Roles(completes: Bool) -> [String: SpecialToken] {
        var roles: [String: SpecialToken] = [:]
        for (role, spelling) in [
            ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>"),
        ] {
            guard var token = token(role, else: SpecialToken(spelling)) else { continue }
            if completes { token.isPlain = false }
            roles[role] = token
        }
        return roles
    }

    /// T5's `additional_special_tokens`, and how many of them are extra ids by the file.
    ///
    /// - Throws: `UNSAY_E_FORMAT` where the files contradict themselves as transformers sees it.
    func t5Additional() throws -> (tokens: [SpecialToken], extraCount: Int) {
        let count = max(extraIDs ?? 100, 0)
        guard let additional else { return (SpecialToken.extraIDs(count), count) }
        let stated = additional.filter { $0.isExtraID() }.count
        if stated == 0 { return (additional + SpecialToken.extraIDs(count), 0) }
        guard count == 0 || count == stated else {
            throw contradiction(count, stated)
        }
        return (additional, stated)
    }

    /// Whether the vocabulary's class is T5's: it has tokens that no file need name.
    var isT5: Bool {
        guard let className else { return true }
        return className.hasPrefix("T5Tokenizer") || className.hasPrefix("MT5Tokenizer")
    }

    /// A fast tokenizer's tokens that end, pad and are unknown.
    var fastRoles: [String: SpecialToken] {
        if isT5 { return t5Roles(completes: false) }
        return named.compactMapValues { $0 }
    }

    /// A fast tokenizer's `additional_special_tokens`.
    func fastAdditional() throws -> [SpecialToken] {
        isT5 ? try t5Additional().tokens : additional ?? []
    }

    /// ByT5's `additional_special_tokens`.
    func byT5Additional() throws -> [SpecialToken] {
        let count = max(extraIDs ?? 125, 0)
        guard let additional else { return SpecialToken.extraIDs(count) }
        if count > 0, !additional.isEmpty {
            let stated = Set(additional.filter { $0.isExtraID(marker: "extra_id") }).count
            guard stated == count else { throw contradiction(count, stated) }
        }
        return additional
    }

    private func contradiction(_ count: Int, _ stated: Int) -> Failure {
        Failure(
            UNSAY_E_FORMAT,
            "tokenizer_config.json: extra_ids is \(count), but \(stated) of the special tokens "
                + "are <extra_id_N>")
    }
}
