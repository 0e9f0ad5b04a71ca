import CSupport
import CUnsay

/// A JSON document in memory.
package indirect enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    /// Parses one document. Of a key that is there twice, the last value counts.
    ///
    /// - Throws: `UNSAY_E_FORMAT` naming `file` and the byte, for anything that is not strict
    ///   JSON in UTF-8, nested at most 128 deep; `UNSAY_E_MEMORY`.
    package init(parsing bytes: UnsafeRawBufferPointer, named file: String) throws {
        // A list of ones: 64 bytes of cJSON's and 24 of ours for every two of the text.
        try Memory.require(bytes.count, bytes: 48, for: "what is in \(file)")
        var offset = 0
        var problem: UnsafePointer<CChar>?
        guard let root = support_json_parse(bytes.baseAddress, bytes.count, &offset, &problem)
        else {
            let found = problem.map { String(cString: $0) } ?? "not JSON"
            if found == "out of memory" {
                throw Failure(UNSAY_E_MEMORY, "\(file): no memory to parse \(bytes.count) bytes")
            }
            throw Failure(
                UNSAY_E_FORMAT, "\(file): expected JSON, found \(found) at byte \(offset)")
        }
        defer { support_json_free(root) }
        self = JSON(root)
    }

    /// Copies a value of the parser's. Its depth is bounded, and so is the recursion.
    private init(_ value: OpaquePointer) {
        switch support_json_get_kind(value) {
        case SUPPORT_JSON_FALSE: self = .bool(false)
        case SUPPORT_JSON_TRUE: self = .bool(true)
        case SUPPORT_JSON_NUMBER: self = .number(support_json_get_number(value))
        case SUPPORT_JSON_STRING: self = .string(copied(support_json_get_string(value)))
        case SUPPORT_JSON_ARRAY: self = .array(children(of: value).map(JSON.init))
        case SUPPORT_JSON_OBJECT:
            var members: [String: JSON] = [:]
            for child in children(of: value) {
                members[copied(support_json_get_key(child))] = JSON(child)
            }
            self = .object(members)
        default: self = .null
        }
    }

    /// The member of that name; nil if there is none or this is no object.
    package subscript(_ key: String) -> JSON? { object?[key] }

    /// A whole number that fits, e.g. `32` or `32.0`; nil for `32.5` or `"32"`.
    package var int: Int? { double.flatMap { Int(exactly: $0) } }
    package var double: Double? { if case .number(let value) = self { value } else { nil } }
    package var string: String? { if case .string(let value) = self { value } else { nil } }
    package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    package var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    package var object: [String: JSON]? { if case .object(let value) = self { value } else { nil } }
}

private func copied(_ pointer: UnsafePointer<CChar>?) -> String {
    pointer.map { String(cString: $0) } ?? ""
}

private func children(of value: OpaquePointer) -> [OpaquePointer] {
    Array(
        sequence(first: support_json_first_child(value)) { $0.map { support_json_next($0) } }
            .prefix { $0 != nil }.compactMap { $0 })
}
