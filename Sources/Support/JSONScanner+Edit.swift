/// The text of a JSON object with one member set; every other byte stays.
///
/// - Parameters:
///   - name: in plain letters.
///   - value: as JSON has it.
/// - Throws: `UNSAY_E_FORMAT` if the text is no JSON object.
package func settingMember(
    _ name: String, to value: String, in text: [UInt8], named file: String
) throws -> [UInt8] {
    try text.withUnsafeBytes { bytes in
        let scanner = try JSONScanner(bytes, named: file)
        let object = try scanner.document
        let members = try scanner.members(of: object)
        if let place = members[name] {
            return Array(bytes[..<place.lowerBound]) + Array(value.utf8)
                + Array(bytes[place.upperBound...])
        }
        let begin = object.lowerBound + 1
        // The new member stands last, on a line like the first one's.
        let end = members.values.map(\.upperBound).max() ?? begin
        let space = bytes[begin...].prefix { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        let member = Array("\"\(name)\": \(value)".utf8)
        return Array(bytes[..<end]) + (members.isEmpty ? [] : Array(",".utf8) + space) + member
            + Array(bytes[end...])
    }
}
