/// A file's path as the system spells it: bytes, which need not be UTF-8.
///
/// In sentences it stands as text, with U+FFFD for bytes that are none.
package struct Path: Sendable, Hashable {
    package let bytes: [UInt8]

    package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    package init(_ text: String) { bytes = Array(text.utf8) }

    private static let slash = UInt8(ascii: "/")

    /// The bytes and a NUL, as system calls take them. A NUL inside the path ends it early.
    package var cString: [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

    package func hasPrefix(_ text: String) -> Bool { bytes.starts(with: text.utf8) }

    package func hasSuffix(_ text: String) -> Bool {
        bytes.reversed().starts(with: text.utf8.reversed())
    }

    /// The path without the slashes at its end, but for that of the root.
    package var withoutTrailingSlashes: Path {
        let end = bytes.lastIndex { $0 != Self.slash }.map { $0 + 1 } ?? min(bytes.count, 1)
        return Path(bytes[..<end])
    }

    /// The folder that holds what the path names: `.` for a bare name.
    package var folder: Path {
        guard let slash = bytes.lastIndex(of: Self.slash) else { return "." }
        return slash == 0 ? "/" : Path(bytes[..<slash])
    }

    /// What follows the last slash.
    package var name: Path {
        bytes.lastIndex(of: Self.slash).map { Path(bytes[($0 + 1)...]) } ?? self
    }

    /// The names between slashes, none of them empty.
    package var parts: [Path] { bytes.split(separator: Self.slash).map { Path($0) } }

    /// A name for a file beside this one: the path's own and `ending`, with as much cut between
    /// them as a name may not have.
    package func beside(_ ending: String) -> Path {
        // 255: the longest name on every file system of Linux.
        let most = max(255 - ending.utf8.count, 0)
        return Path(bytes.dropLast(max(name.bytes.count - most, 0)) + ending.utf8)
    }

    /// The path of `name` inside the folder of this path.
    package func appending(_ name: Path) -> Path {
        bytes.isEmpty || bytes.last == Self.slash ? self + name : self + "/" + name
    }

    package static func + (one: Path, other: Path) -> Path { Path(one.bytes + other.bytes) }
}

extension Path: Comparable {
    package static func < (one: Path, other: Path) -> Bool {
        one.bytes.lexicographicallyPrecedes(other.bytes)
    }
}

extension Path: ExpressibleByStringLiteral {
    package init(stringLiteral text: String) { self.init(text) }
}

extension Path: CustomStringConvertible {
    /// Valid UTF-8, with the middle of a very long path left out, so that a sentence has room
    /// for what is said of it.
    package var description: String {
        let most = 600
        guard bytes.count > most else { return String(decoding: bytes, as: UTF8.self) }
        let ends = [bytes.prefix(most / 2), bytes.suffix(most / 2)]
        return ends.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "[...]")
    }
}

/// What names a file: a `Path`, or a text.
package protocol PathConvertible {
    var path: Path { get }
}

extension Path: PathConvertible {
    package var path: Path { self }
}

extension String: PathConvertible {
    package var path: Path { Path(self) }
}
