import CUnsay
import Glibc

/// Whole files, read with a limit and written so that a crash leaves the old or the new.
package enum Files {
    /// Reads a whole regular file.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if there is no such file; `UNSAY_E_FORMAT` if it has more
    ///   than `limit` bytes; `UNSAY_E_IO` if it is not a regular file or reading fails;
    ///   `UNSAY_E_MEMORY`.
    package static func read(_ path: some PathConvertible, limit: Int) throws -> Bytes {
        let path = path.path
        try check(path)
        // Not blocking: the name may belong to a pipe that nobody writes to.
        let file = open(path.cString, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw failure("open", path) }
        defer { close(file) }

        var status = stat()
        guard fstat(file, &status) == 0 else { throw failure("look at", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(UNSAY_E_IO, "\(path): expected a regular file")
        }
        let size = Int(status.st_size)
        guard size <= limit else {
            throw Failure(
                UNSAY_E_FORMAT, "\(path): has \(size) bytes; at most \(limit) are expected")
        }
        return try Bytes(capacity: size, purpose: "\(path)") { out in
            var done = 0
            while done < size {
                let count = Glibc.read(file, out.baseAddress?.advanced(by: done), size - done)
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { throw failure("read", path) }
                guard count > 0 else {
                    throw Failure(UNSAY_E_IO, "\(path): became shorter while it was read")
                }
                done += count
            }
            return done
        }
    }

    /// Writes `parts` one after the other as the file `path`, all or nothing.
    ///
    /// They are written to a new file beside it, which is flushed to the disk and then renamed
    /// over `path`. Until then an older file of that name stays as it was.
    ///
    /// - Throws: `UNSAY_E_NOT_FOUND` if the folder does not exist; `UNSAY_E_IO`.
    package static func write(
        _ parts: [UnsafeRawBufferPointer], to path: some PathConvertible
    ) throws {
        let path = path.path
        try check(path)
        let (temporary, file) = try createBeside(path)
        var isOpen = true
        do {
            for part in parts { try write(part, to: file, path) }
            guard fsync(file) == 0 else { throw failure("flush", temporary) }
            isOpen = false
            guard close(file) == 0 else { throw failure("close", temporary) }
            guard rename(temporary.cString, path.cString) == 0 else {
                throw failure("replace", path)
            }
        } catch {
            if isOpen { close(file) }
            unlink(temporary.cString)
            throw error
        }
        try flushFolder(of: path)
    }

    /// A failure of the system call just made: what was tried, on what, and the system's word.
    private static func failure(_ verb: String, _ path: Path, _ code: Int32 = errno) -> Failure {
        let status =
            switch code {
            case ENOENT, ENOTDIR: UNSAY_E_NOT_FOUND
            case ENOMEM: UNSAY_E_MEMORY
            default: UNSAY_E_IO
            }
        return Failure(status, "cannot \(verb) \(path): \(String(cString: strerror(code)))")
    }

    /// Flushes the names in the folder of `path` to the disk, so that a rename lasts.
    private static func flushFolder(of path: Path) throws {
        let name = path.folder
        let folder = open(name.cString, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure("open", name) }
        defer { close(folder) }
        // Some file systems cannot flush a folder and say so with EINVAL.
        guard fsync(folder) == 0 || errno == EINVAL else { throw failure("flush", name) }
    }

    private static func check(_ path: Path) throws {
        guard !path.bytes.isEmpty, !path.bytes.contains(0) else {
            throw Failure(UNSAY_E_ARGUMENT, "a path may not be empty or contain NUL")
        }
    }

    private static func createBeside(_ path: Path) throws -> (name: Path, file: Int32) {
        while true {
            let name = path.beside(".new-\(String(UInt64.random(in: .min ... .max), radix: 16))")
            let file = open(
                name.cString, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
            if file >= 0 { return (name, file) }
            guard errno == EEXIST || errno == EINTR else { throw failure("create", name) }
        }
    }

    private static func write(
        _ part: UnsafeRawBufferPointer, to file: Int32, _ path: Path
    ) throws {
        var done = 0
        while done < part.count {
            let count = Glibc.write(
                file, part.baseAddress?.advanced(by: done), part.count - done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure("write", path) }
            done += count
        }
    }
}
