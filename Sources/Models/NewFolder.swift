import COnnx
import CUnsay
import Glibc
import Support

/// A folder in the making: filled beside its destination, committed by one rename.
///
/// Until `commit` the destination is untouched; a crash leaves it as it was, with a folder
/// named `<destination>.new-...` beside it. What throws removes the folder again, through
/// `discard`.
struct NewFolder {
    let destination: String
    private let temporary: String
    private let parent: Directory
    private let root: Directory

    init(for destination: String) throws {
        guard !destination.isEmpty, !destination.utf8.contains(0) else {
            throw Failure(UNSAY_E_ARGUMENT, "the folder to save to has no name")
        }
        // A link to a folder stays one; the folder it leads to is replaced.
        var resolved = destination
        if let real = realpath(destination, nil) {
            resolved = String(cString: real)
            free(real)
        }
        while resolved.utf8.count > 1 && resolved.hasSuffix("/") { resolved.removeLast() }
        let slash = resolved.lastIndex(of: "/")
        let folder = slash.map { $0 == resolved.startIndex ? "/" : String(resolved[..<$0]) } ?? "."
        self.destination = slash.map { String(resolved[resolved.index(after: $0)...]) } ?? resolved
        guard !self.destination.isEmpty, self.destination != ".", self.destination != ".." else {
            throw Failure(UNSAY_E_ARGUMENT, "\(destination) cannot be replaced by a saved model")
        }
        parent = try Directory(folder)
        temporary = "\(self.destination).new-\(String(UInt64.random(in: .min ... .max), radix: 16))"
        guard mkdirat(parent.descriptor, temporary, 0o777) == 0,
            let root = parent.subfolder(temporary)
        else { throw Self.failure("create a folder beside", destination) }
        self.root = root
    }

    private static func failure(_ verb: String, _ path: String, _ code: Int32 = errno) -> Failure {
        Failure(UNSAY_E_IO, "cannot \(verb) \(path): \(systemError(code))")
    }

    // MARK: Files

    /// Makes a new file, with the folders it lies in, and writes the bytes.
    func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws {
        let file = try open(path, O_WRONLY | O_CREAT | O_EXCL, makesFolders: true)
        defer { close(file) }
        try Self.write(bytes, to: file, at: 0, path)
        guard fsync(file) == 0 else { throw Self.failure("flush", path) }
    }

    /// Replaces the bytes of a file made before.
    func rewrite(_ bytes: UnsafeRawBufferPointer, to path: String) throws {
        let file = try open(path, O_WRONLY | O_TRUNC)
        defer { close(file) }
        try Self.write(bytes, to: file, at: 0, path)
        guard fsync(file) == 0 else { throw Self.failure("flush", path) }
    }

    /// Adds bytes to a file, which is made if it is not there; their offset in it.
    func append(_ bytes: UnsafeRawBufferPointer, to path: String) throws -> Int {
        let file = try open(path, O_WRONLY | O_CREAT)
        defer { close(file) }
        let offset = lseek(file, 0, SEEK_END)
        guard offset >= 0 else { throw Self.failure("write", path) }
        try Self.write(bytes, to: file, at: Int(offset), path)
        guard fdatasync(file) == 0 else { throw Self.failure("flush", path) }
        return Int(offset)
    }

    /// Lets `body` change `count` bytes at `offset` of a file made before.
    func edit(
        _ path: String, at offset: Int, count: Int,
        _ body: (UnsafeMutableRawPointer) throws -> Void
    ) throws {
        guard let memory = malloc(max(count, 1)) else {
            throw Failure(UNSAY_E_MEMORY, "no memory for \(count) bytes of \(path)")
        }
        defer { free(memory) }
        let file = try open(path, O_RDWR)
        defer { close(file) }
        var done = 0
        while done < count {
            let some = pread(file, memory + done, count - done, off_t(offset + done))
            if some < 0 && errno == EINTR { continue }
            guard some > 0 else { throw Self.failure("read back", path) }
            done += some
        }
        try body(memory)
        try Self.write(
            UnsafeRawBufferPointer(start: memory, count: count), to: file, at: offset, path)
        guard fdatasync(file) == 0 else { throw Self.failure("flush", path) }
    }

