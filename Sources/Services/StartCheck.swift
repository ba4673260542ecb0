import Glibc
import NIOCore
import Proxy

/// Finds what would make a start fail now, although the configuration and its files are right. It does not disturb running programs: an
/// address is bound for a moment without listening, and no file is made.
enum StartCheck {
    /// Blocks.
    /// - Parameter holders: the processes that hold sockets; `nil` if this user is to look for them.
    static func problems(with loaded: LoadedConfig, _ holders: SocketHolders?) -> [ConfigProblem] {
        loaded.config.listeners.flatMap { addressProblems(of: $0, loaded, holders) } + socketProblems(with: loaded)
            + stateFileProblems(with: loaded)
    }

    private static func addressProblems(
        of listener: ListenerIdentity, _ loaded: LoadedConfig, _ holders: SocketHolders?
    ) -> [ConfigProblem] {
        guard let address = listener.address else { return [] }
        var leavesIPv4 = false
        if case .scrape(_, true) = listener { leavesIPv4 = true }
        do throws(ListenError) {
            close(try BoundTCPSocket.bind(address, v6Only: leavesIPv4, sharesPort: false).descriptor)
            return []
        } catch {
            // bind(2) tells a missing right, and an address that no interface has, before it tells that the address is in use.
            switch PortHolder.find(address, leavesIPv4: leavesIPv4, isServed: !error.isAddressInUse, among: holders) {
            // Most likely the running daemon of this configuration.
            case .exporterProxy: return []
            // Most likely the socket unit of this configuration. Only a start can find out.
            case .process("systemd", 1): return []
            case .process(let name, let id) where error.isAddressInUse:
                let reason = ListenError("\(address)", "address already in use by \(name) (process \(id))")
                return [loaded.problem(of: listener, reason)]
            case nil where error.isAddressInUse:
                var problem = loaded.problem(of: listener, error)
                problem.severity = .warning
                return [problem]
            default: return [loaded.problem(of: listener, error)]
            }
        }
    }

    private static func stateFileProblems(with loaded: LoadedConfig) -> [ConfigProblem] {
        guard let path = loaded.config.receiver.stateFile, SavedFile.fault(in: path) == nil else { return [] }
        guard let warning = SavedFile.warning(about: path) else { return [] }
        return [loaded.problem(ofStateFile: warning, severity: .warning)]
    }

    private static func socketProblems(with loaded: LoadedConfig) -> [ConfigProblem] {
        guard let socket = loaded.config.receiver.unixSocket else { return [] }
        let key = "receiver.receiver_unix_socket"
        let path = socket.path
        let folder = FilePath(path).folder
        // bind(2) has the rights of the effective user.
        let error = faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno
        // The running service, or its socket unit, listens there: then no file is made.
        if error == EACCES || error == EROFS, !UnixSocketFile.isListening(at: path) {
            let reason =
                error == EROFS
                ? "\(folder) is on a read-only file system" : "permission denied: this user may not create files in \(folder)"
            return [loaded.origin.problem(key, "\(key): \(ListenError(path, reason))")]
        }
        return UnixSocketFile.warnings(loaded)
    }
}

/// The process that listens on a TCP address, or on one that overlaps it.
enum PortHolder: Equatable {
    /// A process of this program.
    case exporterProxy
    case process(name: String, id: Int)

    /// `nil` when nothing listens there, or when this user may not see what does.
    /// - Parameters:
    ///   - leavesIPv4: whether `[::]` leaves IPv4 to a listener beside it.
    ///   - isServed: whether only a socket counts that this program would use for the address if it were passed to it.
    ///   - holders: the processes that hold sockets, if they were looked for already.
    static func find(
        _ address: ListenAddress, leavesIPv4: Bool = false, isServed: Bool = false, among holders: SocketHolders? = nil
    ) -> PortHolder? {
        let inodes = listeningInodes(inTheWayOf: address, leavesIPv4: leavesIPv4) { local in
            guard isServed else { return local.overlaps(address) }
            return local == address || (address.host == "0.0.0.0" && local == ListenAddress(host: "::", port: address.port))
        }
        guard !inodes.isEmpty else { return nil }
        return (holders ?? SocketHolders()).first(of: inodes)
    }

