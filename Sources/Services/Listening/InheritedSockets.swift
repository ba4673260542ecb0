import Glibc
import Proxy

/// Listening sockets that the service manager has passed to this process (sd_listen_fds(3)). Those that listeners use at the start stay open
/// until the process ends, so that connections wait in them while nothing accepts.
struct InheritedSockets: Sendable {
    struct Socket: Sendable {
        enum Address: Equatable, Sendable {
            /// - Parameter isDualStack: of `[::]`: whether it takes IPv4 too.
            case tcp(ListenAddress, isDualStack: Bool)
            /// A path without symbolic links.
            case unix(String)
            /// A kind of socket that no listener uses, in words for messages.
            case other(String)
        }

        let descriptor: CInt
        /// The name that the socket unit gives it, by default the unit's own.
        let name: String
        let address: Address
    }

    private(set) var sockets: [Socket] = []
    /// Those that this process has closed. The service manager still holds them.
    private(set) var closed: [Socket] = []
    /// Problems with the environment variables, for the log.
    private(set) var warnings: [String] = []

    /// No sockets.
    static let none = InheritedSockets()

    private init() {}

    /// The first descriptor that is passed.
    private static let first: CInt = 3
    /// The highest number of sockets that is taken. No unit passes as many.
    private static let most = 1024

    /// Takes the sockets that the environment announces for this process, and removes the variables. Called once, before other threads read
    /// the environment.
    static func take() -> InheritedSockets {
        let names = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
        let values = names.map { getenv($0).map { String(cString: $0) } }
        for name in names + ["LISTEN_PIDFDID"] { unsetenv(name) }
        return InheritedSockets(process: values[0], count: values[1], names: values[2])
    }

    /// - Parameters: the values of `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.
    init(process: String?, count: String?, names: String?, first: CInt = first) {
        // Other processes inherit the environment too. The sockets are only for the process with this number.
        guard let process, let count, let id = pid_t(process), id == getpid() else { return }
        guard let number = Int(count), (0...Self.most).contains(number) else {
            warnings.append("LISTEN_FDS is not a number of sockets: \(PrintableText(count).text)")
            return
        }
        let names = names?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        for index in 0..<number {
            let descriptor = first + CInt(index)
            guard fcntl(descriptor, F_GETFD) >= 0 else {
                warnings.append("LISTEN_FDS announces \(number) sockets, but descriptor \(descriptor) is not open")
                return
            }
            var status = stat()
            guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
                // Do not close it: if the variables are wrong, the descriptor is one of the program's own.
                warnings.append("LISTEN_FDS announces \(number) sockets, but descriptor \(descriptor) is not a socket")
                continue
            }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            let name = index < names.count ? PrintableText(String(names[index])).text : "unknown"
            sockets.append(Socket(descriptor: descriptor, name: name, address: .init(of: descriptor)))
        }
    }

    // MARK: - Addresses

    /// The socket that a listener is to use; `nil` when it makes one of its own.
    func socket(for identity: ListenerIdentity) -> Socket? { sockets.serving(identity) }

    /// A socket that keeps a listener from binding an address of its own.
    func socket(inTheWayOf identity: ListenerIdentity) -> Socket? { sockets.inTheWay(of: identity) }

    /// The error of a listener whose address is in use, with the reason if that is a socket that this process has closed.
    func explained(_ error: ListenError, of identity: ListenerIdentity) -> ListenError {
        guard error.isAddressInUse else { return error }
        if let own = closed.serving(identity) {
            return ListenError(
                error.address,
                "systemd's unit \(own.name) holds it; its socket was closed at the start, because no configured address used it: restart the service"
            )
        }
        return closed.inTheWay(of: identity).map { ListenError(error.address, $0.reasonOfOverlap) } ?? error
    }

    /// Closes the sockets that none of these listeners uses.
    /// - Returns: the sockets that were closed.
    mutating func close(exceptFor identities: [ListenerIdentity]) -> [Socket] {
        let used = Set(identities.compactMap { socket(for: $0)?.descriptor })
        let unused = sockets.filter { !used.contains($0.descriptor) }
        for socket in unused { Glibc.close(socket.descriptor) }
        sockets.removeAll { !used.contains($0.descriptor) }
        closed += unused
        return unused
    }
}

