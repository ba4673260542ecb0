import Glibc

/// The known state of one watched file. Finds out whether its bytes have changed.
struct FileState: Sendable {
    /// Where the file is, absolute.
    let location: String
    private var status: FileStatus?
    /// `nil` if they are not known yet. Then the first look is not a change.
    private var contents: FileFingerprint?
    /// Until then the bytes are compared even if `stat` shows no change: two writes within one tick of the file system's clock (up to 2 s
    /// on FAT, 1 s on old NFS servers) leave the same status. Counted from the first look at this status, so no clocks are compared.
    private var settlesAt: ContinuousClock.Instant?

    /// How long a status may hide a second write.
    static let settlingTime = Duration.seconds(2)

    /// The file as it was read before.
    init(_ reading: FileWatcher.Reading, from location: String, limit: Int, at now: ContinuousClock.Instant) {
        self.location = location
        status = nil
        contents =
            switch reading {
            case .bytes(let bytes) where bytes.count <= limit: FileFingerprint(of: bytes)
            case .unreadable: .unreadable
            // The bytes of a file that is too large are not compared: its present state counts.
            case .bytes, .unknown: FileFingerprint(of: location, limit: limit)
            }
        settlesAt = now + Self.settlingTime
    }

    /// Whether the bytes must be read; costs one `stat`.
    func needsLook() -> Bool {
        settlesAt != nil || FileStatus(following: location) != status
    }

    /// Reads the file. Returns whether the bytes differ from those before.
    mutating func look(limit: Int, at now: ContinuousClock.Instant) -> Bool {
        let found = FileStatus(following: location)
        guard settlesAt != nil || found != status else { return false }
        guard let read = FileFingerprint(of: location, limit: limit) else {
            settlesAt = now + Self.settlingTime
            return false
        }
        if found != status {
            status = found
            settlesAt = now + Self.settlingTime
        } else if let settled = settlesAt, now >= settled {
            settlesAt = nil
        }
        defer { contents = read }
        return contents.map { $0 != read } ?? false
    }
}

/// Identifies the contents of a file without keeping the bytes, which may be a private key.
enum FileFingerprint: Equatable, Sendable {
    /// A hash under this process's random key, and the number of bytes.
    case bytes(digest: Int, count: Int)
    /// Above the limit nothing is read: another file, size or modification time counts as another content.
    case large(FileIdentity, size: Int64, modified: FileStatus.Moment)
    /// Missing, not readable, or not a regular file.
    case unreadable

    /// The fingerprint of a file with these bytes.
    init(of bytes: some Sequence<UInt8>) {
        var digest = Digest()
        let done: Void? = bytes.withContiguousStorageIfAvailable { digest.add(UnsafeRawBufferPointer($0)) }
        if done == nil {
            Array(bytes).withUnsafeBytes { digest.add($0) }
        }
        self = digest.contents
    }

    /// Reads the file that `path` leads to, at most `limit` bytes of it.
    ///
    /// `nil` when reading failed now for a reason that is not in the file (no free descriptor, no memory): ask again later.
    init?(of path: String, limit: Int) {
        // A device may act on being opened, and a FIFO would wait for a writer: only files are opened.
        guard let status = FileStatus(following: path), status.kind == .file else {
            self = .unreadable
            return
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            if Self.isPassing(errno) { return nil }
            self = .unreadable
            return
        }
        defer { close(descriptor) }
        guard let status = FileStatus(descriptor: descriptor), status.kind == .file else {
            self = .unreadable
            return
        }
        let large = Self.large(status.identity, size: status.size, modified: status.modified)
        guard status.size <= limit else {
            self = large
            return
        }
        var digest = Digest()
        switch Self.read(descriptor, into: &digest, limit: limit) {
        case .whole: self = digest.contents
        case .tooLarge: self = large
        case .failed(let code):
            if Self.isPassing(code) { return nil }
            self = .unreadable
        }
    }

    private enum ReadResult {
        case whole, tooLarge, failed(Int32)
    }

