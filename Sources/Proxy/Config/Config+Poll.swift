/// The table `[poll_external]`, its general settings already merged into each target.
public struct PollConfig: Equatable, Sendable {
    /// What is polled; empty when `poll_other_scrape_endpoints` is false. URLs and names are unique.
    public var targets: [Target] = []
    /// The bodies of all targets that are being read together. A poll that asks for more fails.
    public var maxInflightSize = ByteCount.mebibytes(256)

    /// The table with every key at its default.
    public init(targets: [Target] = []) {
        self.targets = targets
    }
}

/// An HTTP proxy through which a target is polled: the value of `proxy_url`.
public struct HTTPProxy: Hashable, Sendable, CustomStringConvertible {
    /// A host name or a numeric address, in lower case, an IPv6 address without brackets.
    public var host: String
    /// The proxy's port.
    public var port: UInt16
    /// The user of the URL, for `Proxy-Authorization`; `nil` means that the proxy is asked without credentials.
    public var username: String?
    /// The password of the URL; empty when the URL has a user alone.
    public var password: Secret?

    /// A proxy; `host` has no brackets.
    public init(host: String, port: UInt16, username: String? = nil, password: Secret? = nil) {
        self.host = host
        self.port = port
        self.username = username
        self.password = password
    }

    /// `http://HOST:PORT`, without user and password.
    public var description: String { "http://\(host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host):\(port)" }
}
