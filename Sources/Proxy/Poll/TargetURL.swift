/// Where a target listens: `http://`, `https://` or `unix:/path/to.sock:/metrics`, without user and password.
public struct TargetURL: Hashable, Sendable, CustomStringConvertible {
    /// Whom to connect to.
    public enum Origin: Hashable, Sendable {
        /// `host` in lower case; an IPv6 address without brackets. The port filled in from the scheme.
        case http(host: String, port: UInt16)
        case https(host: String, port: UInt16)
        case unix(path: String)

        /// Whether a connection begins with TLS.
        public var isHTTPS: Bool {
            if case .https = self { true } else { false }
        }
    }

    /// Whom to connect to.
    public var origin: Origin
    /// Path and query as they go into the request line; begins with `/`.
    public var pathAndQuery: String

    /// A URL made of its parts, both normalised.
    public init(origin: Origin, pathAndQuery: String) {
        self.origin = origin
        self.pathAndQuery = pathAndQuery
    }

    /// `HOST:PORT`, as in the URL with the scheme's port filled in, or the socket path: what names and sources show.
    public var endpoint: String {
        switch origin {
        case .http(let host, let port), .https(let host, let port):
            host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): path
        }
    }

    /// The normalized URL.
    public var description: String {
        switch origin {
        case .http: "http://\(endpoint)\(pathAndQuery)"
        case .https: "https://\(endpoint)\(pathAndQuery)"
        case .unix: "unix:\(endpoint):\(pathAndQuery)"
        }
    }
}
