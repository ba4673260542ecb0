/// The URL of a target: `http://`, `https://` or `unix:/path/to.sock:/metrics`, without user and password.
public struct TargetURL: Hashable, Sendable, CustomStringConvertible {
    /// The server to connect to.
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

    /// The server to connect to.
    public var origin: Origin
    /// Path and query as they go into the request line; begins with `/`.
    public var pathAndQuery: String

    /// Makes a URL from its parts, both normalised.
    public init(origin: Origin, pathAndQuery: String) {
        self.origin = origin
        self.pathAndQuery = pathAndQuery
    }

    /// `HOST:PORT`, with the scheme's port if the URL has none, or the socket path, for names and sources.
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
        case .unix(let path): "unix:\(TargetURL.percentEncoded(path)):\(pathAndQuery)"
        }
    }

    /// A socket's path as `parse` reads it.
    private static func percentEncoded(_ path: String) -> String {
        guard path.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: " ") }) else { return path }
        return path.replacing("%", with: "%25").replacing(" ", with: "%20")
    }
}

extension TargetURL {
    /// A URL as it is written: the target, and the user and password in it.
    public struct Written: Equatable, Sendable {
        /// The target, without user and password.
        public var url: TargetURL
        /// `user:password@`, percent-decoded; `nil` when the URL has none.
        public var userInfo: UserInfo?
        /// Whether the URL has a path; a missing one means `/`.
        public var hasPath = true
    }

    /// User and password of a URL.
    public struct UserInfo: Equatable, Sendable {
        /// Without a colon.
        public var username: String
        /// Never printed.
        public var password: Secret
    }

    /// Why a text is not a URL of a target; it contains no secret.
    public struct Malformed: Error, Equatable, Sendable {
        /// In lower case, without a final period.
        public var reason: String
    }

    /// Parses `http://…`, `https://…` (RFC 3986; host in lower case, IPv6 addresses canonical, the port filled in from the scheme), or
    /// `unix:/path/to.sock:/metrics` (the socket's path goes up to the first `:/`; percent-encoding in it is undone).
    ///
    /// Path and query stay as they are written, a missing path means `/`, and a fragment is dropped. The host may be a
    /// name in ASCII (an internationalized one in its `xn--` form), an IPv4 address or an IPv6 address in brackets without a zone.
    public static func parse(_ text: String) throws(Malformed) -> Written {
        if let bad = text.unicodeScalars.first(where: { $0.value <= 0x20 || (0x7F...0x9F).contains($0.value) }) {
            throw Malformed(reason: bad == " " ? "a space in it is written as %20" : "it holds a control character")
        }
        guard let colon = text.firstIndex(of: ":") else { throw Malformed(reason: TargetURL.schemes) }
        let rest = text[text.index(after: colon)...]
        switch text[..<colon].lowercased() {
        case "unix": return Written(url: try unixURL(rest), hasPath: rest.contains(":/"))
        case "http": return try httpURL(rest, defaultPort: 80) { .http(host: $0, port: $1) }
        case "https": return try httpURL(rest, defaultPort: 443) { .https(host: $0, port: $1) }
        default: throw Malformed(reason: TargetURL.schemes)
        }
    }

    private static let schemes = "it begins with http://, https:// or unix:"

    private static func unixURL(_ rest: Substring) throws(Malformed) -> TargetURL {
        var path = rest
        var pathAndQuery = "/"
        if let end = rest.firstRange(of: ":/") {
            path = rest[..<end.lowerBound]
            pathAndQuery = try requestTarget(rest[rest.index(after: end.lowerBound)...])
        } else if rest.hasSuffix(":") {
            path = rest.dropLast()
        }
        guard !path.isEmpty else { throw Malformed(reason: "the socket's path is missing, as in \"unix:/run/app.sock:/metrics\"") }
        guard path.endIndex < rest.endIndex || !path.contains("?") else {
            throw Malformed(reason: "what to ask for follows the socket's path after a colon, as in \"unix:/run/app.sock:/metrics\"")
        }
        let decoded = try socketPath(path)
        return TargetURL(origin: .unix(path: ConfigPath.resolve(decoded, against: "")), pathAndQuery: pathAndQuery)
    }

