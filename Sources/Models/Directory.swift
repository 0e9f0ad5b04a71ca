import COnnx
import CUnsay
import Glibc
import Support

/// An open folder. Names are relative to it, so that nobody can swap it meanwhile.
final class Directory: Sendable {
    /// What a name in a folder stands for.
    enum Entry {
        case missing, file, folder
        /// A link that leads nowhere, a pipe, a device.
        case other
    }

    let path: Path
    let descriptor: Int32

    /// - Throws: `UNSAY_E_NOT_FOUND`, `UNSAY_E_MEMORY`, `UNSAY_E_IO`.
    init(_ path: Path) throws {
        self.path = path
        guard !path.bytes.isEmpty, !path.bytes.contains(0) else {
            throw Failure(UNSAY_E_ARGUMENT, "a folder's path may not be empty or contain NUL")
        }
        descriptor = Glibc.open(path.cString, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let code = errno
            throw Failure(
                code == ENOENT
                    ? UNSAY_E_NOT_FOUND : code == ENOMEM ? UNSAY_E_MEMORY : UNSAY_E_IO,
                "folder \(path) cannot be opened: \(systemError(code))")
        }
    }

    private init(_ path: Path, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// The path without links, `.` and `..`, from the root on; nil if nothing is there.
    static func resolved(_ path: Path) -> Path? {
        guard let real = realpath(path.cString, nil) else { return nil }
        defer { free(real) }
        return Path(UnsafeRawBufferPointer(start: real, count: strlen(real)))
    }

    /// The folder of that name inside this one; nil if there is none.
    ///
    /// - Parameter followsLinks: whether the name may be a link to a folder.
    func subfolder(_ name: Path, followsLinks: Bool = true) -> Directory? {
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (followsLinks ? 0 : O_NOFOLLOW)
        let inner = openat(descriptor, name.cString, flags)
        return inner < 0 ? nil : Directory(path.appending(name), descriptor: inner)
    }

    /// The names in the folder, sorted, without `.` and `..`.
    func entries() throws -> [Path] {
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else {
            let code = errno
            if copy >= 0 { close(copy) }
            throw Failure(
                code == ENOMEM ? UNSAY_E_MEMORY : UNSAY_E_IO,
                "folder \(path) cannot be listed: \(systemError(code))")
        }
        defer { closedir(stream) }
        var names: [Path] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Path($0.prefix { $0 != 0 }) }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// What the name stands for, links followed.
    func entry(_ name: Path) -> Entry {
        guard let mode = mode(name, 0) else {
            return mode(name, AT_SYMLINK_NOFOLLOW) == nil ? .missing : .other
        }
        return mode == S_IFREG ? .file : mode == S_IFDIR ? .folder : .other
    }

    func isRegularFile(_ name: Path) -> Bool { entry(name) == .file }

    func isLink(_ name: Path) -> Bool { mode(name, AT_SYMLINK_NOFOLLOW) == S_IFLNK }

    /// True if there is an entry of that name, whatever it is.
    func holds(_ name: Path) -> Bool { mode(name, AT_SYMLINK_NOFOLLOW) != nil }

    /// What kind of file the name is; nil if there is none.
    ///
    /// - Parameter flags: 0 to follow links, or AT_SYMLINK_NOFOLLOW.
    private func mode(_ name: Path, _ flags: Int32) -> mode_t? {
        var about = stat()
        return fstatat(descriptor, name.cString, &about, flags) == 0
            ? about.st_mode & S_IFMT : nil
    }

    /// Links `name` into another folder; a link is made anew where it cannot be shared.
    ///
    /// - Returns: whether it was.
    func share(_ name: Path, with other: Directory) -> Bool {
        if linkat(descriptor, name.cString, other.descriptor, name.cString, 0) == 0 { return true }
        guard isLink(name) else { return false }
        var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let length = readlinkat(descriptor, name.cString, &target, target.count - 1)
        return length > 0 && symlinkat(target, other.descriptor, name.cString) == 0
    }

    /// True if both are the same folder, however they are spelt.
    func isSame(as other: Directory) -> Bool {
        var mine = stat()
        var theirs = stat()
        return fstat(descriptor, &mine) == 0 && fstat(other.descriptor, &theirs) == 0
            && mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino
    }
}

/// What errno says, as text.
func systemError(_ code: Int32 = errno) -> String {
    var text = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &text, text.count) == 0 else { return "error \(code)" }
    return text.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