    /// Maps a file made before.
    func map(_ path: String) throws -> OnnxFile {
        try OnnxFile(folder: root.descriptor, name: path, links: ONNX_LINKS_NONE)
    }

    private func open(
        _ path: String, _ flags: Int32, makesFolders: Bool = false
    ) throws -> Int32 {
        if makesFolders {
            var prefix = ""
            for part in path.split(separator: "/").dropLast() {
                prefix += prefix.isEmpty ? String(part) : "/\(part)"
                guard mkdirat(root.descriptor, prefix, 0o777) == 0 || errno == EEXIST else {
                    throw Self.failure("create", prefix)
                }
            }
        }
        let file = openat(root.descriptor, path, flags | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard file >= 0 else { throw Self.failure("create", path) }
        return file
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, to file: Int32, at offset: Int, _ path: String
    ) throws {
        var done = 0
        while done < bytes.count {
            let some = pwrite(
                file, bytes.baseAddress?.advanced(by: done), bytes.count - done,
                off_t(offset + done))
            if some < 0 && errno == EINTR { continue }
            guard some > 0 else { throw failure("write", path) }
            done += some
        }
    }

    // MARK: The end

    /// Puts the folder in the destination's place.
    ///
    /// What an older folder there held beside the model is kept: moved into the new one.
    /// - Parameter keepsModels: whether that includes .onnx files the new folder lacks.
    func commit(keepsModels: Bool) throws {
        try flush(root, depth: 0)
        let created = onnx_rename(parent.descriptor, temporary, destination, 0)
        if created == 0 {
            fsync(parent.descriptor)
            return
        }
        guard created == EEXIST, parent.subfolder(destination) != nil else {
            throw Self.failure("create", destination, created)
        }
        let replaced = onnx_rename(parent.descriptor, temporary, destination, 1)
        guard replaced == 0 else { throw Self.failure("replace", destination, replaced) }
        fsync(parent.descriptor)
        // Committed. The older folder now bears the temporary name.
        guard let old = parent.subfolder(temporary) else { return }
        Self.carry(from: old, to: root, keepsModels: keepsModels, depth: 0)
        unlinkat(parent.descriptor, temporary, AT_REMOVEDIR)
    }

    /// Removes the folder and what was written into it.
    func discard() {
        Self.empty(root, depth: 0)
        unlinkat(parent.descriptor, temporary, AT_REMOVEDIR)
    }

    /// Folders within folders that are looked into; this library makes one or two.
    private static let deepest = 16

    private func flush(_ folder: Directory, depth: Int) throws {
        for name in try folder.entries() where depth < Self.deepest {
            if let inner = folder.subfolder(name) { try flush(inner, depth: depth + 1) }
        }
        // Some file systems cannot flush a folder and say so with EINVAL.
        guard fsync(folder.descriptor) == 0 || errno == EINVAL else {
            throw Self.failure("flush", folder.path)
        }
    }

    private static func carry(
        from old: Directory, to new: Directory, keepsModels: Bool, depth: Int
    ) {
        guard depth < deepest, let names = try? old.entries() else { return }
        for name in names {
            if let left = old.subfolder(name), let right = new.subfolder(name) {
                carry(from: left, to: right, keepsModels: keepsModels, depth: depth + 1)
                unlinkat(old.descriptor, name, AT_REMOVEDIR)
            } else if new.holds(name) || (!keepsModels && name.hasSuffix(".onnx")) {
                unlinkat(old.descriptor, name, 0)
            } else {
                renameat(old.descriptor, name, new.descriptor, name)
            }
        }
    }

    private static func empty(_ folder: Directory, depth: Int) {
        guard depth < deepest, let names = try? folder.entries() else { return }
        for name in names {
            if unlinkat(folder.descriptor, name, 0) == 0 { continue }
            if let inner = folder.subfolder(name) { empty(inner, depth: depth + 1) }
            unlinkat(folder.descriptor, name, AT_REMOVEDIR)
        }
    }
}

extension Directory {
    /// True if there is an entry of that name, whatever it is.
    fileprivate func holds(_ name: String) -> Bool {
        var about = stat()
        return fstatat(descriptor, name, &about, AT_SYMLINK_NOFOLLOW) == 0
    }
}
