import Support

/// What names a file or a folder: a `String`, or the bytes that the system spells it with, an
/// array of `UInt8`, for paths that are not UTF-8.
public protocol PathSpelling: Sendable {
    /// The path as the system spells it, without a NUL at the end.
    var pathBytes: [UInt8] { get }
}

extension String: PathSpelling {
    public var pathBytes: [UInt8] { Array(utf8) }
}

extension Array: PathSpelling where Element == UInt8 {
    public var pathBytes: [UInt8] { self }
}

extension PathSpelling {
    var path: Path { Path(pathBytes) }
}
