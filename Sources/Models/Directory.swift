import COnnx
import CUnsay
import Glibc
import Support

/// An open folder. Names are relative to it, so that nobody can swap it meanwhile.
final class Directory: Sendable {
    let path: String
    let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Failure(
                errno == ENOENT
                    ? UNSAY_E_NOT_FOUND : errno == ENOMEM ? UNSAY_E_MEMORY : UNSAY_E_IO,
                "folder \(path) cannot be opened: \(systemError())")
        }
    }

    private init(_ path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// The path without links, `.` and `..`, from the root on; nil if nothing is there.
    static func resolved(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    /// The folder of that name inside this one; nil if there is none.
    func subfolder(_ name: String) -> Directory? {
        let inner = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        return inner < 0 ? nil : Directory("\(path)/\(name)", descriptor: inner)
    }

    /// The names in the folder, sorted, without `.` and `..`.
    func entries() throws -> [String] {
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else {
            let code = errno
            if copy >= 0 { close(copy) }
            throw Failure(
                code == ENOMEM ? UNSAY_E_MEMORY : UNSAY_E_IO,
                "folder \(path) cannot be listed: \(systemError(code))")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    func isRegularFile(_ name: String) -> Bool {
        var about = stat()
        return fstatat(descriptor, name, &about, 0) == 0 && about.st_mode & S_IFMT == S_IFREG
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