    private static func read(_ descriptor: Int32, into digest: inout Digest, limit: Int) -> ReadResult {
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { buffer in
            // Counted while reading, because files in /proc have size 0, and other files may grow.
            while digest.count <= limit {
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { return .failed(errno) }
                guard count > 0 else { return .whole }
                digest.add(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            return .tooLarge
        }
    }

    /// Whether an error is a temporary one of the process or the system, and says nothing about the file.
    private static func isPassing(_ code: Int32) -> Bool {
        [EMFILE, ENFILE, ENOMEM, EINTR, ESTALE].contains(code)
    }

    private struct Digest {
        private var hasher = Hasher()
        private(set) var count = 0

        mutating func add(_ bytes: UnsafeRawBufferPointer) {
            hasher.combine(bytes: bytes)
            count += bytes.count
        }

        var contents: FileFingerprint { .bytes(digest: hasher.finalize(), count: count) }
    }
}

/// Identifies a file, whatever its name.
struct FileIdentity: Hashable, Sendable {
    let device: UInt64
    let inode: UInt64
}

/// The result of `stat(2)` for a file: a cheap way to see that it did not change.
struct FileStatus: Equatable, Sendable {
    let identity: FileIdentity
    let size: Int64
    let modified: Moment
    let changed: Moment
    let kind: Kind

    struct Moment: Equatable, Sendable {
        let seconds: Int
        let nanoseconds: Int
    }

    enum Kind: Sendable {
        case file, directory, link, other
    }

    /// The status of the file that `path` leads to; `nil` when there is none, or the path cannot be followed.
    init?(following path: String) {
        var buffer = stat()
        guard stat(path, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    /// The status of `path` itself; for a symbolic link that of the link.
    init?(of path: String) {
        var buffer = stat()
        guard lstat(path, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    /// The status of an open file.
    init?(descriptor: Int32) {
        var buffer = stat()
        guard fstat(descriptor, &buffer) == 0 else { return nil }
        self.init(buffer)
    }

    private init(_ buffer: stat) {
        identity = FileIdentity(device: UInt64(buffer.st_dev), inode: UInt64(buffer.st_ino))
        size = Int64(buffer.st_size)
        modified = Moment(seconds: buffer.st_mtim.tv_sec, nanoseconds: buffer.st_mtim.tv_nsec)
        changed = Moment(seconds: buffer.st_ctim.tv_sec, nanoseconds: buffer.st_ctim.tv_nsec)
        kind =
            switch buffer.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .link
            default: .other
            }
    }
}

/// Calls of the system that return texts.
enum System {
    /// The meaning of an error number, beginning in lower case: `permission denied`.
    static func text(ofError code: Int32) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            buffer.initialize(repeating: 0)
            guard let start = buffer.baseAddress, strerror_r(code, start, buffer.count) == 0 else { return "error \(code)" }
            let text = String(cString: start)
            return text.prefix(1).lowercased() + text.dropFirst()
        }
    }

    /// Where a symbolic link leads; `nil` when the path is not one.
    static func target(ofLink path: String) -> String? {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            guard let start = buffer.assumingMemoryBound(to: CChar.self).baseAddress else { return nil }
            let count = readlink(path, start, buffer.count)
            guard count > 0 else { return nil }
            return String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    /// Where relative paths start; `nil` when that folder is gone.
    static func workingDirectory() -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress, getcwd(start, buffer.count) != nil else { return nil }
            return String(cString: start)
        }
    }
}

/// A path as the kernel follows it: each directory on the way, with the symbolic links, and the file itself. The watcher watches all of
/// them.
struct WatchedPath: Equatable {
    /// The directories on the way, with the names that are looked up in each.
    private(set) var directories: [FileIdentity: Directory] = [:]
    /// The end of the path.
    private(set) var end: End = .missing

    struct Directory: Equatable {
        /// Without symbolic links, when it was resolved.
        let path: String
        var names: Set<String>
    }

    enum End: Equatable {
        /// A file that is not a directory: its path without symbolic links, and its identity.
        case file(path: String, FileIdentity)
        case directory
        /// A name on the way does not exist, is not a directory, or may not be looked up.
        case missing
        case tooManyLinks
    }

    /// As many symbolic links as Linux follows (path_resolution(7)).
    static let maximumLinks = 40

    private struct Place {
        let path: String
        let identity: FileIdentity

        func path(of name: String) -> String {
            path == "/" ? "/" + name : path + "/" + name
        }
    }

    /// Follows `path`, which is absolute, step by step as the kernel would.
    init(resolving path: String) {
        guard let status = FileStatus(of: "/") else { return }
        let root = Place(path: "/", identity: status.identity)
        var trail = [root]
        var pending = Self.names(in: path)
        var links = 0
        end = .directory
        while let name = pending.popLast() {
            if name == ".." {
                if trail.count > 1 { trail.removeLast() }
                continue
            }
            let here = trail.last ?? root
            directories[here.identity, default: Directory(path: here.path, names: [])].names.insert(name)
            let next = here.path(of: name)
            guard let status = FileStatus(of: next) else {
                end = .missing
                return
            }
            switch status.kind {
            case .directory:
                trail.append(Place(path: next, identity: status.identity))
            case .link:
                links += 1
                guard links <= Self.maximumLinks else {
                    end = .tooManyLinks
                    return
                }
                guard let target = System.target(ofLink: next) else {
                    end = .missing
                    return
                }
                if target.utf8.first == UInt8(ascii: "/") { trail = [root] }
                pending += Self.names(in: target)
            case .file, .other:
                end = pending.isEmpty ? .file(path: next, status.identity) : .missing
                return
            }
        }
    }

    /// The names in a path, the last one first, without `.` and empty ones.
    private static func names(in path: String) -> [String] {
        path.utf8.split(separator: UInt8(ascii: "/")).reversed().compactMap { name in
            name.elementsEqual(".".utf8) ? nil : String(name)
        }
    }
}
