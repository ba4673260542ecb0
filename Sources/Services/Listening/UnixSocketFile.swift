import CFiles
import Glibc
import Proxy

/// The file of a Unix socket that this process has made: its owner, its mode, and its removal while it is still the same file.
///
/// The folder may belong to another user, who can rename, remove and replace everything in it at any moment. So the folder is opened once,
/// and all calls use descriptors: no owner or mode is changed through a path, and a file that appears meanwhile is not replaced or removed.
struct UnixSocketFile: Sendable {
    let path: String
    private let folder: Folder
    private let name: String
    private let identity: FileIdentity

    /// Removes the file, unless another one has taken its place.
    func remove() { folder.remove(name, ifItIs: identity) }

    /// Whether no file is at the path any more. Blocks.
    var isGone: Bool {
        var status = stat()
        return lstat(path, &status) != 0 && (errno == ENOENT || errno == ENOTDIR)
    }

    /// Errors that can be found without the file system: user, group, and the length of the path.
    static func faults(in config: UnixSocketConfig) -> [ListenError] {
        var user = config
        user.group = .current
        var group = config
        group.user = .current
        return [
            fault { () throws(ListenError) in try requireUsable(config.path) },
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

    /// Problems that would make a start fail now, but perhaps not later: a missing folder that a service manager makes, a file of another
    /// kind, a socket of another user, an owner that only root can set. A service manager that passes the socket takes care of all of them.
    static func warnings(_ loaded: LoadedConfig) -> [ConfigProblem] {
        guard let socket = loaded.config.receiver.unixSocket else { return [] }
        let faults = [
            fault { () throws(ListenError) in
                let (folder, name) = try Folder.open(of: socket.path)
                guard let standing = try socketOrNothing(name, in: folder, socket.path) else { return }
                // As connect(2) demands it, without a connection, which would disturb a process that listens.
                guard standing.isWritable else { throw ListenError(socket.path, notAllowedToConnect) }
            },
            fault { () throws(ListenError) in try Owner(socket).tryOut(address: socket.path) },
        ]
        return faults.compactMap(\.self).map { error in
            let key = error.key.map { "receiver.\($0)" } ?? "receiver.receiver_unix_socket"
            return loaded.origin.problem(key, "\(key): a start would fail now: \(error.reason)", severity: .warning)
        }
    }

    /// Whether a socket is at the path on which a process listens. It does not connect, which would disturb that process. Blocks.
    static func isListening(at path: String) -> Bool {
        var status = stat()
        // Without the right to look into the folder, the table alone tells.
        guard lstat(path, &status) == 0 ? status.st_mode & S_IFMT == S_IFSOCK : errno == EACCES else { return false }
        guard let table = try? readFile("/proc/net/unix", limit: 64 << 20) else { return false }
        let resolved = FilePath.withoutLinks(path)
        return table.bytes.split(separator: UInt8(ascii: "\n")).dropFirst().contains { line in
            // Num RefCount Protocol Flags Type St Inode Path; a path may contain spaces. The flag 00010000 means that it listens (proc(5)).
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 7)
            guard fields.count == 8, fields[3].elementsEqual("00010000".utf8) else { return false }
            return FilePath.withoutLinks(String(decoding: fields[7], as: UTF8.self)) == resolved
        }
    }

    /// Makes a bound socket with its owner and mode. Clients cannot connect before it listens.
    ///
    /// If the path is free, the socket is bound there, so that `ss` shows the path. If the file of a running listener is there, the socket
    /// is bound beside it, so that no client finds the path empty.
    /// - Parameter ours: files of running listeners. The new socket may replace one of them.
    static func bind(_ config: UnixSocketConfig, replacing ours: [UnixSocketFile] = []) throws(ListenError) -> Pending {
        try requireUsable(config.path)
        let owner = try Owner(config)
        let (folder, name) = try Folder.open(of: config.path)
        let standing = try socketOrNothing(name, in: folder, config.path)
        let replaced = standing.flatMap { standing in ours.contains { $0.identity == standing.identity } ? standing.identity : nil }
        if let standing, replaced == nil { try removeStale(standing, name, in: folder, config.path) }

        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw ListenError(config.path, SystemError.text(errno)) }
        do throws(ListenError) {
            let boundName = replaced == nil ? name : Folder.temporaryName()
            let address = replaced == nil ? config.path : folder.path(to: boundName)
            let file = try bind(descriptor, to: address, name: boundName, in: folder, config.path)
            let pending = Pending(
                descriptor: descriptor, path: config.path, folder: folder, name: name, boundName: boundName, identity: file.identity,
                replaced: replaced)
            do throws(ListenError) {
                try owner.apply(to: file, mode: config.mode, address: config.path)
            } catch {
                pending.abandon()
                throw error
            }
            return pending
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// A socket that is bound and does not listen yet.
    struct Pending: Sendable {
        let descriptor: CInt
        fileprivate let path: String
        fileprivate let folder: Folder
        fileprivate let name: String
        /// The name under which the socket was bound: `name`, or a temporary one.
        fileprivate let boundName: String
        fileprivate let identity: FileIdentity
        /// The file that is to be replaced.
        fileprivate let replaced: FileIdentity?

        /// Moves the file to the configured path. It replaces the old file in one step.
        func publish() throws(ListenError) -> UnixSocketFile {
            let file = UnixSocketFile(path: path, folder: folder, name: name, identity: identity)
            let standing = try folder.entry(boundName, of: path, orElse: "the socket file has vanished")
            guard standing.identity == identity else { throw ListenError(path, "the socket file has vanished") }
            guard boundName != name else { return file }
            guard cfiles_exchange(folder.descriptor, boundName, name) == 0 else {
                // The old file has vanished: there is nothing to replace.
                guard errno == ENOENT, cfiles_move(folder.descriptor, boundName, name) == 0 else {
                    throw ListenError(path, SystemError.text(errno))
                }
                return file
            }
            guard folder.entry(boundName)?.identity == replaced else {
                _ = cfiles_exchange(folder.descriptor, boundName, name)
                throw ListenError(path, "another file came there in the meantime; it is left alone")
            }
            unlinkat(folder.descriptor, boundName, 0)
            return file
        }

        /// Removes the file. The owner of the descriptor closes it.
        func abandon() { folder.remove(boundName, ifItIs: identity) }
    }

    private static func bind(
        _ descriptor: CInt, to address: String, name: String, in folder: Folder, _ path: String
    ) throws(ListenError) -> Entry {
        // bind(2) gives the file the mode of the socket, less the umask. No other file has this mode.
        let isMarked = fchmod(descriptor, Entry.mark) == 0
        guard UnixAddress(path: address).withSocketAddress({ Glibc.bind(descriptor, $0, $1) }) == 0 else {
            throw ListenError(path, bindFailure(errno, path: path))
        }
        let changed = "the folder \(folder.path) was changed while the socket was made"
        let file = try folder.entry(name, of: path, orElse: changed)
        guard file.isSocket, file.user == geteuid(), !isMarked || file.isMarked else { throw ListenError(path, changed) }
        return file
    }

    // MARK: - Existing files

    /// - Returns: the socket that is there; `nil` without a file.
    private static func socketOrNothing(_ name: String, in folder: Folder, _ path: String) throws(ListenError) -> Entry? {
        guard let entry = folder.entry(name) else {
            if errno == ENOENT { return nil }
            throw ListenError(path, SystemError.text(errno))
        }
        guard entry.isSocket else { throw ListenError(path, "a file is there that is not a socket; it is left alone") }
        return entry
    }

    /// Removes the socket file of a process that was killed.
    private static func removeStale(_ entry: Entry, _ name: String, in folder: Folder, _ path: String) throws(ListenError) {
        switch probe(entry) {
        case ECONNREFUSED: break
        // `entry` is open, so only /proc can be missing.
        case ENOENT:
            throw ListenError(
                path, "cannot tell whether another process is listening on it, because /proc is missing: mount it, or remove the socket")
        case 0, EAGAIN: throw ListenError(path, "another process is listening on it", isAddressInUse: true)
        case EPROTOTYPE: throw ListenError(path, "it is a socket of another type; it is left alone")
        case EACCES: throw ListenError(path, notAllowedToConnect)
        case let error: throw ListenError(path, "cannot tell whether another process is listening on it: \(SystemError.text(error))")
        }
        guard folder.remove(name, ifItIs: entry.identity) else {
            throw ListenError(path, "cannot remove the socket that is there: \(SystemError.text(errno))")
        }
    }

    private static let notAllowedToConnect = "a socket is there that this user may not connect to; it is left alone"

    /// - Returns: 0 when a process accepts, otherwise the `errno`.
    private static func probe(_ entry: Entry) -> CInt {
        // Without blocking: a full queue also means that a process listens.
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        let address = UnixAddress(path: "/proc/self/fd/\(entry.descriptor)")
        return address.withSocketAddress { connect(descriptor, $0, $1) } == 0 ? 0 : errno
    }

    // MARK: - Paths

    private static func requireUsable(_ path: String) throws(ListenError) {
        guard !path.isEmpty, !path.utf8.contains(0), path.utf8.last != UInt8(ascii: "/") else { throw ListenError(path, "not a path") }
        guard path.utf8.count <= UnixAddress.maxPathLength else {
            throw ListenError(path, "the path is too long for a Unix socket (at most \(UnixAddress.maxPathLength) bytes)")
        }
    }

    private static func bindFailure(_ errno: CInt, path: String) -> String {
        switch errno {
        case EACCES, EPERM: "permission denied: this user may not create files in \(FilePath(path).folder)"
        case EROFS: "\(FilePath(path).folder) is on a read-only file system"
        case EADDRINUSE: "another file came there in the meantime; it is left alone"
        default: SystemError.text(errno)
        }
    }
}

/// The address of a Unix socket (unix(7)).
struct UnixAddress: Equatable, Sendable {
    /// `sun_path` has 108 bytes, with the final NUL.
    static let maxPathLength = 107

    private let path: [UInt8]

    /// - Parameter path: a longer one than `maxPathLength` is cut.
    init(path: String) { self.path = path.utf8.prefix(Self.maxPathLength) + [0] }

    /// A name in the kernel's own table, which is not a file. A longer one than `maxPathLength` is cut.
    init(abstract name: some Sequence<UInt8>) { path = [0] + name.prefix(Self.maxPathLength) }

    func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = MemoryLayout<sa_family_t>.size + path.count
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
        }
    }
}
