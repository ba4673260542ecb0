import Glibc
import Proxy

/// The file of a Unix socket that we made: owner, mode, and its removal, but only as long as it is still ours.
struct UnixSocketFile: Sendable {
    let path: String
    private let device: UInt64
    private let inode: UInt64

    private init(path: String, status: stat) {
        self.path = path
        self.device = UInt64(status.st_dev)
        self.inode = UInt64(status.st_ino)
    }

    /// Removes the file, unless another one has taken its place.
    func remove() {
        if lies(at: path) { unlink(path) }
    }

    /// What is wrong with it that can be told without touching the file system: user, group, and the length of the path.
    static func faults(in config: UnixSocketConfig) -> [ListenError] {
        var user = config
        user.group = .current
        var group = config
        group.user = .current
        return [
            fault { () throws(ListenError) in _ = try temporaryPath(for: config.path) },
            fault { () throws(ListenError) in _ = try Owner(user) },
            fault { () throws(ListenError) in _ = try Owner(group) },
        ].compactMap(\.self)
    }

    private static func fault(_ check: () throws(ListenError) -> Void) -> ListenError? {
        do throws(ListenError) {
            try check()
            return nil
        } catch {
            return error
        }
    }

    /// What a start would stumble over now, but perhaps not when it comes to start: a folder that a service manager makes, a foreign file.
    static func warnings(_ loaded: LoadedConfig) -> [ConfigProblem] {
        guard let socket = loaded.config.receiver.unixSocket else { return [] }
        do throws(ListenError) {
            try requireSocketOrNothing(socket.path)
            try requireFolder(of: socket.path)
            return []
        } catch {
            let key = "receiver.receiver_unix_socket"
            return [loaded.origin.problem(key, "\(key): a start would fail now: \(error.reason)", severity: .warning)]
        }
    }

    /// Whether this very file lies at `path` now, whatever the way there is called.
    private func lies(at path: String) -> Bool {
        guard let status = Self.status(of: path) else { return false }
        return UInt64(status.st_dev) == device && UInt64(status.st_ino) == inode
    }

    /// Binds under a temporary name in the same folder, so that nobody connects before owner and mode are right.
    /// - Parameter ours: files of running listeners, which may be there and are to be replaced.
    static func bind(_ config: UnixSocketConfig, replacing ours: [UnixSocketFile] = []) throws(ListenError) -> Pending {
        let owner = try Owner(config)
        let temporary = try temporaryPath(for: config.path)
        if !ours.contains(where: { $0.lies(at: config.path) }) { try refuseWhatIsThere(config.path) }

        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw ListenError(config.path, errorText(errno)) }
        let pending = Pending(descriptor: descriptor, path: config.path, temporaryPath: temporary)
        guard withSocketAddress(temporary, { Glibc.bind(descriptor, $0, $1) }) == 0 else {
            let reason = bindFailure(errno, path: config.path)
            close(descriptor)
            throw ListenError(config.path, reason)
        }
        do {
            try owner.apply(to: temporary, mode: config.mode, address: config.path)
        } catch {
            close(descriptor)
            pending.abandon()
            throw error
        }
        return pending
    }

    /// A socket that is bound, but not yet where clients look for it.
    struct Pending: Sendable {
        let descriptor: CInt
        fileprivate let path: String
        fileprivate let temporaryPath: String

        /// Takes the place of whatever stale socket is there, in one step.
        func publish() throws(ListenError) -> UnixSocketFile {
            guard let status = UnixSocketFile.status(of: temporaryPath) else { throw ListenError(path, "the socket file has vanished") }
            guard rename(temporaryPath, path) == 0 else { throw ListenError(path, errorText(errno)) }
            return UnixSocketFile(path: path, status: status)
        }

        /// Removes the temporary file; the descriptor is closed by whoever owns it.
        func abandon() { unlink(temporaryPath) }
    }

    // MARK: - What is there already

    private static func refuseWhatIsThere(_ path: String) throws(ListenError) {
        guard try requireSocketOrNothing(path) else { return try requireFolder(of: path) }
        switch probe(path) {
        // Nobody accepts: left behind by a process that was killed.
        case ECONNREFUSED, ENOENT: return
        case 0, EAGAIN: throw ListenError(path, "another process is listening on it")
        case EPROTOTYPE: throw ListenError(path, "it is a socket of another type; it is left alone")
        case EACCES: throw ListenError(path, "a socket is there that this user may not connect to; it is left alone")
        case let error: throw ListenError(path, "cannot tell whether another process is listening on it: \(errorText(error))")
        }
    }

    /// - Returns: whether a socket is there.
    @discardableResult
    private static func requireSocketOrNothing(_ path: String) throws(ListenError) -> Bool {
        guard let status = status(of: path) else {
            if errno == ENOENT { return false }
            throw ListenError(path, errorText(errno))
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw ListenError(path, "a file is there that is not a socket; it is left alone")
        }
        return true
    }

    private static func requireFolder(of path: String) throws(ListenError) {
        let folder = folder(of: path)
        var status = stat()
        guard stat(folder, &status) == 0 else { throw ListenError(path, "the folder \(folder) does not exist") }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw ListenError(path, "\(folder) is not a folder") }
    }

    /// - Returns: 0 when somebody accepts, otherwise the `errno`.
    private static func probe(_ path: String) -> CInt {
        // Without blocking: a full queue is somebody who listens, and must not hold us up.
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        return withSocketAddress(path) { connect(descriptor, $0, $1) } == 0 ? 0 : errno
    }

    // MARK: - Paths

    /// `sun_path` has 108 bytes, with the final NUL (unix(7)).
    private static let maxPathLength = 107

    private static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.utf8.startIndex ? "/" : String(path[..<slash])
    }

    /// A name beside `path` that nobody else uses: short, because its length counts against the limit too.
    private static func temporaryPath(for path: String) throws(ListenError) -> String {
        guard !path.isEmpty, !path.utf8.contains(0) else { throw ListenError(path, "not a path") }
        let folder = folder(of: path)
        let random = UInt32.random(in: 0..<1 << 24)
        let temporary = (folder == "/" ? "" : folder) + "/.\(String(random, radix: 36))"
        let length = max(path.utf8.count, folder.utf8.count + 1 + 6)
        guard length <= maxPathLength else {
            throw ListenError(path, "the path is too long for a Unix socket (at most \(maxPathLength) bytes, and 100 for its folder)")
        }
        return temporary
    }

    private static func withSocketAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // Lengths were checked by `temporaryPath`; the rest of `sun_path` stays zero.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(maxPathLength)) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    private static func status(of path: String) -> stat? {
        var status = stat()
        return lstat(path, &status) == 0 ? status : nil
    }

    private static func bindFailure(_ errno: CInt, path: String) -> String {
        switch errno {
        case EACCES, EPERM: "permission denied: this user may not create files in \(folder(of: path))"
        case EROFS: "\(folder(of: path)) is on a read-only file system"
        default: errorText(errno)
        }
    }
}
