import HTTP

/// Where a push goes: `unix:/path`, `tcp://host:port` or `tls://host:port`, or over HTTP `http://host:port` or `https://host:port`.
public enum PushAddress: Hashable, Sendable {
    case unix(path: String)
    /// `host` is a name or a numeric address, without brackets.
    case tcp(host: String, port: UInt16)
    /// As `tcp`, in TLS.
    case tls(host: String, port: UInt16)
    /// As `tcp`, to an HTTP receiver.
    case http(host: String, port: UInt16)
    /// As `http`, in TLS.
    case https(host: String, port: UInt16)

    /// Why a text is not an address.
    public struct Malformed: Error, Equatable, Sendable, CustomStringConvertible {
        /// In lower case, without a final period.
        public let description: String
    }

    /// Reads an address as it is written on the command line.
    public init(_ text: String) throws(Malformed) {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst("unix:".count)
            guard !path.isEmpty else { throw Malformed(description: "'\(text)' has no path: write unix:/path") }
            self = .unix(path: String(path))
        } else if text.hasPrefix("tcp://") {
            let (host, port) = try PushAddress.hostAndPort(text.dropFirst("tcp://".count), in: text)
            self = .tcp(host: host, port: port)
        } else if text.hasPrefix("tls://") {
            let (host, port) = try PushAddress.hostAndPort(text.dropFirst("tls://".count), in: text)
            self = .tls(host: host, port: port)
        } else if text.hasPrefix("http://") {
            let (host, port) = try PushAddress.hostAndPort(PushAddress.withoutSlash(text.dropFirst("http://".count)), in: text)
            self = .http(host: host, port: port)
        } else if text.hasPrefix("https://") {
            let (host, port) = try PushAddress.hostAndPort(PushAddress.withoutSlash(text.dropFirst("https://".count)), in: text)
            self = .https(host: host, port: port)
        } else {
            throw Malformed(
                description: "'\(text)' is not an address: "
                    + "write unix:/path, tcp://host:port, tls://host:port, http://host:port or https://host:port")
        }
    }

    /// The path of a URL may be the root.
    private static func withoutSlash(_ rest: Substring) -> Substring { rest.hasSuffix("/") ? rest.dropLast() : rest }

    /// Whether it is the address of an HTTP receiver.
    public var isHTTP: Bool {
        switch self {
        case .unix, .tcp, .tls: false
        case .http, .https: true
        }
    }

    /// Whether TLS is spoken there.
    public var isTLS: Bool {
        switch self {
        case .unix, .tcp, .http: false
        case .tls, .https: true
        }
    }

    private static func hostAndPort(_ rest: Substring, in text: String) throws(Malformed) -> (host: String, port: UInt16) {
        // Such an address may have a password, so it is not shown.
        guard !rest.utf8.contains(UInt8(ascii: "@")) else {
            throw Malformed(description: "an address has no user and no password: write host:port, and use --user and --password-file")
        }
        guard let parts = HostAndPort(rest) else { throw Malformed(description: "'\(text)' has no valid host: write host:port") }
        guard let digits = parts.port else { throw Malformed(description: "'\(text)' has no port: write host:port") }
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let port = UInt16(digits), port > 0 else {
            throw Malformed(description: "'\(digits)' in '\(text)' is not a port: a port is a number from 1 to 65535")
        }
        let host = parts.host
        if !parts.isBracketed, host.contains(":") {
            throw Malformed(description: "the IPv6 address in '\(text)' needs brackets: write [\(host)]:\(port)")
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && !"[]/".utf8.contains($0) }) else {
            throw Malformed(description: "'\(text)' has no valid host: write host:port")
        }
        return (String(host), port)
    }
}

extension PushAddress: CustomStringConvertible {
    /// As it was written.
    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): "tcp://\(HostAndPort.text(host, port))"
        case .tls(let host, let port): "tls://\(HostAndPort.text(host, port))"
        case .http(let host, let port): "http://\(HostAndPort.text(host, port))"
        case .https(let host, let port): "https://\(HostAndPort.text(host, port))"
        }
    }
}
