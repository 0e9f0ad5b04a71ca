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
    /// The folder's name in `parent`.
    private let destination: Path
    private let temporary: Path
    private let parent: Directory
    private let root: Directory

    init(for destination: Path) throws {
        guard !destination.bytes.isEmpty, !destination.bytes.contains(0) else {
            throw Failure(UNSAY_E_ARGUMENT, "the folder to save to has no name")
        }
        // A link to a folder stays one; the folder it leads to is replaced.
        var resolved = destination
        if let real = realpath(destination.cString, nil) {
            resolved = Path(
                UnsafeBufferPointer(start: real, count: strlen(real)).map(UInt8.init(bitPattern:)))
            free(real)
        } else if errno == ENOMEM {
            throw Failure(UNSAY_E_MEMORY, "no memory to follow \(destination)")
        }
        resolved = resolved.withoutTrailingSlashes
        self.destination = resolved.name
        guard !["", ".", ".."].contains(self.destination) else {
            throw Failure(UNSAY_E_ARGUMENT, "\(destination) cannot be replaced by a saved model")
        }
        parent = try Directory(resolved.folder)
        var made: (name: Path, root: Directory)?
        // Another one may take a folder for a leftover that was made but not yet locked.
        for _ in 0..<100 where made == nil {
            let number = String(UInt64.random(in: .min ... .max), radix: 16)
            let name = self.destination.beside(Self.mark + number)
            guard mkdirat(parent.descriptor, name.cString, 0o777) == 0,
                let root = parent.subfolder(name, followsLinks: false)
            else { throw Self.failure("create a folder beside", destination) }
            // Where locks are not to be had, leftovers are not removed either.
            flock(root.descriptor, LOCK_EX)
            if parent.subfolder(name, followsLinks: false)?.isSame(as: root) == true {
                made = (name, root)
            }
        }
        guard let made else { throw Self.failure("create a folder beside", destination) }
        (temporary, root) = made
    }

    private static let mark = ".new-"

    /// Whether the name is one that is given to a folder in the making for this destination.
    private func isTemporary(_ name: Path) -> Bool {
        let number = String(
            decoding: name.bytes.reversed().prefix { $0 != UInt8(ascii: "-") }.reversed(),
            as: UTF8.self)
        return UInt64(number, radix: 16) != nil && destination.beside(Self.mark + number) == name
    }

    /// Removes what saves to this destination left behind when they were killed: folders of
    /// our names that nobody holds a lock on.
    private func removeLeftovers() {
        for name in (try? parent.entries()) ?? [] where isTemporary(name) && name != temporary {
            guard let left = parent.subfolder(name, followsLinks: false),
                flock(left.descriptor, LOCK_EX | LOCK_NB) == 0
            else { continue }
            Self.empty(left, depth: 0)
            unlinkat(parent.descriptor, name.cString, AT_REMOVEDIR)
        }
    }

    private static func failure(_ verb: String, _ path: Path, _ code: Int32 = errno) -> Failure {
        Failure(
            code == ENOMEM ? UNSAY_E_MEMORY : UNSAY_E_IO,
            "cannot \(verb) \(path): \(systemError(code))")
    }

    // MARK: Files

    /// Makes a new file, with the folders it lies in, and writes the bytes.
    func write(_ bytes: UnsafeRawBufferPointer, to path: Path) throws {
        let file = try open(path, O_WRONLY | O_CREAT | O_EXCL, makesFolders: true)
        defer { close(file) }
        try Self.write(bytes, to: file, at: 0, path)
        guard fsync(file) == 0 else { throw Self.failure("flush", path) }
    }

    /// Replaces the bytes of a file made before.
    func rewrite(_ bytes: UnsafeRawBufferPointer, to path: Path) throws {
        let file = try open(path, O_WRONLY | O_TRUNC)
        defer { close(file) }
        try Self.write(bytes, to: file, at: 0, path)
        guard fsync(file) == 0 else { throw Self.failure("flush", path) }
    }

    /// Adds bytes to a file, which is made if it is not there; their offset in it.
    func append(_ bytes: UnsafeRawBufferPointer, to path: Path) throws -> Int {
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
        _ path: Path, at offset: Int, count: Int,
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
    func map(_ path: Path) throws -> OnnxFile {
        try OnnxFile(folder: root.descriptor, name: path, links: ONNX_LINKS_NONE)
    }

    private func open(
        _ path: Path, _ flags: Int32, makesFolders: Bool = false
    ) throws -> Int32 {
        if makesFolders {
            var prefix = Path("")
            for part in path.parts.dropLast() {
                prefix = prefix.appending(part)
                guard mkdirat(root.descriptor, prefix.cString, 0o777) == 0 || errno == EEXIST else {
                    throw Self.failure("create", prefix)
                }
            }
        }
        let file = openat(root.descriptor, path.cString, flags | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard file >= 0 else { throw Self.failure("create", path) }
        return file
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, to file: Int32, at offset: Int, _ path: Path
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
        if let old = parent.subfolder(destination, followsLinks: false) {
            try keep(from: old, in: root, keepsModels: keepsModels, depth: 0)
        }
        try flush(root, depth: 0)
        let created = onnx_rename(
            parent.descriptor, temporary.cString, destination.cString, 0)
        if created != 0 {
            guard created == EEXIST, parent.subfolder(destination, followsLinks: false) != nil
            else {
                throw Self.failure("create", destination, created)
            }
            let replaced = onnx_rename(
                parent.descriptor, temporary.cString, destination.cString, 1)
            guard replaced == 0 else { throw Self.failure("replace", destination, replaced) }
        }
        // Committed. An older folder now bears the temporary name.
        fsync(parent.descriptor)
        if created != 0, let old = parent.subfolder(temporary, followsLinks: false) {
            Self.empty(old, depth: 0)
            unlinkat(parent.descriptor, temporary.cString, AT_REMOVEDIR)
        }
        removeLeftovers()
    }

    /// Removes the folder and what was written into it.
    func discard() {
        Self.empty(root, depth: 0)
        unlinkat(parent.descriptor, temporary.cString, AT_REMOVEDIR)
    }

    /// Folders within folders that are looked into; this library makes one or two.
    private static let deepest = 16

    private func flush(_ folder: Directory, depth: Int) throws {
        for name in try folder.entries() where depth < Self.deepest {
            if let inner = folder.subfolder(name, followsLinks: false) {
                try flush(inner, depth: depth + 1)
            }
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
            if let left = old.subfolder(name, followsLinks: false) {
                guard mkdirat(new.descriptor, name.cString, 0o777) == 0 || errno == EEXIST,
                    let right = new.subfolder(name, followsLinks: false)
                else { throw Self.failure("create", name) }
                try keep(from: left, in: right, keepsModels: keepsModels, depth: depth + 1)
            } else if !new.holds(name), keepsModels || !name.hasSuffix(".onnx") {
                if old.share(name, with: new) { continue }
                guard old.isRegularFile(name) else { throw Self.failure("keep", name) }
                let file = try OnnxFile(
                    folder: old.descriptor, name: name, links: ONNX_LINKS_NONE)
                let copy = openat(
                    new.descriptor, name.cString, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
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
            if unlinkat(folder.descriptor, name.cString, 0) == 0 { continue }
            if let inner = folder.subfolder(name, followsLinks: false) {
                empty(inner, depth: depth + 1)
            }
            unlinkat(folder.descriptor, name.cString, AT_REMOVEDIR)
        }
    }
}
