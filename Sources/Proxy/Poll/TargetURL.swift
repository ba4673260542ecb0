import HTTP

/// The URL of a target: `http://`, `https://` or `unix:/path/to.sock:/metrics`, without user and password.
public struct TargetURL: Hashable, Sendable, CustomStringConvertible {
    /// The server to connect to.
    public enum Origin: Hashable, Sendable {
        /// `host` in lower case; an IPv6 address without brackets. The port filled in from the scheme.
        case http(host: String, port: UInt16)
        case https(host: String, port: UInt16)
        case unix(path: String)

        /// Whether both are the same server; paths are compared byte by byte.
        public static func == (a: Origin, b: Origin) -> Bool {
            switch (a, b) {
            case (.http(let host, let port), .http(let other, let otherPort)): host == other && port == otherPort
            case (.https(let host, let port), .https(let other, let otherPort)): host == other && port == otherPort
            case (.unix(let path), .unix(let other)): path.hasSameBytes(as: other)
            default: false
            }
        }

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
            HostAndPort.text(host, port)
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

    /// A socket's path as `parse` reads it: a colon before a slash would end it.
    private static func percentEncoded(_ path: String) -> String {
        guard path.holds("%") || path.holds(" ") || path.holds(":") else { return path }
        let parts = path.parts(at: "%").joined(separator: "%25").parts(at: " ").joined(separator: "%20").parts(at: ":")
        return parts.dropFirst().reduce(String(parts[0])) { $0 + ($1.begins(with: "/") ? "%3A" : ":") + $1 }
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
        // By bytes, here and below: a delimiter and a mark after it are one character of a String.
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else { throw Malformed(reason: TargetURL.schemes) }
        let rest = text[text.utf8.index(after: colon)...]
        switch text[..<colon].lowercased() {
        case "unix": return Written(url: try unixURL(rest), hasPath: rest.utf8.firstRange(of: ":/".utf8) != nil)
        case "http": return try httpURL(rest, defaultPort: 80) { .http(host: $0, port: $1) }
        case "https": return try httpURL(rest, defaultPort: 443) { .https(host: $0, port: $1) }
        default: throw Malformed(reason: TargetURL.schemes)
        }
    }

    private static let schemes = "it begins with http://, https:// or unix:"

    private static func unixURL(_ rest: Substring) throws(Malformed) -> TargetURL {
        var path = rest
        var pathAndQuery = "/"
        if let end = rest.utf8.firstRange(of: ":/".utf8) {
            path = rest[..<end.lowerBound]
            pathAndQuery = try requestTarget(rest[rest.utf8.index(after: end.lowerBound)...])
        } else if rest.utf8.last == UInt8(ascii: ":") {
            path = rest[..<rest.utf8.index(before: rest.endIndex)]
        }
        guard !path.isEmpty else { throw Malformed(reason: "the socket's path is missing, as in \"unix:/run/app.sock:/metrics\"") }
        guard path.endIndex < rest.endIndex || !path.utf8.contains(UInt8(ascii: "?")) else {
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
        guard rest.utf8.starts(with: "//".utf8) else { throw Malformed(reason: TargetURL.schemes) }
        let afterSlashes = Substring(rest.utf8.dropFirst(2))
        let authority = Substring(afterSlashes.utf8.prefix { !"/?#".utf8.contains($0) })
        guard authority.lowercased() != "unix:" else {
            throw Malformed(reason: "a Unix socket is written without http://, as in \"unix:/run/app.sock:/metrics\"")
        }
        let target = try requestTarget(afterSlashes[authority.endIndex...])
        let at = authority.utf8.lastIndex(of: UInt8(ascii: "@"))
        let hostAndPort = at.map { authority[authority.utf8.index(after: $0)...] } ?? authority
        let (host, port) = try TargetURL.hostAndPort(hostAndPort)
        let url = TargetURL(origin: origin(host, port ?? defaultPort), pathAndQuery: target)
        let written = try at.map { index throws(Malformed) in try userInfo(authority[..<index]) }
        return Written(url: url, userInfo: written, hasPath: afterSlashes[authority.endIndex...].utf8.first == UInt8(ascii: "/"))
    }

    private static func requestTarget(_ text: Substring) throws(Malformed) -> String {
        let sent = Substring(text.utf8.prefix { $0 != UInt8(ascii: "#") })
        guard sent.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw Malformed(reason: "letters beyond ASCII in its path or query are percent-encoded")
        }
        return sent.begins(with: "/") ? String(sent) : "/\(sent)"
    }

