import HTTP
public import NIOCore

/// Where an app's metrics came from, as `/apps` shows it.
public enum Source: Hashable, Sendable, CustomStringConvertible {
    /// Pushed; the receiver's configured address or socket path.
    case push(listener: String)
    /// Polled; the target's `HOST:PORT` or socket path.
    case poll(endpoint: String)

    /// As `/apps` shows it.
    public var description: String {
        switch self {
        case .push(let listener): listener
        case .poll(let endpoint): "external_poll: \(endpoint)"
        }
    }
}

/// The peer that pushes on a connection, as far as the kernel and TLS vouch for it.
/// A class, so that all apps that one connection pushes share it.
public final class Sender: Sendable {
    /// The other end of the connection.
    public enum Peer: Equatable, Sendable {
        /// The address of a TCP connection.
        case address(SocketAddress)
        /// The process at the other end of a Unix socket.
        case process(PeerProcess)
        /// The connection ended before its peer could be asked for.
        case unknown
    }

    /// The other end of the connection.
    public let peer: Peer
    /// The names in the verified client certificate of a TLS connection; empty without one.
    public let certificateNames: [CertificateName]
    /// The user that gave the right password over HTTP.
    public let user: String?

    /// A sender made of its parts.
    public init(peer: Peer, certificateNames: [CertificateName] = [], user: String? = nil) {
        self.peer = peer
        self.certificateNames = certificateNames
        self.user = user
    }
}

extension Sender: CustomStringConvertible {
    /// As the log shows it: `127.0.0.1:40112`, `127.0.0.1:40112, client certificate a.example, basic auth user alice`,
    /// `process 512 of user 1000`.
    public var description: String {
        let peer =
            switch peer {
            case .address(let address): address.hostAndPort ?? "unknown"
            case .process(let process): "process \(process.process) of user \(process.user)"
            case .unknown: "unknown"
            }
        let proofs = [certificateNames.first.map { "client certificate \($0)" }, user.map { "basic auth user \($0)" }]
        return ([peer] + proofs.compactMap(\.self)).joined(separator: ", ")
    }
}

/// A process that has connected to a Unix socket, as the kernel saw it then (unix(7), `SO_PEERCRED` and `SO_PEERGROUPS`).
public struct PeerProcess: Equatable, Sendable {
    /// Its number; 0 for a process of another container.
    public var process: Int32
    /// Its effective user.
    public var user: UInt32
    /// Its effective group.
    public var group: UInt32
    /// Its supplementary groups.
    public var supplementaryGroups: [UInt32]

    /// A process made of its parts.
    public init(process: Int32, user: UInt32, group: UInt32, supplementaryGroups: [UInt32]) {
        self.process = process
        self.user = user
        self.group = group
        self.supplementaryGroups = supplementaryGroups
    }
}

extension SocketAddress {
    /// `127.0.0.1:6554`, `[::1]:6554`; `nil` for a Unix socket.
    public var hostAndPort: String? {
        guard let ip = ipAddress, let port else { return nil }
        return HostAndPort.text(ip, port)
    }
}
