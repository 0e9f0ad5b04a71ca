import COnnx
import CUnsay
import Glibc
import Support

/// A folder in the making: filled beside its destination, committed by one rename.
///
/// Until `commit` the destination is untouched; a crash leaves it as it was, or replaced, with
/// a folder named `<destination>.new-...` beside it, which holds nothing that is not in the
/// destination and which the next one removes. What throws removes the folder again, through
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
        } else if errno == ENOMEM {
            throw Failure(UNSAY_E_MEMORY, "no memory to follow \(destination)")
        }
        while resolved.utf8.count > 1 && resolved.hasSuffix("/") { resolved.removeLast() }
        let slash = resolved.lastIndex(of: "/")
        let folder = slash.map { $0 == resolved.startIndex ? "/" : String(resolved[..<$0]) } ?? "."
        self.destination = slash.map { String(resolved[resolved.index(after: $0)...]) } ?? resolved
        guard !self.destination.isEmpty, self.destination != ".", self.destination != ".." else {
            throw Failure(UNSAY_E_ARGUMENT, "\(destination) cannot be replaced by a saved model")
        }
        parent = try Directory(folder)
        let prefix = "\(self.destination).new-"
        var made: (name: String, root: Directory)?
        // Another one may take a folder for a leftover that was made but not yet locked.
        for _ in 0..<100 where made == nil {
            let name = prefix + String(UInt64.random(in: .min ... .max), radix: 16)
            guard mkdirat(parent.descriptor, name, 0o777) == 0,
                let root = parent.subfolder(name)
            else { throw Self.failure("create a folder beside", destination) }
            // Where locks are not to be had, leftovers are not removed either.
            flock(root.descriptor, LOCK_EX)
            if parent.subfolder(name)?.isSame(as: root) == true { made = (name, root) }
        }
        guard let made else { throw Self.failure("create a folder beside", destination) }
        (temporary, root) = made
    }

    /// Removes what saves to this destination left behind when they were killed: folders of
    /// our names that nobody holds a lock on.
    private func removeLeftovers() {
        let prefix = "\(destination).new-"
        for name in (try? parent.entries()) ?? [] {
            guard name.hasPrefix(prefix), name != temporary,
                UInt64(name.dropFirst(prefix.count), radix: 16) != nil,
                let left = parent.subfolder(name), flock(left.descriptor, LOCK_EX | LOCK_NB) == 0
            else { continue }
            Self.empty(left, depth: 0)
            unlinkat(parent.descriptor, name, AT_REMOVEDIR)
        }
    }

    private static func failure(_ verb: String, _ path: String, _ code: Int32 = errno) -> Failure {
        Failure(
            code == ENOMEM ? UNSAY_E_MEMORY : UNSAY_E_IO,
            "cannot \(verb) \(path): \(systemError(code))")
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
    /// What an older folder there holds beside the model is kept: linked into the new one
    /// first, so that at every moment there is one folder that has all.
    /// - Parameter keepsModels: whether that includes .onnx files the new folder lacks.
    func commit(keepsModels: Bool) throws {
        if let old = parent.subfolder(destination) {
            try keep(from: old, in: root, keepsModels: keepsModels, depth: 0)
        }
        try flush(root, depth: 0)
        let created = onnx_rename(parent.descriptor, temporary, destination, 0)
        if created != 0 {
            guard created == EEXIST, parent.subfolder(destination) != nil else {
                throw Self.failure("create", destination, created)
            }
            let replaced = onnx_rename(parent.descriptor, temporary, destination, 1)
            guard replaced == 0 else { throw Self.failure("replace", destination, replaced) }
        }
        // Committed. An older folder now bears the temporary name.
        fsync(parent.descriptor)
        if created != 0, let old = parent.subfolder(temporary) {
            Self.empty(old, depth: 0)
            unlinkat(parent.descriptor, temporary, AT_REMOVEDIR)
        }
        removeLeftovers()
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

    /// Links what a folder holds and another lacks; copies it where links cannot be made.
    private func keep(
        from old: Directory, in new: Directory, keepsModels: Bool, depth: Int
    ) throws {
        for name in try old.entries() where depth < Self.deepest {
            if !old.isLink(name), let left = old.subfolder(name) {
                guard mkdirat(new.descriptor, name, 0o777) == 0 || errno == EEXIST,
                    let right = new.subfolder(name)
                else { throw Self.failure("create", name) }
                try keep(from: left, in: right, keepsModels: keepsModels, depth: depth + 1)
            } else if !new.holds(name), keepsModels || !name.hasSuffix(".onnx") {
                if linkat(old.descriptor, name, new.descriptor, name, 0) == 0 { continue }
                guard old.isRegularFile(name) else { throw Self.failure("keep", name) }
                let file = try OnnxFile(
                    folder: old.descriptor, name: name, links: ONNX_LINKS_NONE)
                let copy = openat(
                    new.descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
                guard copy >= 0 else { throw Self.failure("keep", name) }
                defer { close(copy) }
                try Self.write(file.bytes, to: copy, at: 0, name)
                guard fsync(copy) == 0 else { throw Self.failure("flush", name) }
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
    fileprivate func isLink(_ name: String) -> Bool {
        var about = stat()
        return fstatat(descriptor, name, &about, AT_SYMLINK_NOFOLLOW) == 0
            && about.st_mode & S_IFMT == S_IFLNK
    }

    /// True if there is an entry of that name, whatever it is.
    fileprivate func holds(_ name: String) -> Bool {
        var about = stat()
        return fstatat(descriptor, name, &about, AT_SYMLINK_NOFOLLOW) == 0
    }
}
