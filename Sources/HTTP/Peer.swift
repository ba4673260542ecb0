public import NIOCore

/// The other end of a connection: made once per connection, and cheap to pass on with each request.
public struct Peer: Equatable, Sendable {
    /// Its address; `nil` when the transport does not know one.
    public let address: SocketAddress?

    /// The peer at this address.
    public init(address: SocketAddress?) { self.address = address }

    /// A peer of which nothing is known, for tests.
    public static let unknown = Peer(address: nil)
}

extension Peer: CustomStringConvertible {
    /// `127.0.0.1:6554`, `[::1]:6554`, or `unknown`. Written when it is asked for.
    public var description: String {
        guard let ip = address?.ipAddress, let port = address?.port else { return "unknown" }
        return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
    }
}