    /// `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`: the host in lower case, an IPv6 address canonical and without brackets.
    static func hostAndPort(_ text: Substring) throws(Malformed) -> (host: String, port: UInt16?) {
        guard let parts = HostAndPort(text) else {
            throw Malformed(
                reason: text.holds("]") ? "after the ] stands a port or a path" : "the closing ] of its IPv6 address is missing")
        }
        let host: String
        if parts.isBracketed {
            guard !parts.host.holds("%") else { throw Malformed(reason: "zone ids are not supported") }
            guard let address = NumericAddress(String(parts.host)), address.isIPv6 else {
                throw Malformed(reason: "its host is not an IPv6 address")
            }
            host = address.description
        } else {
            guard !parts.host.holds(":") else { throw Malformed(reason: "write an IPv6 address in brackets") }
            host = try hostName(parts.host)
        }
        // RFC 3986 §3.2.3: an empty port is the scheme's own.
        guard let digits = parts.port, !digits.isEmpty else { return (host, nil) }
        guard digits.utf8.allSatisfy(\.isDigit), let port = UInt16(digits), port > 0 else {
            throw Malformed(reason: "its port is not a number from 1 to 65535")
        }
        return (host, port)
    }

    /// A host name in lower case.
    static func hostName(_ text: Substring) throws(Malformed) -> String {
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
        guard !isOtherIPv4(name) else { throw Malformed(reason: "its host is not an IPv4 address of four numbers") }
        return name
    }

    /// Whether a host in lower case ends in a number and is not an IPv4 address of four decimal numbers. No name ends so, and some programs
    /// take it for an address in another notation: `127.1`, `2130706433`, `0x7f000001`.
    private static func isOtherIPv4(_ host: String) -> Bool {
        let last = (host.split(separator: ".").last ?? "").utf8
        let isNumber = last.starts(with: "0x".utf8) ? last.dropFirst(2).allSatisfy(\.isHexDigit) : last.allSatisfy(\.isDigit)
        return isNumber && NumericAddress(host) == nil
    }

    private static func userInfo(_ text: Substring) throws(Malformed) -> UserInfo {
        let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
        let username = try percentDecoded(text[..<colon])
        let password = try percentDecoded(Substring(text[colon...].utf8.dropFirst()))
        // RFC 7617 §2: the first colon ends the user name.
        guard !username.utf8.contains(UInt8(ascii: ":")) else { throw Malformed(reason: "its user name holds a colon") }
        return UserInfo(username: username, password: .literal(password))
    }

    private static func percentDecoded(_ text: Substring) throws(Malformed) -> String {
        guard let bytes = PercentEncoding.decode(text.utf8) else {
            throw Malformed(reason: "a % in its user or password is written as %25")
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw Malformed(reason: "its user or password is not UTF-8") }
        guard !ValueText.hasControl(decoded) else { throw Malformed(reason: "its user or password holds a control character") }
        return decoded
    }
}

extension TargetURL {
    /// Resolves a reference against this URL (RFC 3986 §5.2), to `http` and `https` only; a fragment, user and password are dropped.
    ///
    /// For a Unix target, a path stays on its socket, and so does `http://localhost`, because that is the `Host` of its requests.
    func resolving(_ reference: String) throws(PollFailure) -> TargetURL {
        let text = try TargetURL.escaped(reference)
        let withoutFragment = text.prefix { $0 != UInt8(ascii: "#") }

        if let (scheme, rest) = TargetURL.splitScheme(withoutFragment) {
            guard scheme == "http" || scheme == "https" else { throw .invalidRedirect("scheme \(scheme) is not supported") }
            guard rest.starts(with: "//".utf8) else { throw .invalidRedirect("\(scheme): without a host") }
            return try resolving(authorityAndPath: rest.dropFirst(2), isHTTPS: scheme == "https")
        }
        if withoutFragment.starts(with: "//".utf8) {
            return try resolving(authorityAndPath: withoutFragment.dropFirst(2), isHTTPS: origin.isHTTPS)
        }

        let (path, query) = TargetURL.splitQuery(withoutFragment)
        let base = TargetURL.splitQuery(Array(pathAndQuery.utf8)[...])
        if path.isEmpty {
            return TargetURL(origin: origin, path: base.path, query: query ?? base.query)
        }
        guard path.first != UInt8(ascii: "/") else {
            return TargetURL(origin: origin, path: TargetURL.removingDotSegments(path), query: query)
        }
        // RFC 3986 §5.2.3: everything up to the last slash of the base, then the reference.
        let folder = base.path[..<((base.path.lastIndex(of: UInt8(ascii: "/")) ?? base.path.startIndex - 1) + 1)]
        return TargetURL(origin: origin, path: TargetURL.removingDotSegments((Array(folder) + path)[...]), query: query)
    }

