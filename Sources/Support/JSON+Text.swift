extension JSON {
    /// The document as JSON text on one line, keys sorted, so that equal values give equal
    /// text. Numbers read back as the same doubles; those that are not finite become null.
    package func text() -> String {
        var out = ""
        write(to: &out)
        return out
    }

    private func write(to out: inout String) {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .number(let value): out += JSON.spelling(of: value)
        case .string(let value): JSON.quote(value, to: &out)
        case .array(let values):
            out += "["
            for (index, value) in values.enumerated() {
                if index > 0 { out += "," }
                value.write(to: &out)
            }
            out += "]"
        case .object(let members):
            out += "{"
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { out += "," }
                JSON.quote(member.key, to: &out)
                out += ":"
                member.value.write(to: &out)
            }
            out += "}"
        }
    }

    private static func spelling(of value: Double) -> String {
        guard value.isFinite else { return "null" }
        // Up to 2^53 every whole double is the integer it looks like; -0.0 is no integer.
        let isWhole = value.magnitude <= 0x1p53 && !(value.sign == .minus && value.isZero)
        if isWhole, let whole = Int64(exactly: value) { return "\(whole)" }
        return "\(value)"
    }

    private static func quote(_ value: String, to out: inout String) {
        let digits = Array("0123456789abcdef".unicodeScalars)
        out += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            case "\0"..<" ":
                out += "\\u00"
                out.unicodeScalars.append(digits[Int(scalar.value >> 4)])
                out.unicodeScalars.append(digits[Int(scalar.value & 15)])
            default: out.unicodeScalars.append(scalar)
            }
        }
        out += "\""
    }
}
