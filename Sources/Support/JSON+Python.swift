extension JSON {
    /// Begins what stands for NaN and the infinities while a document is parsed: the last of
    /// Unicode's private characters, then the number's name.
    private static let mark = "\u{10FFFD}"
    private static let names: [(name: String, value: Double)] = [
        ("NaN", .nan), ("-Infinity", -.infinity), ("Infinity", .infinity),
    ]

    /// Parses a document as Python's json module writes it: `NaN`, `Infinity` and `-Infinity`
    /// are numbers, which strict JSON does not have.
    ///
    /// - Throws: as `init(parsing:named:)`.
    package init(parsingPython bytes: UnsafeRawBufferPointer, named file: String) throws {
        guard let marked = JSON.marked(bytes) else {
            self = try JSON(parsing: bytes, named: file)
            return
        }
        self = try marked.withUnsafeBytes { try JSON(parsing: $0, named: file) }.unmarked
    }

    /// The text with every number that has a name as a marked string; nil if there is none.
    private static func marked(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var text: [UInt8] = []
        var copied = 0
        var isInString = false
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            if isInString {
                if byte == UInt8(ascii: "\\") { at += 1 }
                isInString = byte != UInt8(ascii: "\"")
            } else if byte == UInt8(ascii: "\"") {
                isInString = true
            } else if let name = names.first(where: { bytes[at...].starts(with: $0.name.utf8) }) {
                text += bytes[copied..<at]
                text += "\"\(mark)\(name.name)\"".utf8
                at += name.name.utf8.count
                copied = at
                continue
            }
            at += 1
        }
        guard copied > 0 else { return nil }
        return text + bytes[copied...]
    }

    /// The value as Python would write it, for messages; on one line.
    package var told: String {
        if let value = double, !value.isFinite {
            return JSON.names.first { $0.value == value }?.name ?? "NaN"
        }
        return text()
    }

    private var unmarked: JSON {
        switch self {
        case .string(let text):
            guard text.hasPrefix(JSON.mark) else { return self }
            let found = JSON.names.first { $0.name == text.dropFirst() }
            return found.map { .number($0.value) } ?? self
        case .array(let values): return .array(values.map(\.unmarked))
        case .object(let members): return .object(members.mapValues(\.unmarked))
        default: return self
        }
    }
}
