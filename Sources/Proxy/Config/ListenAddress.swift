/// A numeric IP address and port to listen on, as `IP:PORT` or `[v6]:PORT`.
public struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// A numeric IPv4 or IPv6 address, without brackets.
    public var host: String
    /// `0` lets the system pick one.
    public var port: UInt16

    /// An address; `host` is a numeric IP address without brackets.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Whether `host` is an IPv6 address.
    public var isIPv6: Bool { host.utf8.contains(UInt8(ascii: ":")) }

    /// As written in the configuration, and in `/apps`: `127.0.0.1:6554`, `[::1]:6554`.
    public var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