    /// Decodes percent-encoding. A `%` that does not begin a code stays as it is.
    private static func socketPath(_ text: Substring) throws(Malformed) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == UInt8(ascii: "%"), digits.count == 2, digits.allSatisfy(\.isHexDigit),
                let value = UInt8(String(decoding: Array(digits), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest.removeFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !ValueText.hasControl(decoded) else {
            throw Malformed(reason: "the socket's path is not UTF-8, or holds a control character")
        }
        return decoded
    }

    private static func httpURL(
        _ rest: Substring, defaultPort: UInt16, _ origin: (String, UInt16) -> Origin
    ) throws(Malformed) -> Written {
        guard rest.hasPrefix("//") else { throw Malformed(reason: TargetURL.schemes) }
        let afterSlashes = rest.dropFirst(2)
        let authority = afterSlashes.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard authority.lowercased() != "unix:" else {
            throw Malformed(reason: "a Unix socket is written without http://, as in \"unix:/run/app.sock:/metrics\"")
        }
        let target = try requestTarget(afterSlashes[authority.endIndex...])
        let at = authority.lastIndex(of: "@")
        let hostAndPort = at.map { authority[authority.index(after: $0)...] } ?? authority
        let (host, port) = try TargetURL.hostAndPort(hostAndPort)
        let url = TargetURL(origin: origin(host, port ?? defaultPort), pathAndQuery: target)
        let written = try at.map { index throws(Malformed) in try userInfo(authority[..<index]) }
        return Written(url: url, userInfo: written, hasPath: afterSlashes[authority.endIndex...].hasPrefix("/"))
    }

    private static func requestTarget(_ text: Substring) throws(Malformed) -> String {
        let sent = text.prefix { $0 != "#" }
        guard sent.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw Malformed(reason: "letters beyond ASCII in its path or query are percent-encoded")
        }
        return sent.hasPrefix("/") ? String(sent) : "/\(sent)"
    }

    /// `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`: the host in lower case, an IPv6 address canonical and without brackets.
    static func hostAndPort(_ text: Substring) throws(Malformed) -> (host: String, port: UInt16?) {
        let host: String
        var portText: Substring?
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { throw Malformed(reason: "the closing ] of its IPv6 address is missing") }
            let inner = String(text[text.index(after: text.startIndex)..<close])
            guard !inner.contains("%") else { throw Malformed(reason: "zone ids are not supported") }
            guard let address = NumericAddress(inner), address.isIPv6 else { throw Malformed(reason: "its host is not an IPv6 address") }
            host = address.description
            let after = text[text.index(after: close)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw Malformed(reason: "after the ] stands a port or a path") }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let colon = text.firstIndex(of: ":")
            host = try hostName(text[..<(colon ?? text.endIndex)])
            portText = colon.map { text[text.index(after: $0)...] }
        }
        // RFC 3986 §3.2.3: an empty port is the scheme's own.
        guard let portText, !portText.isEmpty else { return (host, nil) }
        guard portText.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let port = UInt16(portText), port > 0
        else {
            throw Malformed(reason: "its port is not a number from 1 to 65535")
        }
        return (host, port)
    }

    private static func hostName(_ text: Substring) throws(Malformed) -> String {
        guard !text.isEmpty else { throw Malformed(reason: "its host is missing") }
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw Malformed(reason: "an internationalized host name is written in its xn-- form")
        }
        let name = text.lowercased()
        let isName = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
        // 253 is the longest name of the domain name system, RFC 1035 §2.3.4.
        guard isName, name.utf8.count <= 253, !name.hasPrefix("."), !name.contains("..") else {
            throw Malformed(reason: "its host is neither a name nor an address")
        }
        let last = name.split(separator: ".").last ?? ""
        if last.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), NumericAddress(name) == nil {
            throw Malformed(reason: "its host is not an IPv4 address of four numbers")
        }
        return name
    }

    private static func userInfo(_ text: Substring) throws(Malformed) -> UserInfo {
        let colon = text.firstIndex(of: ":") ?? text.endIndex
        let username = try percentDecoded(text[..<colon])
        let password = try percentDecoded(text[colon...].dropFirst())
        // RFC 7617 §2: the first colon ends the user name.
        guard !username.contains(":") else { throw Malformed(reason: "its user name holds a colon") }
        return UserInfo(username: username, password: .literal(password))
    }

    private static func percentDecoded(_ text: Substring) throws(Malformed) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst(), let low = rest.popFirst(),
                let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16), high != UInt8(ascii: "+")
            else { throw Malformed(reason: "a % in its user or password is written as %25") }
            bytes.append(value)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw Malformed(reason: "its user or password is not UTF-8") }
        guard !ValueText.hasControl(decoded) else { throw Malformed(reason: "its user or password holds a control character") }
        return decoded
    }
}
