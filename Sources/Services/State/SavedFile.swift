import CFiles
import Glibc
import Proxy

/// Why a state file cannot be read, locked or written.
enum SavedFileError: Error, CustomStringConvertible {
    /// Another process has its lock.
    case inUse
    case unusable(SavedApps.Fault)
    /// A system call failed: `cannot write it: no space left on device`.
    case system(String)

    var description: String {
        switch self {
        case .inUse: "another process uses it: each needs a state_file of its own"
        case .unusable(let fault): fault.description
        case .system(let text): text
        }
    }

    /// A system call failed just now. Call it before anything else sets `errno`.
    static func failed(_ action: String) -> SavedFileError { .system("cannot \(action): \(SystemError.text(errno))") }
}

/// One path at which apps are saved, locked against other processes. Its methods block, and are called on one thread at a time.
///
/// The lock is flock(2) on the file itself, so no lock file is needed. A new file is locked before it replaces the old one.
///
/// `@unchecked Sendable`: everything that changes is used on one thread at a time, that of the `StateFile` that owns it.
final class SavedFile: @unchecked Sendable {
    let path: String
    /// An open descriptor of the folder.
    private var folder: CInt
    private let name: String
    /// The file that has the lock; `nil` while there is none.
    private var locked: CInt?

    private static let blockSize = 1 << 20
    private static let mode: mode_t = 0o600
    /// The longest name, in bytes: that of a temporary file has 19 more, `.NAME.new-` with 13 digits.
    private static let maxNameLength = Int(NAME_MAX) - 19

    /// Opens the folder.
    init(_ path: String) throws(SavedFileError) {
        self.path = path
        let parts = FilePath(path)
        name = parts.name
        folder = try Self.open(parts.folder)
    }

    private static func open(_ folder: String) throws(SavedFileError) -> CInt {
        // Only a folder that can be read can be synced.
        var descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0, errno == EACCES { descriptor = cfiles_open_folder(folder) }
        guard descriptor >= 0 else { throw .failed("open the folder \(folder)") }
        return descriptor
    }

    deinit {
        if let locked { close(locked) }
        close(folder)
    }