    private init(origin: Origin, path: ArraySlice<UInt8>, query: ArraySlice<UInt8>?) {
        var target = path.isEmpty ? "/" : String(decoding: path, as: UTF8.self)
        if let query { target += "?" + String(decoding: query, as: UTF8.self) }
        self.init(origin: origin, pathAndQuery: target)
    }

    private func resolving(authorityAndPath text: ArraySlice<UInt8>, isHTTPS: Bool) throws(PollFailure) -> TargetURL {
        let end = text.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? text.endIndex
        let (path, query) = TargetURL.splitQuery(text[end...])
        let (host, port) = try TargetURL.parseAuthority(text[..<end])
        let newOrigin: Origin
        if case .unix = origin, host == "localhost", !isHTTPS, port == nil || port == 80 {
            newOrigin = origin
        } else {
            newOrigin = isHTTPS ? .https(host: host, port: port ?? 443) : .http(host: host, port: port ?? 80)
        }
        return TargetURL(origin: newOrigin, path: TargetURL.removingDotSegments(path), query: query)
    }

    /// The bytes of a reference with everything outside of visible ASCII percent-encoded.
    private static func escaped(_ reference: String) throws(PollFailure) -> ArraySlice<UInt8> {
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in reference.utf8 {
            switch byte {
            case 0x21...0x7E: result.append(byte)
            case 0x20, 0x80...: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
            default: throw .invalidRedirect("location has control characters")
            }
        }
        return result[...]
    }

    /// The scheme in lower case, and what follows its colon; `nil` for a relative reference.
    private static func splitScheme(_ text: ArraySlice<UInt8>) -> (String, ArraySlice<UInt8>)? {
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")), let first = text.first, first.isLetter else { return nil }
        let scheme = text[..<colon]
        guard scheme.allSatisfy({ $0.isLetter || $0.isDigit || "+-.".utf8.contains($0) }) else { return nil }
        return (String(decoding: scheme, as: UTF8.self).lowercased(), text[(colon + 1)...])
    }

    private static func splitQuery(_ text: ArraySlice<UInt8>) -> (path: ArraySlice<UInt8>, query: ArraySlice<UInt8>?) {
        guard let mark = text.firstIndex(of: UInt8(ascii: "?")) else { return (text, nil) }
        return (text[..<mark], text[(mark + 1)...])
    }

    private static func parseAuthority(_ text: ArraySlice<UInt8>) throws(PollFailure) -> (host: String, port: UInt16?) {
        let text = text.lastIndex(of: UInt8(ascii: "@")).map { text[($0 + 1)...] } ?? text
        guard let parts = HostAndPort(String(decoding: text, as: UTF8.self)[...]) else { throw .invalidRedirect("invalid host") }
        let host = parts.host.utf8
        let isValid =
            parts.isBracketed
            ? host.contains(UInt8(ascii: ":")) && host.allSatisfy { $0.isHexDigit || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }
            : (1...253).contains(host.count) && host.allSatisfy { $0.isLetter || $0.isDigit || "-._~".utf8.contains($0) }
        guard isValid else { throw .invalidRedirect("invalid host") }
        let name = parts.host.lowercased()
        // A proxy or the system's resolver could read it as an address that only this host reaches.
        guard parts.isBracketed || !isOtherIPv4(name) else {
            throw .invalidRedirect("its host is not an IPv4 address of four numbers")
        }
        guard let digits = parts.port, !digits.isEmpty else { return (name, nil) }
        guard digits.utf8.allSatisfy(\.isDigit), let port = UInt16(digits), port > 0 else { throw .invalidRedirect("invalid port") }
        return (name, port)
    }

    /// RFC 3986 §5.2.4, for a path that is empty or begins with a slash.
    private static func removingDotSegments(_ path: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var output: [ArraySlice<UInt8>] = []
        var endsInSlash = false
        for segment in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst() {
            endsInSlash = false
            if segment.elementsEqual(".".utf8) {
                endsInSlash = true
            } else if segment.elementsEqual("..".utf8) {
                _ = output.popLast()
                endsInSlash = true
            } else {
                output.append(segment)
            }
        }
        if endsInSlash { output.append([]) }
        return output.reduce(into: []) { $0 += [UInt8(ascii: "/")] + $1 }[...]
    }
}

extension UInt8 {
    fileprivate var isLetter: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20) }
    fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
    /// A digit, or a letter from a to f in either case.
    var isHexDigit: Bool { isDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self | 0x20) }
}