extension [InheritedSockets.Socket] {
    /// The one that is bound to a listener's address.
    fileprivate func serving(_ identity: ListenerIdentity) -> InheritedSockets.Socket? {
        if let address = identity.address {
            // Without a port the system picks one.
            guard address.port != 0 else { return nil }
            let same = first(where: { if case .tcp(let own, _) = $0.address { own == address } else { false } })
            return same ?? (address.host == "0.0.0.0" ? first(where: { $0.address == .dualStack(address.port) }) : nil)
        }
        guard case .unix(let socket) = identity else { return nil }
        // systemd turns `/var/run` into `/run`, so only paths without links can be compared.
        let path = FilePath.withoutLinks(socket.path)
        return first(where: { $0.address == .unix(path) })
    }

    /// One whose address overlaps a listener's.
    fileprivate func inTheWay(of identity: ListenerIdentity) -> InheritedSockets.Socket? {
        guard let address = identity.address else { return nil }
        return first(where: { socket in
            guard case .tcp(let own, let isDualStack) = socket.address else { return false }
            return own.overlaps(address) && (own.isIPv6 == address.isIPv6 || own.host != "::" || isDualStack)
        })
    }
}

extension InheritedSockets.Socket {
    /// A second descriptor of this socket. To close it leaves the socket open.
    func duplicate() throws(ListenError) -> CInt {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw ListenError("\(self)", SystemError.text(errno)) }
        return copy
    }

    /// Why a listener cannot bind an address that overlaps this one.
    var reasonOfOverlap: String {
        "it overlaps \(self), a socket of systemd's unit \(name): change ListenStream= there, stop that unit and this service with one "
            + "systemctl command, and start both with another"
    }
}

extension InheritedSockets.Socket: CustomStringConvertible {
    var description: String {
        switch address {
        case .tcp(let address, _): address.description
        case .unix(let path): path
        case .other(let what): what
        }
    }
}

extension InheritedSockets.Socket.Address {
    fileprivate static func dualStack(_ port: UInt16) -> Self { .tcp(ListenAddress(host: "::", port: port), isDualStack: true) }

    /// As the kernel tells it.
    fileprivate init(of descriptor: CInt) {
        guard Self.option(SO_TYPE, of: descriptor) == CInt(SOCK_STREAM.rawValue) else {
            self = .other("descriptor \(descriptor), which is not a stream socket")
            return
        }
        guard Self.option(SO_ACCEPTCONN, of: descriptor) == 1 else {
            self = .other("descriptor \(descriptor), a socket that does not listen")
            return
        }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else {
            self = .other("descriptor \(descriptor), whose address cannot be told")
            return
        }
        switch CInt(storage.ss_family) {
        case AF_INET, AF_INET6:
            let isIPv6 = CInt(storage.ss_family) == AF_INET6
            // sockaddr_in: family, port, address; sockaddr_in6: family, port, flow, address (ip(7), ipv6(7)).
            let (port, host) = withUnsafeBytes(of: storage) { bytes in
                (UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self)), Self.host(bytes, at: isIPv6 ? 8 : 4, isIPv6: isIPv6))
            }
            let isV6Only = Self.option(IPV6_V6ONLY, level: CInt(IPPROTO_IPV6), of: descriptor) == 1
            self = .tcp(ListenAddress(host: host, port: port), isDualStack: isIPv6 && host == "::" && !isV6Only)
        case AF_UNIX:
            let path = withUnsafeBytes(of: storage) { bytes in bytes[2..<max(2, min(Int(length), bytes.count))].prefix { $0 != 0 } }
            guard !path.isEmpty else {
                self = .other("descriptor \(descriptor), a Unix socket without a path")
                return
            }
            self = .unix(FilePath.withoutLinks(String(decoding: path, as: UTF8.self)))
        default: self = .other("descriptor \(descriptor), a socket of another family")
        }
    }

    private static func host(_ bytes: UnsafeRawBufferPointer, at offset: Int, isIPv6: Bool) -> String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard let address = bytes.baseAddress?.advanced(by: offset),
            inet_ntop(isIPv6 ? AF_INET6 : AF_INET, address, &text, socklen_t(text.count)) != nil
        else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func option(_ option: CInt, level: CInt = SOL_SOCKET, of descriptor: CInt) -> CInt? {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, level, option, &value, &length) == 0 ? value : nil
    }
}
