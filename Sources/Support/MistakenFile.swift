import CUnsay

/// Recognises what lies where a file of a model should: what a download or a clone left instead,
/// or another format under a wrong name.
package enum MistakenFile {
    /// What a file should hold.
    package enum Content {
        /// ONNX.
        case model
        /// A JSON object.
        case json
        case otherBinary
    }

    /// Texts longer than this are no answer of a server, and no pointer.
    private static let longestText = 4096

    /// - Throws: `UNSAY_E_FORMAT`, saying what the file is and what to do, if it plainly is
    ///   something else.
    package static func refuse(
        _ bytes: UnsafeRawBufferPointer, named name: String, expecting content: Content
    ) throws {
        if let phrase = phrase(for: bytes, expecting: content) {
            throw Failure(UNSAY_E_FORMAT, "\(name) \(phrase)")
        }
    }

    /// Completes a sentence that begins with the file's name; nil for bytes that may be what
    /// they should.
    package static func phrase(
        for bytes: UnsafeRawBufferPointer, expecting content: Content
    ) -> String? {
        guard !bytes.isEmpty else { return "is empty: download it again" }
        return pointer(bytes) ?? markup(bytes) ?? errorBody(bytes) ?? format(bytes, content)
            ?? text(bytes, isJSON: content == .json)
    }

    private static func begins(_ bytes: UnsafeRawBufferPointer, _ start: [UInt8]) -> Bool {
        bytes.starts(with: start)
    }

    private static func begins(_ bytes: UnsafeRawBufferPointer, _ start: String) -> Bool {
        bytes.starts(with: start.utf8)
    }

    // MARK: What a clone or a download leaves

    private static func pointer(_ bytes: UnsafeRawBufferPointer) -> String? {
        let specifications = [
            "version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/",
        ]
        if specifications.contains(where: { begins(bytes, $0) }) {
            let size = String(decoding: bytes.prefix(longestText), as: UTF8.self)
                .split(separator: "\n").first { $0.hasPrefix("size ") }.flatMap {
                    Int($0.dropFirst(5))
                }
            return "is a Git LFS pointer instead of the file"
                + (size.map { " of \($0) bytes that it stands for" } ?? "")
                + ": run \"git lfs pull\" there, or download the file itself"
        }
        if begins(bytes, "# xet version ") {
            return "is a Git Xet pointer instead of the file: download the file itself"
        }
        if begins(bytes, "/annex/objects/") || begins(bytes, "../.git/annex/objects/") {
            return "is a git-annex pointer instead of the file: run \"git annex get\" there"
        }
        return nil
    }

    /// The first bytes that are no white space, nor a mark of the byte order, in lower case.
    private static func beginning(_ bytes: UnsafeRawBufferPointer) -> String {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let rest = bytes.dropFirst(begins(bytes, mark) ? mark.count : 0)
        return String(
            decoding: rest.prefix(longestText).drop { " \n\r\t".utf8.contains($0) }.prefix(64),
            as: UTF8.self
        ).lowercased()
    }

    private static func markup(_ bytes: UnsafeRawBufferPointer) -> String? {
        let start = beginning(bytes)
        let tags = ["<!doctype html", "<html", "<head", "<body", "<script", "<!-- "]
        if tags.contains(where: start.hasPrefix) {
            return "is an HTML page instead of the file, as a server answers when it asks for a "
                + "login or has no such file: download it again"
        }
        if start.hasPrefix("<?xml") || start.hasPrefix("<error>") {
            return "is an XML document instead of the file, as a server answers when it refuses: "
                + "download it again"
        }
        return nil
    }

    /// The keys of a server's answer in JSON; the first ones say what went wrong.
    private static let errorKeys = ["error", "errors", "message", "detail", "error_description"]
    private static let otherKeys = [
        "status", "status_code", "statuscode", "code", "type", "title", "path", "timestamp",
        "request_id", "requestid", "documentation_url", "success", "reason", "instance", "url",
    ]

    private static func errorBody(_ bytes: UnsafeRawBufferPointer) -> String? {
        guard bytes.count <= longestText, beginning(bytes).hasPrefix("{"),
            let object = (try? JSON(parsing: bytes, named: ""))?.object
        else { return nil }
        let keys = object.keys.map { $0.lowercased() }
        guard keys.contains(where: errorKeys.contains),
            keys.allSatisfy({ errorKeys.contains($0) || otherKeys.contains($0) })
        else { return nil }
        let told = errorKeys.lazy.compactMap { object[$0]?.string }.first ?? ""
        return "is a server's error" + (told.isEmpty ? "" : ", \(quoted(told)),")
            + " instead of the file: download it again"
    }

    private static func text(_ bytes: UnsafeRawBufferPointer, isJSON: Bool) -> String? {
        guard bytes.count <= longestText, !isJSON || !beginning(bytes).hasPrefix("{"),
            let text = String(validating: bytes, as: UTF8.self),
            text.unicodeScalars.allSatisfy({
                $0.value >= 32 || "\n\r\t".unicodeScalars.contains($0)
            })
        else { return nil }
        guard !text.allSatisfy(\.isWhitespace) else {
            return "holds nothing but white space: download it again"
        }
        return "is a text, \(quoted(text)), instead of the file: download it again"
    }

    private static func quoted(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        return "\"\(line.count > 60 ? line.prefix(57) + "..." : line)\""
    }

    // MARK: Other formats

    private static func format(
        _ bytes: UnsafeRawBufferPointer, _ content: Content
    ) -> String? {
        guard let name = formatName(bytes) else { return nil }
        return "is \(name) under another name"
            + (content == .model ? ": a checkpoint has to be exported to ONNX" : "")
    }

    private static func formatName(_ bytes: UnsafeRawBufferPointer) -> String? {
        if begins(bytes, "GGUF") { return "a GGUF file" }
        if begins(bytes, [0x89] + Array("HDF\r\n".utf8)) { return "an HDF5 file of TensorFlow" }
        if begins(bytes, [0x1F, 0x8B]) { return "a gzip archive" }
        if begins(bytes, Array("PK".utf8) + [3, 4]) {
            // The name of the first file lies at byte 30.
            let name = String(decoding: bytes.dropFirst(30).prefix(256), as: UTF8.self)
            return name.contains("data.pkl") ? "a PyTorch checkpoint" : "a zip archive"
        }
        // Protocols 2 to 5 of pickle.
        if bytes.count > 2, bytes[0] == 0x80, (2...5).contains(bytes[1]) {
            return "a pickle as PyTorch writes it"
        }
        // Eight bytes with the size of a JSON object, then that.
        if bytes.count > 9, bytes[4..<8].allSatisfy({ $0 == 0 }), bytes[8] == UInt8(ascii: "{"),
            bytes[9] == UInt8(ascii: "\"")
        {
            return "a safetensors file"
        }
        return nil
    }
}