    /// `socket:[12345]` of each socket that listens on such an address (proc(5)).
    private static func listeningInodes(
        inTheWayOf address: ListenAddress, leavesIPv4: Bool, _ isMeant: (ListenAddress) -> Bool
    ) -> Set<String> {
        // The tables do not tell whether a socket of [::] takes IPv4 too. If it is there beside one of IPv4, it does not.
        let tables = address.isIPv6 ? ["/proc/net/tcp6", "/proc/net/tcp"] : ["/proc/net/tcp", "/proc/net/tcp6"]
        for table in tables.prefix(leavesIPv4 ? 1 : 2) {
            let inodes = listeningInodes(in: table, isMeant)
            if !inodes.isEmpty { return inodes }
        }
        return []
    }

    private static func listeningInodes(in table: String, _ isMeant: (ListenAddress) -> Bool) -> Set<String> {
        guard let reading = try? readFile(table, limit: 64 << 20) else { return [] }
        var inodes: Set<String> = []
        for line in reading.bytes.split(separator: UInt8(ascii: "\n")).dropFirst() {
            let fields = line.split(separator: UInt8(ascii: " "))
            // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode; 0A is LISTEN.
            guard fields.count > 9, fields[3].elementsEqual("0A".utf8), let local = localAddress(fields[1]), isMeant(local)
            else { continue }
            inodes.insert("socket:[\(String(decoding: fields[9], as: UTF8.self))]")
        }
        return inodes
    }

    /// Reads `0100007F:1A2B`: the address in words of 32 bits, in the byte order of this machine, and the port.
    private static func localAddress(_ field: ArraySlice<UInt8>) -> ListenAddress? {
        let parts = String(decoding: field, as: UTF8.self).split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1], radix: 16) else { return nil }
        var bytes = ByteBuffer()
        var digits = parts[0]
        while !digits.isEmpty {
            guard let word = UInt32(digits.prefix(8), radix: 16) else { return nil }
            bytes.writeInteger(word, endianness: .host)
            digits = digits.dropFirst(8)
        }
        guard let host = (try? SocketAddress(packedIPAddress: bytes, port: Int(port)))?.ipAddress else { return nil }
        return ListenAddress(host: host, port: port)
    }
}

/// The processes of this machine that hold sockets, as far as this user may see them.
public struct SocketHolders: Sendable {
    /// The process with the lowest number that holds a socket, by `socket:[12345]`.
    private var holders: [String: (process: Int, holder: PortHolder)] = [:]

    /// Looks at all processes now. Blocks.
    public init() {
        let own = Self.link("/proc/self/exe").map(Self.fileName)
        for process in Self.entries(of: "/proc").compactMap({ Int($0) }).sorted() {
            let sockets = Self.entries(of: "/proc/\(process)/fd").compactMap { Self.link("/proc/\(process)/fd/\($0)") }
                .filter { $0.hasPrefix("socket:[") && holders[$0] == nil }
            guard !sockets.isEmpty else { continue }
            // While a program is replaced, its old file is marked as deleted.
            let program = Self.link("/proc/\(process)/exe").map { Self.fileName($0.replacing(" (deleted)", with: "")) }
            let isOwn = program != nil && program == own
            let holder = isOwn ? PortHolder.exporterProxy : .process(name: program ?? "another program", id: process)
            for socket in sockets { holders[socket] = (process, holder) }
        }
    }

    /// The process with the lowest number that holds one of these sockets.
    fileprivate func first(of sockets: Set<String>) -> PortHolder? {
        sockets.compactMap { holders[$0] }.min { $0.process < $1.process }?.holder
    }

    private static func entries(of folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }

    private static func link(_ path: String) -> String? {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { buffer in
            guard let start = buffer.assumingMemoryBound(to: CChar.self).baseAddress else { return nil }
            let count = readlink(path, start, buffer.count)
            return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
        }
    }

    private static func fileName(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
}
