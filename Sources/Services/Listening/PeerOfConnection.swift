import Glibc
import NIOCore
import Proxy
import TLS

/// The peer of a connection for the log: its address, or its process for a Unix socket. Called on the channel's event loop.
func peerName(of channel: any Channel) -> String { Sender(peer: Sender.Peer(of: channel)).description }

/// The socket of a channel.
struct SocketOfChannel {
    /// Not an existential with its type of transport: a cast to one takes longer than a read from the socket.
    private let core: any NIOTransportAccessibleChannelCore

    /// `nil` if the channel has none.
    init?(_ channel: any Channel) {
        guard let core = channel as? any NIOTransportAccessibleChannelCore else { return nil }
        self.core = core
    }

    /// Calls `body` with the descriptor, which must not be used afterwards.
    /// - Returns: `nil` once the channel is closed.
    func withDescriptor<Result>(_ body: (CInt) -> Result) -> Result? { Self.withDescriptor(of: core, body) }

    private static func withDescriptor<Result>(
        of core: some NIOTransportAccessibleChannelCore, _ body: (CInt) -> Result
    ) -> Result? {
        let result = try? core.withUnsafeTransport { ($0 as? NIOBSDSocket.Handle).map(body) }
        return result ?? nil
    }
}

extension TLSHandler {
    /// The names in the client's verified certificate; empty without one. Called on the event loop.
    var verifiedClientNames: [CertificateName] {
        clientNames.compactMap { name in name.exactText.map { name.isAddress ? .address($0) : .text($0) } }
    }
}

extension Sender.Peer {
    /// The peer of a connection. Called on its event loop, or before it is registered with one.
    init(of channel: any Channel) {
        if let address = channel.remoteAddress, address.port != nil {
            self = .address(address)
        } else if let socket = SocketOfChannel(channel) {
            self.init(of: socket)
        } else {
            self = .unknown
        }
    }

    /// The peer of a connection. Called on its event loop, or before it is registered with one.
    init(of socket: SocketOfChannel) {
        self = socket.withDescriptor { Sender.Peer(descriptor: $0) } ?? .unknown
    }

    /// The peer of a connected socket.
    init(descriptor: CInt) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
        }
        guard result == 0 else {
            self = .unknown
            return
        }
        self =
            switch CInt(storage.ss_family) {
            case AF_INET: .address(SocketAddress(withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in.self) }))
            case AF_INET6: .address(SocketAddress(withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in6.self) }))
            case AF_UNIX: PeerProcess(descriptor: descriptor).map { .process($0) } ?? .unknown
            default: .unknown
            }
    }
}

extension PeerProcess {
    /// `nil` for a socket that is not a connected Unix socket.
    fileprivate init?(descriptor: CInt) {
        var credentials = Credentials()
        var length = socklen_t(MemoryLayout<Credentials>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        self.init(
            process: credentials.process, user: credentials.user, group: credentials.group,
            supplementaryGroups: Self.supplementaryGroups(descriptor))
    }

    /// `struct ucred` of unix(7), which the C library declares for GNU sources only.
    private struct Credentials {
        var process: pid_t = 0
        var user: uid_t = 0
        var group: gid_t = 0
    }

    private static func supplementaryGroups(_ descriptor: CInt) -> [gid_t] {
        // Most processes have few; with less room than needed, the call fails and tells the size (socket(7), SO_PEERGROUPS).
        var capacity = 32
        while true {
            var size = socklen_t(capacity * MemoryLayout<gid_t>.size)
            var failure: CInt = 0
            let groups = [gid_t](unsafeUninitializedCapacity: capacity) { buffer, count in
                failure = getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, buffer.baseAddress, &size) == 0 ? 0 : errno
                count = failure == 0 ? Int(size) / MemoryLayout<gid_t>.size : 0
            }
            guard failure == ERANGE, Int(size) > capacity * MemoryLayout<gid_t>.size else { return groups }
            capacity = Int(size) / MemoryLayout<gid_t>.size
        }
    }
}
