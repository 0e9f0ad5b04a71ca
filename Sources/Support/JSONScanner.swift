import CSupport
import CUnsay

/// Walks a JSON document without building it: for files of millions of values, of which most
/// are read straight into arrays. Parts that are small are parsed with `JSON`.
///
/// What a walk passes over is checked for its structure alone: strings, brackets, depth.
package struct JSONScanner {
    private let bytes: UnsafeRawBufferPointer
    private let name: String
    private static let deepest = 128

    /// - Parameter bytes: must outlive the scanner.
    /// - Parameter name: names the file in messages.
    /// - Throws: `UNSAY_E_FORMAT` if the bytes are not UTF-8.
    package init(_ bytes: UnsafeRawBufferPointer, named name: String) throws {
        self.bytes = bytes
        self.name = name
        let valid = support_utf8_prefix(bytes.baseAddress, bytes.count)
        guard valid == bytes.count else { throw expected("UTF-8", at: valid) }
    }

    private func expected(_ what: String, at offset: Int) -> Failure {
        Failure(UNSAY_E_FORMAT, "\(name): expected \(what) at byte \(offset)")
    }

    /// The whole document, without the white space around it.
    package var document: Range<Int> {
        get throws {
            let begin = skipSpace(0)
            let end = try skipValue(begin)
            guard skipSpace(end) == bytes.count else { throw expected("the end", at: end) }
            return begin..<end
        }
    }

    /// Parses a part whole.
    package func parse(_ range: Range<Int>) throws -> JSON {
        try JSON(parsing: UnsafeRawBufferPointer(rebasing: bytes[range]), named: name)
    }

    /// Where each member's value lies; of a name that is there twice, the last one.
    package func members(of range: Range<Int>) throws -> [String: Range<Int>] {
        var members: [String: Range<Int>] = [:]
        try walkMembers(of: range) { key, value in
            members[String(decoding: try string(key), as: UTF8.self)] = value
        }
        return members
    }

    /// Where the values of the members with these names lie, as `members(of:)` without the
    /// others: an object of a million members takes no memory.
    package func members(
        _ names: Set<String>, of range: Range<Int>
    ) throws -> [String: Range<Int>] {
        var members: [String: Range<Int>] = [:]
        try walkMembers(of: range) { key, value in
            let name = String(decoding: try string(key), as: UTF8.self)
            if names.contains(name) { members[name] = value }
        }
        return members
    }

    /// Calls `body` with the places of each member's name and value, in order.
    private func walkMembers(
        of range: Range<Int>, _ body: (_ key: Range<Int>, _ value: Range<Int>) throws -> Void
    ) throws {
        try walk(range, "{", "}") { begin in
            let end = try skipValue(begin)
            let colon = skipSpace(end)
            guard byte(colon) == UInt8(ascii: ":") else { throw expected("a colon", at: colon) }
            let value = skipSpace(colon + 1)
            let next = try skipValue(value)
            try body(begin..<end, value..<next)
            return next
        }
    }

    /// Calls `body` with the place of each element of an array, in order.
    package func elements(
        of range: Range<Int>, _ body: (Range<Int>) throws -> Void
    ) throws {
        try walk(range, "[", "]") { begin in
            let end = try skipValue(begin)
            try body(begin..<end)
            return end
        }
    }

    /// The bytes of a string, unescaped.
    package func string(_ range: Range<Int>) throws -> [UInt8] {
        let quote = UInt8(ascii: "\"")
        guard range.count >= 2, bytes[range.lowerBound] == quote else {
            throw expected("a string", at: range.lowerBound)
        }
        let inside = (range.lowerBound + 1)..<(range.upperBound - 1)
        if !bytes[inside].contains(UInt8(ascii: "\\")) {
            guard !bytes[inside].contains(where: { $0 < 0x20 }) else {
                throw expected("a string without control characters", at: inside.lowerBound)
            }
            return Array(bytes[inside])
        }
        guard case .string(let text) = try parse(range) else {
            throw expected("a string", at: range.lowerBound)
        }
        return Array(text.utf8)
    }

    package func number(_ range: Range<Int>) throws -> Double {
        // Double takes more than JSON does: hexadecimal, "inf", a leading plus.
        let isPlain = bytes[range].allSatisfy { "0123456789+-.eE".utf8.contains($0) }
        guard isPlain, bytes[range].first != UInt8(ascii: "+"),
            let number = Double(String(decoding: bytes[range], as: UTF8.self)), number.isFinite
        else { throw expected("a number", at: range.lowerBound) }
        return number
    }

    // MARK: Walking

    private func byte(_ offset: Int) -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private func skipSpace(_ begin: Int) -> Int {
        var at = begin
        while let byte = byte(at), byte == 0x20 || (0x09...0x0A).contains(byte) || byte == 0x0D {
            at += 1
        }
        return at
    }

    /// Calls `item` at the start of each item between brackets; it returns the item's end.
    private func walk(
        _ range: Range<Int>, _ open: Unicode.Scalar, _ close: Unicode.Scalar,
        _ item: (Int) throws -> Int
    ) throws {
        guard range.count >= 2, bytes[range.lowerBound] == UInt8(ascii: open) else {
            throw expected("\"\(open)\"", at: range.lowerBound)
        }
        var at = skipSpace(range.lowerBound + 1)
        if byte(at) == UInt8(ascii: close) { return }
        while true {
            at = skipSpace(try item(at))
            switch byte(at) {
            case UInt8(ascii: ","): at = skipSpace(at + 1)
            case UInt8(ascii: close): return
            default: throw expected("a comma or \"\(close)\"", at: at)
            }
        }
    }

    /// The end of the value that begins at `begin`.
    private func skipValue(_ begin: Int) throws -> Int {
        var at = begin
        var depth = 0
        repeat {
            guard let byte = byte(at) else { throw expected("a value", at: at) }
            switch byte {
            case UInt8(ascii: "\""): at = try skipString(at)
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                guard depth <= Self.deepest else {
                    throw expected("at most \(Self.deepest) levels", at: at)
                }
                at += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                at += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { throw expected("a value", at: at) }
                at += 1
            default:
                let end = skipWord(at)
                guard end > at else { throw expected("a value", at: at) }
                at = end
            }
            if depth > 0 { at = skipSpace(at) }
        } while depth > 0
        guard depth == 0 else { throw expected("a value", at: begin) }
        return at
    }

    private func skipString(_ begin: Int) throws -> Int {
        var at = begin + 1
        while let byte = byte(at) {
            if byte == UInt8(ascii: "\"") { return at + 1 }
            at += byte == UInt8(ascii: "\\") ? 2 : 1
        }
        throw expected("the end of a string", at: begin)
    }

    /// Numbers, true, false and null.
    private func skipWord(_ begin: Int) -> Int {
        var at = begin
        while let byte = byte(at),
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                || (0x61...0x7A).contains(byte) || byte == 0x2B || byte == 0x2D || byte == 0x2E
        {
            at += 1
        }
        return at
    }
}
