import CUnsay
import Support

/// A spelling that is an id of its own wherever a text holds it, as transformers' AddedToken.
struct AddedToken: Sendable, Hashable {
    var content: [UInt8]
    /// Left out where ids are decoded.
    var isSpecial = false
    /// Matched in the normalised text, not in the text as given; fast tokenizers only.
    var isNormalized = false
    /// Takes the white space before it, or after it, out of the text.
    var stripsLeft = false
    var stripsRight = false
    /// Matches no part of a longer word.
    var isSingleWord = false

    init(_ content: [UInt8], isSpecial: Bool, stripsLeft: Bool = false, stripsRight: Bool = false) {
        self.content = content
        self.isSpecial = isSpecial
        isNormalized = !isSpecial
        self.stripsLeft = stripsLeft
        self.stripsRight = stripsRight
    }

    /// - Parameters:
    ///   - json: an object with `content` and flags.
    ///   - isSpecial: overrides the object's own flag; nil leaves it.
    ///   - place: names the token in messages.
    /// - Throws: `UNSAY_E_FORMAT` for a missing content or a flag that is not true or false.
    init(_ json: JSON, isSpecial: Bool? = nil, in place: String) throws {
        guard let content = json["content"]?.string else {
            throw Failure(UNSAY_E_FORMAT, "\(place) has no \"content\", a string")
        }
        func flag(_ name: String) throws -> Bool? {
            guard let value = json[name] else { return nil }
            guard let flag = value.bool else {
                throw Failure(UNSAY_E_FORMAT, "\(place): \"\(name)\" should be true or false")
            }
            return flag
        }
        self.content = Array(content.utf8)
        let stated = try flag("special")
        self.isSpecial = isSpecial ?? stated ?? false
        isNormalized = try flag("normalized") ?? !self.isSpecial
        stripsLeft = try flag("lstrip") ?? false
        stripsRight = try flag("rstrip") ?? false
        isSingleWord = try flag("single_word") ?? false
    }
}

/// A token with a role, such as the one that pads: a spelling alone, or one with flags.
struct SpecialToken: Sendable, Hashable {
    var token: AddedToken
    /// Whether only its spelling is given.
    var isPlain: Bool

    var content: [UInt8] { token.content }

    init(_ content: String) {
        token = AddedToken(Array(content.utf8), isSpecial: true)
        isPlain = true
    }

    init(_ token: AddedToken) {
        self.token = token
        isPlain = false
    }

    /// A string, or an object with `content`.
    init(_ json: JSON, isSpecial: Bool? = nil, in place: String) throws {
        if let text = json.string {
            self.init(text)
        } else if json.object != nil {
            self.init(try AddedToken(json, isSpecial: isSpecial, in: place))
        } else {
            throw Failure(UNSAY_E_FORMAT, "\(place) should be a string or an object")
        }
    }

    /// `<extra_id_0>` and those after it.
    static func extraIDs(_ count: Int) -> [SpecialToken] {
        (0..<max(count, 0)).map { SpecialToken("<extra_id_\($0)>") }
    }

    /// Whether transformers counts it among the extra ids.
    func isExtraID(marker: String = "<extra_id_") -> Bool {
        String(decoding: content, as: UTF8.self).contains(marker)
    }
}