    /// Why there can never be a state file at this path; `nil` if there can.
    static func fault(in path: String) -> String? {
        let folder = FilePath(path).folder
        guard FilePath(path).name.utf8.count <= maxNameLength else {
            return "the name of the file is too long: at most \(maxNameLength) bytes, because it is written under a longer name first"
        }
        var status = stat()
        guard stat(folder, &status) == 0 else {
            return errno == ENOENT ? "the folder \(folder) does not exist" : "cannot open the folder \(folder): \(SystemError.text(errno))"
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "\(folder) is not a folder" }
        let broken = Self.broken(path)
        // A file can take the place of everything else, also of a link to a folder.
        if lstat(broken, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            return "a damaged one would be moved to \(broken), which is a folder"
        }
        guard stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return nil }
        return "\(path) is \(kind(status.st_mode)), not a file"
    }

    private static func kind(_ mode: mode_t) -> String {
        switch mode & S_IFMT {
        case S_IFDIR: "a folder"
        case S_IFSOCK: "a socket"
        case S_IFIFO: "a named pipe"
        default: "a device"
        }
    }

    /// What else of the configuration is at this path or at that of `FILE.broken`, under any name, in use or not; `nil` if nothing is.
    /// Writing the state would destroy it.
    static func otherUse(of path: String, in loaded: LoadedConfig) -> String? {
        var others = [(path: loaded.origin.file, use: "this configuration file")]
        if let socket = loaded.config.receiver.unixSocket { others.append((socket.path, "receiver.receiver_unix_socket")) }
        others += loaded.origin.paths.filter { $0.key != "receiver.state_file" }.map { ($0.path, $0.key) }
        if let other = others.first(where: { isSame(path, $0.path) }) { return "it is also the path of \(other.use)" }
        let broken = Self.broken(path)
        return others.first { isSame(broken, $0.path) }.map { "a damaged one would be moved to \(broken), the path of \($0.use)" }
    }

    private static func broken(_ path: String) -> String { "\(path).broken" }

    /// Whether two paths name one file. It need not exist yet, and may have several names (link(2)).
    private static func isSame(_ path: String, _ other: String) -> Bool {
        if FilePath.withoutLinks(path) == FilePath.withoutLinks(other) { return true }
        guard let identity = identity(of: path) else { return false }
        return identity == Self.identity(of: other)
    }

    /// The identity of the file that a path leads to, links followed.
    private static func identity(of path: String) -> FileIdentity? {
        var status = stat()
        return stat(path, &status) == 0 ? FileIdentity(status) : nil
    }

    private static func identity(ofOpen file: CInt) -> FileIdentity? {
        var status = stat()
        return fstat(file, &status) == 0 ? FileIdentity(status) : nil
    }

    /// Why a file probably cannot be written now, and whether it is another program's. Writes nothing.
    static func warning(about path: String) -> String? {
        var (isForeign, cannotWrite) = (false, "")
        let folder = FilePath(path).folder
        if faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0 {
            cannotWrite = "this user cannot write files in \(folder): \(SystemError.text(errno))"
        }
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if file >= 0 {
            isForeign = hasForeignHeader(file)
            close(file)
        }
        let remedy = "name another file, or remove this one"
        return switch (isForeign, cannotWrite.isEmpty) {
        case (false, true): nil
        case (false, false): "\(cannotWrite); if the file is damaged, a start fails, because it cannot be moved"
        case (true, true): "\(SavedApps.Fault.foreign): a start moves it to \(broken(path)), and a reload refuses it; \(remedy)"
        case (true, false): "\(SavedApps.Fault.foreign), and a start fails, because it cannot be moved: \(cannotWrite); \(remedy)"
        }
    }

    /// Whether the file that is locked is another program's. One that is empty or damaged may be a state file.
    var isForeign: Bool { locked.map(Self.hasForeignHeader) ?? false }

    private static func hasForeignHeader(_ file: CInt) -> Bool {
        // No more than the header counts here.
        var check = SavedApps.Check(size: 0)
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { bytes in
            let count = pread(file, bytes.baseAddress, bytes.count, 0)
            check.take(UnsafeRawBufferPointer(rebasing: bytes[..<max(count, 0)]))
        }
        do throws(SavedApps.Fault) { try check.finish() } catch { return error == .foreign }
        return false
    }

    // MARK: - Lock

    /// Locks the existing file, and removes the temporary files of processes that were killed.
    /// - Parameter current: what this process uses until now. If the same file is at both paths, its lock is shared: a link, or a folder
    ///   that was renamed, may give it another path.
    /// - Returns: whether there is a file that can be read. One that cannot be opened counts as none.
    /// - Throws: `.inUse`, and `.system` when there is something else than a file, or when the system lacks what it takes to open one.
    func lock(sharing current: SavedFile? = nil) throws(SavedFileError) -> Bool {
        try followFolder()
        if let locked, isInPlace(locked) { return true }
        // Between `openat` and `flock` the process that had the lock may replace the file.
        for _ in 0..<100 {
            var file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
            guard file >= 0 else {
                // Then the file itself is all right, and must not be moved aside.
                guard errno != EMFILE, errno != ENFILE, errno != ENOMEM else { throw .failed("open it") }
                return false
            }
            var status = stat()
            guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                close(file)
                throw .system("it is \(Self.kind(status.st_mode)), not a file")
            }
            if flock(file, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
                let shared = current?.duplicateOfLock(on: file)
                close(file)
                guard let shared else { throw .inUse }
                file = shared
            }
            guard isInPlace(file) else {
                close(file)
                continue
            }
            hold(file)
            removeLeftovers()
            return true
        }
        throw .inUse
    }

    /// Another descriptor of the same open file, which shares its lock (flock(2)).
    /// - Returns: `nil` unless `file` is the file that is locked here.
    private func duplicateOfLock(on file: CInt) -> CInt? {
        guard let locked, Self.identity(ofOpen: locked) == Self.identity(ofOpen: file) else { return nil }
        let duplicate = fcntl(locked, F_DUPFD_CLOEXEC, 0)
        return duplicate >= 0 ? duplicate : nil
    }

    /// Opens the folder again if its path leads to another folder now: it was removed and made anew, moved, or mounted over.
    private func followFolder() throws(SavedFileError) {
        let now = try Self.open(FilePath(path).folder)
        guard Self.identity(ofOpen: now) != Self.identity(ofOpen: folder) else {
            close(now)
            return
        }
        close(folder)
        folder = now
        hold(nil)
    }

    private func hold(_ file: CInt?) {
        if let locked { close(locked) }
        locked = file
    }

    /// Whether the path leads to this open file.
    private func isInPlace(_ file: CInt) -> Bool {
        var status = stat()
        return fstatat(folder, name, &status, 0) == 0 && FileIdentity(status) == Self.identity(ofOpen: file)
    }

    // MARK: - Reading

    /// Reads the file that is locked.
    /// - Parameters:
    ///   - isWanted: asked before each megabyte. The reading ends at the first no.
    ///   - body: gets each app.
    /// - Returns: when the file was written.
    /// - Throws: `.unusable` before any app is given, unless the file changes meanwhile.
    func read(
        at now: SavedApps.Writing, while isWanted: () -> Bool = { true }, _ body: (AppEntry) -> Void
    ) throws(SavedFileError) -> SavedApps.Writing? {
        guard let locked else { return nil }
        var status = stat()
        guard fstat(locked, &status) == 0 else { throw .failed("read it") }
        let size = Int(status.st_size)
        var check = SavedApps.Check(size: size)
        guard try readBlocks(locked, while: isWanted, { bytes throws(SavedApps.Fault) in check.take(bytes) }) else { return nil }
        do throws(SavedApps.Fault) { try check.finish() } catch { throw .unusable(error) }
        var reader = SavedApps.Reader(size: size, at: now)
        let isWhole = try readBlocks(locked, while: isWanted) { bytes throws(SavedApps.Fault) in
            reader.take(bytes)
            while let app = try reader.next() { body(app) }
        }
        guard isWhole else { return nil }
        do throws(SavedApps.Fault) { try reader.finish() } catch { throw .unusable(error) }
        return reader.writing
    }

    /// - Returns: whether it was read to its end.
    private func readBlocks(
        _ file: CInt, while isWanted: () -> Bool, _ take: (UnsafeRawBufferPointer) throws(SavedApps.Fault) -> Void
    ) throws(SavedFileError) -> Bool {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.blockSize, alignment: 16)
        defer { block.deallocate() }
        var offset = 0
        while isWanted() {
            let count = pread(file, block.baseAddress, block.count, off_t(offset))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .failed("read it") }
            guard count > 0 else { return true }
            offset += count
            do throws(SavedApps.Fault) { try take(UnsafeRawBufferPointer(rebasing: block[..<count])) } catch { throw .unusable(error) }
        }
        return false
    }

    /// Why the file cannot be opened, after `lock` has found none; `nil` if nothing is at the path.
    var cannotBeOpened: SavedFileError? {
        var status = stat()
        guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        let file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file < 0 else {
            close(file)
            return nil
        }
        return .failed("read it")
    }

    /// Why no write can replace what is at the path, after `lock` has found no file; `nil` if one can. Links are replaced.
    var cannotBeReplaced: SavedFileError? {
        var status = stat()
        guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT != S_IFLNK, let cannotBeOpened else {
            return nil
        }
        return .system("\(cannotBeOpened): give what is there to the user of this program, or remove it")
    }

    /// Moves what is at the path to `FILE.broken`, over an older one.
    func moveAside() throws(SavedFileError) {
        guard renameat(folder, name, folder, Self.broken(name)) == 0 else {
            guard errno != ENOENT else { return }
            throw .failed("move it to \(Self.broken(path))")
        }
        hold(nil)
    }

    // MARK: - Writing

    /// Writes these apps to a new file, which then takes the place of the old one.
    /// - Returns: its size in bytes.
    func write(_ apps: [AppEntry], at writing: SavedApps.Writing) throws(SavedFileError) -> Int {
        let replaces = try lock()
        let temporary = "\(leftoverPrefix)\(String(UInt64.random(in: .min ... .max), radix: 36))"
        let file = openat(folder, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, Self.mode)
        guard file >= 0 else { throw .failed("write a file beside it") }
        do throws(SavedFileError) {
            let size = try write(apps, at: writing, to: file)
            // Independent of the umask.
            guard fchmod(file, Self.mode) == 0, fsync(file) == 0 else { throw .failed("write it") }
            // No other process can have its lock.
            _ = flock(file, LOCK_EX | LOCK_NB)
            try put(temporary, replaces: replaces)
            hold(file)
            // As long as there was no file, another process could be writing its first one. From now on that would fail.
            if !replaces { removeLeftovers() }
            // A folder that cannot be read cannot be synced either. Then the file may be lost in a power failure.
            if fsync(folder) != 0, errno != EBADF, errno != EINVAL { throw .failed("sync its folder") }
            return size
        } catch {
            if locked != file {
                close(file)
                unlinkat(folder, temporary, 0)
            }
            throw error
        }
    }

    private func put(_ temporary: String, replaces: Bool) throws(SavedFileError) {
        if replaces {
            guard renameat(folder, temporary, folder, name) == 0 else { throw .failed("replace it") }
            return
        }
        // Another process may create the file at the same time. Only one of both succeeds.
        if cfiles_move(folder, temporary, name) == 0 { return }
        let code = errno
        // If the other process has removed the temporary file, its own file is in place too.
        guard code == EEXIST || code == ENOENT else { throw .failed("put it in place") }
        // A link that leads nowhere counts as no file.
        var status = stat()
        guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFLNK else {
            if try lock() { throw .system("cannot put it in place: another file came there") }
            throw cannotBeReplaced ?? .system("cannot put it in place: \(SystemError.text(code))")
        }
        guard renameat(folder, temporary, folder, name) == 0 else { throw .failed("replace it") }
    }

    private func write(_ apps: [AppEntry], at writing: SavedApps.Writing, to file: CInt) throws(SavedFileError) -> Int {
        var size = 0
        try SavedApps.write(apps, at: writing) { bytes throws(SavedFileError) in
            var rest = bytes
            while !rest.isEmpty {
                let count = Glibc.write(file, rest.baseAddress, min(rest.count, Self.blockSize))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw .failed("write it") }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
            size += bytes.count
        }
        return size
    }

    /// The prefix of the names of temporary files.
    private var leftoverPrefix: String { ".\(name).new-" }

    private func removeLeftovers() {
        let descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        guard let stream = fdopendir(descriptor) else {
            close(descriptor)
            return
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let entryName = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if entryName.hasPrefix(leftoverPrefix) { unlinkat(folder, entryName, 0) }
        }
    }
}
