import Glibc
import NIOCore
import Proxy

/// A TCP socket that has an address but does not listen. No connection can wait in it, so it can be closed at any time.
struct BoundTCPSocket: Sendable {
    /// The owner of this value closes it, or hands it to a channel.
    let descriptor: CInt
    /// For port 0, the port that the system picked.
    let port: UInt16

    /// - Parameters:
    ///   - v6Only: whether `[::]` leaves IPv4 to a listener beside it.
    ///   - sharesPort: whether another listener of this process, which shares too, holds an overlapping address now.
    static func bind(_ address: ListenAddress, v6Only: Bool, sharesPort: Bool) throws(ListenError) -> BoundTCPSocket {
        let socketAddress: SocketAddress
        do {
            socketAddress = try SocketAddress(ipAddress: address.host, port: Int(address.port))
        } catch {
            throw ListenError("\(address)", "not a numeric IP address")
        }
        let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, kind, 0)
        guard descriptor >= 0 else { throw ListenError("\(address)", errno: errno, port: address.port) }
        set(SO_REUSEADDR, of: descriptor, true)
        set(SO_REUSEPORT, of: descriptor, sharesPort)
        if address.isIPv6 { set(IPV6_V6ONLY, of: descriptor, level: CInt(IPPROTO_IPV6), v6Only) }
        let result = socketAddress.withSockAddr { Glibc.bind(descriptor, $0, socklen_t($1)) }
        guard result == 0, let port = boundPort(of: descriptor) else {
            let error = errno
            close(descriptor)
            throw ListenError("\(address)", errno: error, port: address.port)
        }
        return BoundTCPSocket(descriptor: descriptor, port: port)
    }

    /// Whether another socket of this user that shares too may bind an overlapping address (socket(7), `SO_REUSEPORT`).
    static func setSharesPort(_ shares: Bool, of descriptor: CInt) {
        set(SO_REUSEPORT, of: descriptor, shares)
    }

    /// Whether a connection waits to be accepted.
    static func hasWaitingConnection(_ descriptor: CInt) -> Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 0) == 1 && request.revents & Int16(POLLIN) != 0
    }

    /// From now on the kernel gives new connections to another socket that listens at an overlapping address, or refuses them if there is none.
    /// Those that wait to be accepted, or are being made, are kept. This cannot be taken back. It has no effect on a Unix socket.
    ///
    /// The socket is bound to a network interface that does not exist (socket(7), `SO_BINDTODEVICE`), which an ordinary user may do once for
    /// each socket. Before Linux 5.7 it has no effect without CAP_NET_RAW.
    /// - Returns: whether arrivals have ended, now or by an earlier call.
    @discardableResult
    static func endArrivals(at descriptor: CInt) -> Bool {
        set(SO_BINDTOIFINDEX, of: descriptor, CInt.max)
        var interface: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_BINDTOIFINDEX, &interface, &length) == 0 && interface == CInt.max
    }

    private static func set(_ option: CInt, of descriptor: CInt, level: CInt = SOL_SOCKET, _ on: Bool) {
        set(option, of: descriptor, level: level, on ? 1 : 0)
    }

    private static func set(_ option: CInt, of descriptor: CInt, level: CInt = SOL_SOCKET, _ value: CInt) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    private static func boundPort(of descriptor: CInt) -> UInt16? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { return nil }
        // In both kinds of address the port follows the family, in network order (ip(7), ipv6(7)).
        return withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.load(fromByteOffset: MemoryLayout<sa_family_t>.size, as: UInt16.self)) }
    }
}

/// Why a listener cannot use its address, and what to do about it.
struct ListenError: Error, Equatable, CustomStringConvertible, Sendable {
    /// The address or socket path, as configured.
    let address: String
    /// What is wrong, without the address.
    let reason: String
    /// The key at fault in the receiver's table, if it is not that of the address: `unix_socket_user`.
    let key: String?

    /// Whether another socket uses the address.
    let isAddressInUse: Bool

    /// For the operator: `cannot listen on 127.0.0.1:80: permission denied …`.
    var description: String { "cannot listen on \(address): \(reason)" }

    init(_ address: String, _ reason: String, key: String? = nil, isAddressInUse: Bool = false) {
        self.address = address
        self.reason = reason
        self.key = key
        self.isAddressInUse = isAddressInUse
    }

    /// - Parameter errno: the error of bind(2) or listen(2) for a TCP socket.
    init(_ address: String, errno: CInt, port: UInt16) {
        let reason =
            switch errno {
            case EADDRINUSE: "address already in use; is another process listening there?"
            case EACCES where port < 1024 && port != 0: "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
            case EADDRNOTAVAIL: "cannot assign requested address; no interface of this machine has it"
            case EAFNOSUPPORT: "this machine does not support the address family"
            case EMFILE, ENFILE: "too many open files"
            default: SystemError.text(errno)
            }
        self.init(address, reason, isAddressInUse: errno == EADDRINUSE)
    }
}
